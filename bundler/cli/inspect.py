"""The commands that read a bundle: ``inspect``, ``explain``, ``verify``, ``unpack``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import msgspec
from packaging.requirements import InvalidRequirement, Requirement

from bundler.base_image.reader import read_base
from bundler.bundle.document import FindingSection
from bundler.bundle.manifest import Manifest, make_manifest
from bundler.bundle.reader import Checked, read_manifest, unpack_bundle, verify_bundle
from bundler.checks.base_compat import check_fit
from bundler.checks.explain import Why, findings_of, is_code, rule_of, why
from bundler.cli.common import make_reporter
from bundler.cli.console import ConsoleReporter, finding_line, print_envelope, print_line, wrapped
from bundler.cli.examples import (
    ARCHIVES,
    bundles_here,
    bundles_in,
    existing_bundles,
    free_name,
    newest_bundle,
)
from bundler.cli.options import InputPath, json_option, store_option
from bundler.cli.paths import bundle_path
from bundler.data.finding_rules import rules_by_code
from bundler.data.popular_names import most_downloaded
from bundler.errors import BundlerError, InputError, IntegrityError, MalformedError, UsageError
from bundler.problems import closest, display_path
from bundler.report.summary import NOT_DECLARED, is_static, summary_lines, verdict_of
from bundler.reporter import SILENT
from bundler.store.store import open_store
from bundler.system.environ import read_host_environment
from bundler.text import human_size

__all__ = [
    "explain_command",
    "inspect_command",
    "refused_manifest",
    "unpack_command",
    "verify_command",
]

_LIKE_A_CODE = re.compile(r"[A-Za-z]?[-_ ]?[0-9]{1,4}", re.ASCII)


@click.command("inspect")
@click.argument("bundle", type=bundle_path)
@click.option("--notes", is_flag=True, help="Also list the distributions and the notes.")
@json_option
def inspect_command(bundle: Path, notes: bool, as_json: bool) -> None:
    """Show a summary, the errors and the warnings of a bundle, from its manifest, without verifying it."""
    manifest = read_manifest(bundle)
    if as_json:
        print_envelope("inspect", result={"identity": manifest.identity, "manifest": manifest.to_json()})
        return
    for line in summary_lines(manifest):
        print_line(line)
    if bundle.suffix != ".json":
        path = shlex.quote(display_path(bundle, read_host_environment().cwd))
        make_reporter().note(f"from the manifest; `bundler verify {path}` checks the files")
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
@click.argument("subject", required=False, metavar="[CODE|DISTRIBUTION]")
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@store_option
@json_option
def explain_command(subject: str | None, bundle: Path | None, store: Path | None, as_json: bool) -> None:
    """Explain the CODE of a finding, or why a DISTRIBUTION is in BUNDLE; without both, list the codes.

    Without BUNDLE, a distribution or module is one of the last bundle that was refused.
    """
    if subject is None:
        _list_codes(as_json=as_json)
        return
    if bundle is not None and not bundle.exists() and existing_bundles([subject]):
        raise UsageError(
            f"`{subject}` is a bundle, not a finding code or a distribution",
            hint=shlex.join(["bundler", "explain", str(bundle), subject]),
        )
    if bundle is not None and not bundle.exists() and is_code(f"{subject}{bundle}"):
        raise UsageError(
            f"`{subject} {bundle}` is two words", hint=f"bundler explain {subject.upper()}{bundle}"
        )
    manifest = read_manifest(bundle) if bundle is not None else None
    if is_code(subject):
        rule = rule_of(subject)
        found = findings_of(manifest, code=subject) if manifest else ()
        facts: dict[str, Any] = {
            name: getattr(rule, name) for name in ("code", "severity", "title", "text", "fix")
        }
        lines = [*wrapped(f"{rule.title} ({rule.severity})", label=f"{rule.code}  "), ""]
        lines += [*wrapped(rule.text), "", *wrapped(f"Fix: {rule.fix}.")]
        lines += [""] if found else []
    else:
        manifest, reason = _reason(subject, bundle, manifest, store)
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


def _list_codes(*, as_json: bool) -> None:
    rules = rules_by_code()
    if as_json:
        rows = [
            {"code": code, "severity": rule.severity, "title": rule.title} for code, rule in rules.items()
        ]
        print_envelope("explain", result={"codes": rows})
        return
    for code, rule in rules.items():
        print_line(f"{code}  {rule.severity:<8}  {rule.title}")


def _reason(
    subject: str, bundle: Path | None, manifest: Manifest | None, store: Path | None
) -> tuple[Manifest, Why]:
    """Return why a distribution is in a bundle, without one in the last one that was refused.

    :raises UsageError: if no bundle was refused, or the subject has the form of a code.
    :raises InputError: if the bundle does not contain the distribution.
    """
    if manifest is None:
        refused = None if Path(subject).is_file() else refused_manifest(store)
        if refused is None:
            raise _without_bundle(subject)
        try:
            reason = why(refused, subject)
        except InputError as error:
            if _LIKE_A_CODE.fullmatch(subject):
                rule_of(subject)
            raise InputError(
                f"{error.message}, the last bundle that was refused; it is not a finding code either",
                evidence=error.evidence,
                hint=_other_subject(subject, None, refused),
            ) from error
        make_reporter().note(f"of `{refused.name}`, the last bundle that was refused")
        return refused, reason
    try:
        return manifest, why(manifest, subject)
    except InputError as error:
        hint = _other_subject(subject, bundle, manifest)
        is_name = _name_of(subject) == subject
        fact = error.message if is_name else f"`{subject}` is a requirement, not the name of a distribution"
        raise InputError(fact, evidence=error.evidence, hint=hint) from error


def _name_of(subject: str) -> str:
    """Return the name of a requirement, such as ``flask==2.2.5``; another text unchanged."""
    with suppress(InvalidRequirement):
        return Requirement(subject).name
    return subject


def _other_subject(subject: str, bundle: Path | None, manifest: Manifest) -> str:
    """Return the command for a similar distribution, else for those of a bundle, else for the codes."""
    names = [item.name for item in manifest.document.distributions]
    path = [str(bundle)] if bundle is not None else []
    if near := closest(_name_of(subject).lower(), names):
        return shlex.join(["bundler", "explain", near, *path])
    return shlex.join(["bundler", "inspect", *path, "--notes"]) if path else "bundler explain"


def refused_manifest(store: Path | None) -> Manifest | None:
    """Return the manifest of the last refused bundle, or None."""
    from bundler.pipeline.stages import REFUSED  # noqa: PLC0415 - 100 ms that `inspect` does not need

    values = open_store(store, read_host_environment(), make_reporter()).recall(*REFUSED, dict[str, Any])
    return make_manifest(values) if values is not None else None


def _without_bundle(subject: str) -> UsageError:
    """Return the error for a subject that needs a bundle, with the newest one below this directory."""
    if Path(subject).exists():
        return UsageError(
            f"`{subject}` is a file, not a finding code or a distribution",
            hint=shlex.join(["bundler", "inspect", subject]),
        )
    if _LIKE_A_CODE.fullmatch(subject):
        rule_of(subject)
    newest = newest_bundle()
    hint = _build_first(subject)
    if newest is not None:
        manifest = read_manifest(newest)
        try:
            why(manifest, subject)
            hint = shlex.join(["bundler", "explain", subject, str(newest)])
        except InputError:
            hint = _other_subject(subject, newest, manifest)
    return UsageError(
        f"`{subject}` is not a finding code, and no bundle was refused; to explain a distribution, "
        "also pass a bundle",
        hint=hint,
    )


def _build_first(subject: str) -> str:
    """Return the command that builds a bundle with a distribution, if its name is known."""
    near = closest(subject.lower(), most_downloaded(), cutoff=0.8)
    return f"build a bundle first: `bundler build {near}`" if near else "bundler explain"


@click.command("verify")
@click.argument("bundle", type=bundle_path)
@click.option(
    "--base",
    type=InputPath(path_type=Path, exists=True),
    help="Also check that it fits this base: a profile, a pip freeze, a root filesystem or an image archive.",
)
@json_option
def verify_command(bundle: Path, base: Path | None, as_json: bool) -> None:
    """Check every byte of a bundle, an archive or a directory, against its manifest."""
    reporter = make_reporter()
    try:
        checked = verify_bundle(bundle, reporter=reporter)
    except (IntegrityError, MalformedError) as error:
        hint = error.hint or _whole_bundle(bundle)
        raise type(error)(error.message, evidence=error.evidence, hint=hint) from error
    if base is not None:
        profile = read_base(base, reporter=reporter)
        for finding in check_fit(checked.manifest, profile):
            reporter.warn(f"{finding.code}  {finding.message}")
        reporter.stage("base", profile.fit_label)
    _report_checked("verify", checked, reporter, as_json=as_json)


def _whole_bundle(bundle: Path) -> str | None:
    """Return the command that writes the files of a changed directory again, from an archive here."""
    if not bundle.is_dir() and not bundle.name.endswith(ARCHIVES):
        near = closest(bundle.name, [path.name for path in bundles_in(bundle.parent)])
        return shlex.join(["bundler", "verify", str(bundle.with_name(near))]) if near else None
    if not bundle.is_dir():
        return "copy the archive again"
    try:
        identity = read_manifest(bundle).identity
    except BundlerError:
        return "unpack or copy the bundle again"
    for path in (*bundles_here(), *bundles_in(bundle.parent)):
        if path.is_file() and read_manifest(path).identity == identity:
            with suppress(BundlerError):  # a damaged archive may have the same manifest
                verify_bundle(path, reporter=SILENT)
                return shlex.join(["bundler", "unpack", str(path), free_name(f"{bundle}-unpacked")])
    return "unpack or copy the bundle again"


@click.command("unpack")
@click.argument("bundle", type=bundle_path)
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
    if is_static(manifest):
        reporter.warn(f"the bundle {verdict_of(manifest).text}")
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
