"""The command ``matrix``: the bundles of a TOML file, whose keys are the options of ``bundler build``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from bundler.cli.build import build_command, read_build
from bundler.cli.bundles_file import NOT_KEYS, read_bundles_file
from bundler.cli.common import make_reporter
from bundler.cli.console import error_values, print_envelope, print_error, print_line
from bundler.cli.mistakes import in_file, plain_words
from bundler.cli.options import (
    BundleArguments,
    RequirementArguments,
    ResolveArguments,
    file_path,
    json_option,
    store_option,
)
from bundler.cli.settings import Setting, find_setting, option_name, read_settings, setting_value
from bundler.errors import BundlerError, UsageError
from bundler.jsonio import parse_toml
from bundler.paths import printable
from bundler.pipeline.fleet import Fleet, open_shared, run_on_cluster
from bundler.pipeline.matrix import Job, Outcome, check_outputs, label_of, run_job
from bundler.problems import Problem, ProblemError, closest, display_path, input_error
from bundler.reporter import Reporter
from bundler.store.store import Store, open_store
from bundler.system.environ import HostEnvironment, read_host_environment

__all__ = ["line_of", "matrix_command"]

T = TypeVar("T")
_INPUTS = "inputs"
"""The key of the words of the command line: requirements, files and directories."""
_EXAMPLE = 'inputs = ["requirements.txt"]'
_SOURCES = ("requirement", "files", "scripts", "lock", "find_links")
"""The parameters that can have requirements."""
_OPTIONS = {
    name: param for param in build_command.params if (name := option_name(param)) and name not in NOT_KEYS
}


@click.command("matrix")
@click.argument("file", type=file_path, default="bundles.toml", metavar="[FILE]")
@click.option("--only", multiple=True, metavar="NAME", help="Build this bundle of the file only.")
@click.option(
    "--scheduler",
    metavar="URL",
    help="Build on the workers of this scheduler of Dask, each with its own store.",
)
@click.option(
    "--share", metavar="URL", help="Fetch layers that others made from this storage, and copy new ones to it."
)
@store_option
@json_option
def matrix_command(
    file: Path,
    only: tuple[str, ...],
    scheduler: str | None,
    share: str | None,
    store: Path | None,
    *,
    as_json: bool,
) -> None:
    """Build the bundles of FILE  [default: bundles.toml], each for one or more Pythons.

    A bundle that exists, and whose lock, options, base and code did not change, is not built again. A
    bundle that fails does not stop the others; the exit code is that of the first one that failed.
    """
    host = read_host_environment()
    entries = _MatrixFile(file, host, absolute=scheduler is not None).read(only)
    reporter = make_reporter()
    opened = open_shared(store, share, host, reporter) if share else open_store(store, host, reporter)
    check_outputs([entry.job for entry in entries if isinstance(entry.job, Job)], host=host, store=opened)
    if scheduler is None:
        outcomes = _run_here(entries, opened, reporter)
    else:
        outcomes = _run_on_cluster(entries, Fleet(scheduler=scheduler, share=share), reporter)
    rows: dict[int, dict[str, Any]] = {}
    failures: dict[int, tuple[str, BundlerError]] = {}
    for number, outcome in outcomes:
        entry = entries[number]
        rows[number] = _row(entry, outcome)
        if outcome.error is not None:
            failures[number] = (entry.label, outcome.error)
            reporter.stage("failed", entry.label)
            print_error(in_file(outcome.error, display_path(host.cwd / file, host.cwd)))
        elif outcome.output is not None and not as_json:
            output = outcome.output
            print_line(display_path(output.path, host.cwd), output.size, output.sha256)
    listed = [rows[number] for number in sorted(rows)]
    states = [row["status"] for row in listed]
    counts = (f"{states.count(state)} {state}" for state in ("built", "unchanged", "failed"))
    reporter.stage("matrix", ", ".join(counts))
    reporter.finish()
    if failures:
        failed = [failures[number] for number in sorted(failures)]
        raise type(failed[0][1])(
            f"{len(failed)} of {len(listed)} bundles failed",
            evidence=tuple(f"{label}: {error.message}" for label, error in failed),
            facts={"bundles": listed},
        )
    if as_json:
        print_envelope("matrix", result={"bundles": listed})


def _run_here(entries: list[_Planned], store: Store, reporter: Reporter) -> Iterator[tuple[int, Outcome]]:
    """Run the jobs one after the other: a build uses all cores itself."""
    for number, entry in enumerate(entries):
        reporter.stage("matrix", f"{number + 1} of {len(entries)}: {entry.label}")
        if isinstance(entry.job, Job):
            yield number, run_job(entry.job, host=entry.host, store=store, reporter=reporter)
        else:
            yield number, Outcome(status="failed", error=entry.job)


def _run_on_cluster(
    entries: list[_Planned], fleet: Fleet, reporter: Reporter
) -> Iterator[tuple[int, Outcome]]:
    """Run the jobs on the workers, each outcome when it is known."""
    jobs = [entry.job for entry in entries if isinstance(entry.job, Job)]
    numbers = {id(entry.job): number for number, entry in enumerate(entries)}
    for number, entry in enumerate(entries):
        if not isinstance(entry.job, Job):
            yield number, Outcome(status="failed", error=entry.job)
    for job, outcome in run_on_cluster(jobs, fleet, entries[0].host, reporter):
        reporter.stage("matrix", f"{outcome.status}: {job.label}")
        yield numbers[id(job)], outcome


@dataclass(frozen=True, kw_only=True)
class _Planned:
    """A bundle of the file, for one Python."""

    bundle: str
    python: str | None
    host: HostEnvironment
    """This environment, with the directory of the file as the working directory."""
    settings: tuple[Setting, ...]
    inputs: tuple[str, ...]
    job: Job | BundlerError | None = None
    """The error if its inputs cannot be read."""

    @property
    def label(self) -> str:
        return label_of(self.bundle, self.python)


def _row(entry: _Planned, outcome: Outcome) -> dict[str, Any]:
    row: dict[str, Any] = {"bundle": entry.bundle, "python": entry.python, "status": outcome.status}
    if (output := outcome.output) is not None:
        row |= {"path": str(output.path), "manifest": str(output.manifest)}
        row |= {"size": output.size, "sha256": output.sha256}
    return row if outcome.error is None else {**row, "error": error_values(outcome.error)}


class _MatrixFile:
    """Reads a file of bundles: the table ``defaults``, and a table ``bundle.NAME`` for each bundle.

    :param host: this environment; relative paths of the file start at its directory.
    :param absolute: whether the paths of the jobs are absolute, for other processes.
    """

    def __init__(self, file: Path, host: HostEnvironment, *, absolute: bool) -> None:
        self._file = file
        self._shown = display_path(host.cwd / file, host.cwd)
        folder = (host.cwd / file).parent
        self._absolute = absolute or folder != host.cwd
        self._host = replace(host, cwd=folder)
        self._text = ""
        self._problems: list[Problem] = []

    def read(self, only: tuple[str, ...]) -> list[_Planned]:
        """Return an entry for each bundle and Python, each with its job.

        :param only: the names of the bundles; empty for all.
        :raises InputError: with all unknown keys and invalid values of the file.
        :raises UsageError: if a name is not that of a bundle.
        """
        self._text, document = read_bundles_file(self._host.cwd / self._file.name, self._shown)
        for key in sorted(document.keys() - {"defaults", "bundle"}):
            self._problem((key,), f"unknown table `{key}`", key, ("defaults", "bundle"))
        bundles = document.get("bundle", {})
        if not isinstance(bundles, dict):
            kind = "`[[bundle]]` is a list" if isinstance(bundles, list) else "`bundle` is not a table"
            self._problem(("bundle",), kind, hint="[bundle.NAME]")
            bundles = {}
        elif not bundles:
            self._problem((), "no bundles", hint="[bundle.NAME]")
        defaults = self._table(("defaults",), document.get("defaults", {}))
        host_settings = read_settings(self._host)
        entries: list[_Planned] = []
        for name, table in bundles.items():
            own = self._table(("bundle", name), table)
            entries += self._entries(name, {**defaults, **own}, host_settings)
        self._raise_problems()
        if unknown := next((name for name in only if name not in bundles), None):
            near = closest(unknown, bundles)
            raise UsageError(
                f"`{self._shown}` has no bundle `{printable(unknown)}`",
                evidence=(f"known   {printable(', '.join(bundles))}",),
                hint=f"did you mean `--only {near}`?" if near else None,
            )
        entries = [self._with_job(entry) for entry in entries if not only or entry.bundle in only]
        self._raise_problems()
        return entries

    def _table(self, path: tuple[str, ...], table: Any) -> dict[str, Setting]:
        """Return the settings of a table by their names, after a check of the names and types."""
        place = ".".join(path)
        if not isinstance(table, dict):
            is_key = path[-1].replace("_", "-") in {*_OPTIONS, _INPUTS}  # `[bundle]` for `[bundle.app]`
            self._problem(path, f"`{place}` is not a table", hint="[bundle.app]" if is_key else f"[{place}]")
            return {}
        settings = {}
        for key, value in table.items():
            name = key.replace("_", "-")
            setting = Setting(
                path=("build",), name=name, value=value, source=f"{key} of [{place}] in {self._shown}"
            )
            if name not in _OPTIONS and name != _INPUTS:
                self._problem((*path, key), f"unknown key `{key}` of [{place}]", name, (*_OPTIONS, _INPUTS))
            elif name == _INPUTS or (name == "python" and isinstance(value, list)):
                if not (isinstance(value, list) and value and all(isinstance(item, str) for item in value)):
                    self._problem((*path, key), f"`{key}` of [{place}] is not a list of strings")
            else:
                self._check(setting, (*path, key), _OPTIONS[name])
            settings[name] = setting
        return settings

    def _check(self, setting: Setting, path: tuple[str, ...], param: click.Parameter) -> None:
        try:
            setting_value(setting, param)
        except UsageError as error:
            self._problem(path, f"the value of `{path[-1]}` is invalid", details=error.evidence)

    def _entries(
        self, name: str, settings: dict[str, Setting], of_host: tuple[Setting, ...]
    ) -> Iterator[_Planned]:
        """Yield the entry of each Python of a bundle."""
        inputs = settings.pop(_INPUTS, None)
        python = settings.pop("python", None)
        settings.setdefault("name", Setting(path=("build",), name="name", value=name, source=self._shown))
        values = (
            [None] if python is None else python.value if isinstance(python.value, list) else [python.value]
        )
        for value in values:
            own = [*settings.values()]
            if python is not None:
                own.append(replace(python, value=value))
            yield _Planned(
                bundle=name,
                python=value,
                host=self._host,
                settings=(*own, *of_host),
                inputs=tuple(inputs.value) if inputs is not None else (),
            )

    def _with_job(self, entry: _Planned) -> _Planned:
        """Return an entry with its job, or the error if its inputs cannot be read."""
        job: Job | BundlerError
        try:
            params = self._parameters(entry)
            if not any(params[name] for name in _SOURCES):
                self._problem(
                    ("bundle", entry.bundle), f"`{entry.bundle}` has no requirements", hint=_EXAMPLE
                )
                return entry
            options = read_build(
                _grouped(RequirementArguments, params),
                _grouped(ResolveArguments, params),
                params["lock"],
                _grouped(BundleArguments, params),
                self._host,
            )
            job = Job(bundle=entry.bundle, python=entry.python, options=options)
        except BundlerError as error:
            is_own = any(error.message.startswith(setting.source) for setting in entry.settings)
            hint = None if is_own and error.hint == "bundler config" else error.hint
            job = type(error)(error.message, evidence=error.evidence, hint=hint, facts=error.facts)
        except click.UsageError as error:
            param = error.param if isinstance(error, click.BadParameter) else None
            name = (option_name(param) if param else None) or _INPUTS
            self._problem(("bundle", entry.bundle, name), plain_words(error.format_message()))
            return entry
        return replace(entry, job=job)

    def _parameters(self, entry: _Planned) -> dict[str, Any]:
        """Return the parameters of ``bundler build`` for an entry, as click converts them.

        :raises click.UsageError: if a value is invalid.
        :raises BundlerError: if a path does not exist.
        """
        values = {}
        for param in build_command.params:
            setting = find_setting(("build",), param, entry.settings, build_command)
            if setting is None or param.name is None:
                continue
            value = setting_value(setting, param)
            if isinstance(param.type, click.Path) and self._absolute:
                folder = self._host.cwd
                value = [str(folder / item) for item in value] if param.multiple else str(folder / value)
            values[param.name] = value
        context = click.Context(build_command, info_name="bundler build", obj=())
        context.default_map = values
        context.meta["bundler.settings"] = (entry.settings, build_command)
        with context.scope(cleanup=False):
            build_command.parse_args(context, ["--", *entry.inputs])
        return context.params

    def _problem(
        self,
        path: tuple[str, ...],
        fact: str,
        word: str = "",
        known: Iterable[str] = (),
        *,
        details: tuple[str, ...] = (),
        hint: str | None = None,
    ) -> None:
        """Record a problem with its line, and the name of ``known`` that is most similar to ``word``."""
        near = closest(word, known) if word else None
        line = line_of(self._text, path)
        refused = ProblemError(
            printable(fact), details=details, hint=f"did you mean `{near}`?" if near else hint
        )
        self._problems.append(Problem(where=f"{self._shown}:{line}", refused=refused))

    def _raise_problems(self) -> None:
        if self._problems:
            unique = {(problem.where, problem.refused.fact): problem for problem in self._problems}
            raise input_error(tuple(unique.values()), subject=f"`{self._shown}`")


def _grouped(kind: type[T], params: Mapping[str, Any]) -> T:
    """Return the parameters of a group of options as its dataclass."""
    return kind(**{field.name: params[field.name] for field in fields(kind)})  # type: ignore[arg-type]


def line_of(text: str, path: tuple[str, ...]) -> int:
    r"""Return the line on which a key of a TOML document starts, or that of its table; 1 if neither is found.

    It is the first line with the name of the key after which the document has the key, as tomllib reads
    it: an equal text in a string or comment does not count.

    >>> line_of('[a]\nb = "c = 1"\nc = 2', ("a", "c"))
    3
    """
    lines = text.splitlines()
    for start, line in enumerate(lines):
        if path and path[-1] in line and _has(lines[:start], path) is False:
            ends = (_has(lines[:end], path) for end in range(start + 1, len(lines) + 1))
            if next((has for has in ends if has is not None), False):
                return start + 1
    return line_of(text, path[:-1]) if path else 1


def _has(lines: list[str], path: tuple[str, ...]) -> bool | None:
    """Return whether the first lines of a document have a key; None if they end within a value."""
    try:
        table: Any = parse_toml("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return None
    for name in path:
        if not isinstance(table, dict) or name not in table:
            return False
        table = table[name]
    return True
