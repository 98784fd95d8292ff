"""The commands of ``bundler store``."""

from __future__ import annotations

from pathlib import Path

import click

from bundler.cli.common import make_reporter
from bundler.cli.console import print_envelope, print_line
from bundler.cli.options import json_option, store_option
from bundler.cli.parsing import is_typed
from bundler.errors import InputError
from bundler.reporter import Reporter
from bundler.store.maintenance import check_store, collect_garbage, store_info
from bundler.store.store import Store, open_store
from bundler.system.environ import read_host_environment

__all__ = ["store_group"]


@click.group("store")
def store_group() -> None:
    """Manage the local store of wheels, layers and segments."""


def _open(path: Path | None, reporter: Reporter) -> Store:
    """Open a store for maintenance.

    :raises InputError: if the directory of ``--store`` does not exist, or has other files; that of a
        setting may be new.
    """
    host = read_host_environment()
    store = open_store(path, host, reporter)
    folder = host.cwd / (path or Path())
    is_new = folder.is_dir() and not any(folder.iterdir())
    if path is not None and is_typed("store") and not is_new and not store.root.is_dir():
        raise InputError(f"{path}: no store there", hint="bundler store info")
    return store


@store_group.command("info")
@store_option
@json_option
def info_command(store: Path | None, as_json: bool) -> None:
    """Print the path and the size of the store."""
    reporter = make_reporter()
    with reporter.task("store", None):
        found = store_info(_open(store, reporter))
    if as_json:
        print_envelope("store info", result=found.to_json())
        return
    for name, value in found.to_json().items():
        print_line(name, value)


@store_group.command("gc")
@click.option(
    "--unused-days",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    help="Keep entries used within this many days.",
)
@store_option
@json_option
def gc_command(unused_days: int, store: Path | None, as_json: bool) -> None:
    """Remove entries that were not used for some time."""
    reporter = make_reporter()
    with reporter.task("store", None):
        report = collect_garbage(_open(store, reporter), unused_days=unused_days)
    if as_json:
        print_envelope("store gc", result=report.to_json())
        return
    for name, value in report.to_json().items():
        print_line(name, value)


@store_group.command("fsck")
@store_option
@json_option
def fsck_command(store: Path | None, as_json: bool) -> None:
    """Verify every file of the store; damaged ones are set aside, and made again when needed."""
    reporter = make_reporter()
    with reporter.task("store", None):
        report = check_store(_open(store, reporter))
    if as_json:
        print_envelope("store fsck", result=report.to_json())
    else:
        for name, value in report.to_json().items():
            print_line(name, value)
