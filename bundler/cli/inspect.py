"""The commands that read a bundle: ``inspect``, ``explain``, ``verify``, ``unpack``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from bundler.base_image.reader import read_base
from bundler.bundle.document import FindingSection
from bundler.bundle.manifest import Manifest, make_manifest
from bundler.bundle.reader import Checked, read_manifest, unpack_bundle, verify_bundle
from bundler.checks.base_compat import check_fit
from bundler.checks.explain import findings_of, is_code, rule_of, why
from bundler.cli.common import make_reporter
from bundler.cli.console import ConsoleReporter, finding_line, print_envelope, print_line, wrapped
from bundler.cli.options import InputPath, json_option, store_option
from bundler.errors import UsageError
from bundler.report.summary import NOT_DECLARED, summary_lines
from bundler.store.store import open_store
from bundler.system.environ import read_host_environment
from bundler.text import human_size

__all__ = [
    "explain_command",
    "inspect_command",
    "newest_bundle",
    "refused_manifest",
    "unpack_command",
    "verify_command",
]


@click.command("inspect")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--notes", is_flag=True, help="Also list the distributions and the notes.")
@json_option
def inspect_command(bundle: Path, notes: bool, as_json: bool) -> None:
    """Show a summary, the errors and the warnings of a bundle, from its manifest, without verifying it."""
    manifest = read_manifest(bundle)
    if as_json:
        print_envelope("inspect", result={"identity": manifest.identity, "manifest": dict(manifest.values)})
        return
    for line in summary_lines(manifest):
        print_line(line)
    found = findings_of(manifest)
    for finding in found:
        if finding.severity != "note":
            print_line(finding_line(finding))
    if notes:
        _print_details(manifest, [finding for finding in found if finding.severity == "note"])


def _print_details(manifest: Manifest, notes: Sequence[FindingSection]) -> None:
    for name, version in manifest.document.base.provided.items():
        print_line(f"base      must have {name} {version}")
    for text in manifest.document.base.conda:
        print_line(f"base      must have {text} (conda)")
    for distribution in manifest.document.distributions:
        built = distribution.built_here
        origin = f"built here from {built.from_}" if built else distribution.wheel
        print_line(
            f"  {distribution.name:<28} {distribution.version:<14} {human_size(distribution.size):>11}"
            f"  {distribution.licence or NOT_DECLARED:<20.20}  {origin}"
        )
    for note in notes:
        print_line(finding_line(note))


@click.command("explain")
@click.argument("subject", metavar="CODE|DISTRIBUTION")
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@store_option
@json_option
def explain_command(subject: str, bundle: Path | None, store: Path | None, as_json: bool) -> None:
    """Explain the CODE of a finding, or why a DISTRIBUTION is in BUNDLE.

    Without BUNDLE, a distribution or module is one of the last bundle that was refused.
    """
    manifest = read_manifest(bundle) if bundle is not None else None
    if manifest is None and not is_code(subject) and not Path(subject).is_file():
        manifest = refused_manifest(store)
    if is_code(subject):
        rule = rule_of(subject)
        found = findings_of(manifest, code=subject) if manifest else ()
        facts: dict[str, Any] = {
            name: getattr(rule, name) for name in ("code", "severity", "title", "text", "fix")
        }
        lines = [*wrapped(f"{rule.title} ({rule.severity})", label=f"{rule.code}  "), ""]
        lines += [*wrapped(rule.text), "", *wrapped(f"Fix: {rule.fix}.")]
        lines += [""] if found else []
    elif manifest is None:
        raise _without_bundle(subject)
    else:
        reason = why(manifest, subject)
        found = findings_of(manifest, distribution=subject)
        facts = reason.to_json()
        lines = [f"{reason.name} {reason.version}  {reason.wheel or 'provided by the base'}"]
        lines += [f"because      {step}" for step in reason.chain]
        lines += [f"required by  {owner}" for owner in reason.required_by]
    if as_json:
        print_envelope("explain", result={**facts, "findings": msgspec.to_builtins(found)})
        return
    for line in [*lines, *map(finding_line, found)]:
        print_line(line)


def refused_manifest(store: Path | None) -> Manifest | None:
    """Return the manifest of the last refused bundle, or None."""
    from bundler.pipeline.stages import REFUSED  # noqa: PLC0415 - 100 ms that `inspect` does not need

    values = open_store(store, read_host_environment(), make_reporter()).recall(*REFUSED, dict[str, Any])
    return make_manifest(values) if values is not None else None


def newest_bundle() -> Path | None:
    """Return the newest archive in this directory and in ``dist``, for hints."""
    bundles = [path for folder in (".", "dist") for path in Path(folder).glob("*.tar.*")]
    return max(bundles, key=lambda path: path.stat().st_mtime, default=None)


def _without_bundle(subject: str) -> UsageError:
    """Return the error for a subject that needs a bundle, with the newest one below this directory."""
    if Path(subject).exists():
        return UsageError(
            f"`{subject}` is a file, not a finding code or a distribution",
            hint=f"bundler inspect {subject}",
        )
    newest = newest_bundle()
    return UsageError(
        f"`{subject}` is not a finding code, and no bundle was refused; to explain a distribution, "
        "also pass a bundle",
        hint=f"bundler explain {subject} {newest}"
        if newest
        else f"build a bundle first: `bundler build {subject}`",
    )


@click.command("verify")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--base",
    type=InputPath(path_type=Path, exists=True),
    help="Also check that it fits this base: a profile, a pip freeze, a root filesystem or an image archive.",
)
@json_option
def verify_command(bundle: Path, base: Path | None, as_json: bool) -> None:
    """Check every byte of a bundle, an archive or a directory, against its manifest."""
    reporter = make_reporter()
    checked = verify_bundle(bundle, reporter=reporter)
    if base is not None:
        for finding in check_fit(checked.manifest, read_base(base, reporter=reporter)):
            reporter.warn(f"{finding.code}  {finding.message}")
        reporter.stage("base", "the bundle fits")
    _report_checked("verify", checked, reporter, as_json=as_json)


@click.command("unpack")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("dest", type=click.Path(path_type=Path))
@json_option
def unpack_command(bundle: Path, dest: Path, as_json: bool) -> None:
    """Verify a bundle and write it to DEST, a new or an empty directory."""
    reporter = make_reporter()
    _report_checked("unpack", unpack_bundle(bundle, dest, reporter=reporter), reporter, as_json=as_json)


def _report_checked(command: str, checked: Checked, reporter: ConsoleReporter, *, as_json: bool) -> None:
    manifest = checked.manifest
    for note in checked.notes:
        reporter.note(f"not portable: {note}")
    agrees = f" and {' and '.join(checked.companions)}" if checked.companions else ""
    reporter.stage(command, f"{len(manifest.files) + 1} files match the manifest{agrees}")
    if as_json:
        result = {
            "path": str(checked.path),
            "sha256": checked.sha256,
            "size": checked.size,
            "identity": manifest.identity,
            "name": manifest.name,
            "version": manifest.version,
            "companions": list(checked.companions),
            "notes": list(checked.notes),
        }
        print_envelope(command, result=result)
    else:
        print_line(checked.path, checked.size, checked.sha256 or manifest.identity)
