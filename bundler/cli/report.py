"""The commands that present finished bundles: ``report`` and ``diff``."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from bundler.bundle.reader import read_manifest
from bundler.cli.console import print_envelope, print_line, print_text
from bundler.cli.examples import newest_bundle
from bundler.cli.inspect import refused_manifest
from bundler.cli.options import file_path, json_option, store_option
from bundler.cli.paths import bundle_path
from bundler.errors import UsageError
from bundler.report.comparison import compare_bundles
from bundler.report.page import is_page, render_page
from bundler.report.summary import verdict_of
from bundler.system.atomic import check_replaceable, replace_file

__all__ = ["diff_command", "report_command"]


_NOT_HTML = (".csv", ".docx", ".json", ".md", ".pdf", ".png", ".txt", ".xml")


@click.command("report")
@click.argument("bundle", required=False, type=bundle_path)
@click.option(
    "-o", "--output", type=file_path, default="report.html", show_default=True, help="Write this page."
)
@click.option("--against", metavar="BUNDLE", type=bundle_path, help="Also show the difference to it.")
@store_option
@json_option
def report_command(
    bundle: Path | None, output: Path, against: Path | None, store: Path | None, as_json: bool
) -> None:
    """Write a page about a bundle: verdict, sizes, dependencies, findings, native libraries, licenses.

    Without BUNDLE, the page is about the last bundle that was refused. It is one file that needs no
    network, and shows the manifest; `bundler verify` checks the files.
    """
    check_replaceable(
        output,
        filter(None, (bundle, against)),
        kind="a page of `bundler report`",
        is_own=is_page,
        default="report.html",
    )
    if output.suffix.lower() in _NOT_HTML:
        page = str(output.with_suffix(".html"))
        raise UsageError(f"`{output}`: the page is HTML", hint=f"pass `-o {shlex.quote(page)}`")
    manifest = read_manifest(bundle) if bundle is not None else refused_manifest(store)
    if manifest is None:
        newest = newest_bundle()
        raise UsageError(
            "no bundle given, and no bundle was refused",
            hint=f"bundler report {shlex.quote(str(newest))}" if newest else "bundler build --help",
        )
    older = read_manifest(against) if against is not None else None
    replace_file(output, render_page(manifest, older).encode())
    verdict = verdict_of(manifest)
    if as_json:
        result = {
            "path": str(output),
            "identity": manifest.identity,
            "verdict": {"status": verdict.status, "text": verdict.text},
        }
        print_envelope("report", result=result)
    else:
        print_line(output, verdict.text)


@click.command("diff")
@click.argument("before", type=bundle_path)
@click.argument("after", type=bundle_path)
@json_option
def diff_command(before: Path, after: Path, as_json: bool) -> None:
    """Print the difference between two bundles in Markdown.

    Distributions, sizes, licenses, native libraries and glibc, from the manifests.
    """
    comparison = compare_bundles(read_manifest(before), read_manifest(after))
    if as_json:
        print_envelope("diff", result=comparison.to_json())
    else:
        print_text(comparison.to_markdown())
