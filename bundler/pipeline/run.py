"""The context of one run, shared by its stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.pipeline.target import (
    check_applicable,
    check_wheels_alone,
    find_tagged_target,
    find_target,
    limit_glibc,
)
from bundler.requirements.requirement_set import IndexOptions
from bundler.resolve.failed_run import download_words
from bundler.resolve.index import IndexSettings, read_index_settings
from bundler.resolve.pip import PROJECTS, Toolchain, install_toolchain
from bundler.resolve.releases import answering
from bundler.resolve.resolver import PipResolver, Resolver
from bundler.resolve.uv import Uv, find_uv
from bundler.resolve.uv_resolver import UvResolver
from bundler.system.environ import startup_code
from bundler.system.sandbox import Sandbox, find_sandbox
from bundler.target.foreign import parse_target_tag
from bundler.target.interpreter import Interpreter

if TYPE_CHECKING:
    from bundler.pipeline.options import LockOptions
    from bundler.reporter import Reporter
    from bundler.requirements.requirement_set import RequirementSet
    from bundler.store.store import Store
    from bundler.system.environ import HostEnvironment

__all__ = ["Run", "open_run"]

_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Run:
    """The host, store, target and index settings of one run."""

    host: HostEnvironment
    store: Store
    reporter: Reporter
    scratch: Path
    """A private directory, removed at the end of the run."""
    sandbox: Future[Sandbox]
    """The sandbox of foreign code: it is searched for beside the first stages."""
    interpreter: Interpreter
    """The target Python."""
    read_settings: Callable[[], IndexSettings]
    """Returns the index settings; see `settings`."""
    only_binary: bool
    """Whether source distributions are rejected."""
    prefer_binary: bool
    """Whether an older release with a wheel is preferred to a newer one with only an sdist."""
    with_uv: bool
    """Whether uv chooses the versions, instead of pip."""
    exclude_newer: str | None
    """The time from which files of an index count as not uploaded yet."""

    @cached_property
    def settings(self) -> IndexSettings:
        """The index settings, read at the first access: a build from a lock and a warm store needs none.

        :raises InputError: if pip cannot read its configuration, or a value in it is invalid.
        """
        return self.read_settings()

    @cached_property
    def toolchain(self) -> Toolchain:
        """The target's pip, fetched at the first access: with a warm store, no stage needs it.

        :raises ResolutionError: if the index has no pip for the target.
        """
        toolchain = install_toolchain(
            self.interpreter,
            self.index_settings,
            host=self.host,
            store=self.store,
            scratch=self.scratch,
            sandbox=self.sandbox.result,
            reporter=self.reporter,
        )
        return replace(toolchain, prefer_binary=self.prefer_binary)

    @cached_property
    def index_settings(self) -> IndexSettings:
        """The settings of the indexes, reported at the first access."""
        for line in self.settings.summary():
            self.reporter.detail(f"index: {line}")
        if inherited := self.settings.inherited():
            self.reporter.introduce("note", f"from pip's configuration: {'; '.join(inherited)}")
        return self.settings

    @cached_property
    def resolver(self) -> Resolver:
        """The resolver of requirements.

        :raises ResolutionError: if the index has no pip for the target.
        :raises UsageError: if uv is not installed, or cannot resolve for the target.
        """
        if not self.with_uv:
            return self._pip_resolver()
        program, version = find_uv()
        settings = self.index_settings
        uv = Uv(
            program=program,
            version=version,
            interpreter=self.interpreter,
            settings=settings if settings.no_index or not settings.retries else answering(settings),
            host=self.host,
            store=self.store,
            scratch=self.scratch,
        )
        return UvResolver(
            uv=uv,
            pip=self._pip_resolver,
            only_binary=self.only_binary,
            prefer_binary=self.prefer_binary,
            exclude_newer=self.exclude_newer,
        )

    def _pip_resolver(self) -> PipResolver:
        return PipResolver(self.toolchain, only_binary=self.only_binary, exclude_newer=self.exclude_newer)


@contextmanager
def open_run(
    options: LockOptions,
    host: HostEnvironment,
    store: Store,
    reporter: Reporter,
    *,
    base_glibc: str | None = None,
    locked_glibc: str = "",
) -> Iterator[Run]:
    """Find the target, check the index options, and lock the store until the context ends.

    :param base_glibc: the glibc of the base, if known.
    :param locked_glibc: the glibc that the lock was resolved for; empty if unknown.
    :raises InterpreterError: if the target Python is not found, or unsupported.
    :raises InputError: if an index option is invalid, or a conda environment file requires another Python
        than the target.
    """
    with store.in_use(), store.scratch() as scratch, ThreadPoolExecutor(1, "sandbox") as pool:
        sandbox = pool.submit(find_sandbox, host, scratch)
        requirements = options.requirements
        for setting in host.ignored_settings():
            reporter.note(f"ignored setting: {setting}")
        for path in startup_code():
            reporter.warn(f"`{path}` runs when the Python of bundler starts, and could change the result")
        for warning in requirements.warnings if requirements else ():
            reporter.warn(warning)
        conda = requirements.conda if requirements else None
        for translation in conda.translations() if conda else ():
            reporter.note(translation)
        interpreter = _find_interpreter(options, host, scratch, reporter, (base_glibc, locked_glibc))
        target = interpreter.target
        from_files = requirements.options if requirements else None
        read_settings = partial(
            read_index_settings,
            host,
            scratch,
            flags=options.index,
            from_files=from_files,
            download=download_words(target.python_version, (*PROJECTS, *_names(requirements))),
        )
        _introduce(interpreter, reporter)
        if target.glibc is not None:
            is_default = options.target_glibc is None and not target.glibc.is_fact
            lift = "; `--target-glibc host` lifts it" if is_default else ""
            reporter.introduce("glibc", f"up to {target.glibc.version}: {target.glibc.source}{lift}")
        run = Run(
            host=host,
            store=store,
            reporter=reporter,
            scratch=scratch,
            sandbox=sandbox,
            interpreter=interpreter,
            read_settings=read_settings,
            only_binary=options.only_binary or interpreter.is_foreign,
            prefer_binary=options.prefer_binary,
            with_uv=options.resolver == "uv",
            exclude_newer=options.exclude_newer,
        )
        if {options.index, from_files} - {None, IndexOptions()}:
            _ = run.settings  # options of this command are checked, also if nothing needs them
        yield run


def _find_interpreter(
    options: LockOptions,
    host: HostEnvironment,
    scratch: Path,
    reporter: Reporter,
    glibc: tuple[str | None, str],
) -> Interpreter:
    """Return the interpreter of the options, with the glibc of its target, after a check of the requirements.

    :param glibc: that of the base, and that of the lock; see `open_run`.
    """
    requirements = options.requirements
    tag = parse_target_tag(options.target) if options.target else None
    if tag is not None:
        interpreter = find_tagged_target(tag, options.python, requirements, host, scratch)
    else:
        interpreter = find_target(options.python, requirements, host, scratch, reporter)
    target = limit_glibc(
        interpreter.target,
        options.target_glibc,
        base=glibc[0],
        locked=glibc[1],
        tagged=tag.libc if tag else "",
    )
    if requirements is not None:
        check_applicable(requirements, target, reporter)
        if interpreter.is_foreign:
            check_wheels_alone(requirements, target)
    return replace(interpreter, target=target)


def _introduce(interpreter: Interpreter, reporter: Reporter) -> None:
    """Report the target, and that one of another platform is checked without running it."""
    target = interpreter.target
    if not interpreter.is_foreign:
        reporter.introduce("target", f"CPython {target.version} at {interpreter.python}")
        return
    bytecode = "" if interpreter.compiles else f", without bytecode: no CPython {target.python_version} here"
    named = f"CPython {target.version} on {target.platform}, {target.libc}"
    reporter.introduce("target", f"{named}: static checks only{bytecode}")


def _names(requirements: RequirementSet | None) -> list[str]:
    """Return the first requirements that `pip download` gets from an index."""
    roots = requirements.roots if requirements else ()
    return [root.text for root in roots if root.kind == "index"][:_SHOWN]
