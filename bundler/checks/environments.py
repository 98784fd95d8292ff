"""Stage 5, effect: virtual environments to import a bundle in, and the answers of the imports.

An environment is created when it is first needed. The answer of an import depends on the
layers, the interpreter and the sandbox alone, so it is stored under a key of these.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from bundler.bundle.extract import extract_entries
from bundler.bundle.layer import tree_digest
from bundler.bundle.plan import ArchiveMember, BundlePlan, folders_of
from bundler.bundle.segment import SegmentFormat
from bundler.bundle.writer import extract_layers
from bundler.checks.import_results import ImportAnswer, classify
from bundler.checks.import_runner import SCRIPT, ImportRequest, StartupError, import_modules
from bundler.checks.modules import DistributionFacts, importable_name
from bundler.checks.report import ModeReport, UsageMode
from bundler.digest import Sha256
from bundler.store.store import key_of
from bundler.system.sandbox import Sandbox
from bundler.target.interpreter import Interpreter
from bundler.target.venv import create_venv

if TYPE_CHECKING:
    from bundler.errors import BundlerError
    from bundler.reporter import Reporter
    from bundler.store.store import Store
    from bundler.system.environ import HostEnvironment

__all__ = ["CheckEnvironments", "fill_environment"]

_FORMAT = "4"
"""A part of every key. Raise it with any change of how imports run or of `ImportAnswer`: stored answers
of older releases are then not read."""
_NOT_REPEATABLE = frozenset({"timed-out", "crashed"})
"""Endings that may be due to a busy machine or a race; answers with one are not stored."""


@dataclass(kw_only=True)
class CheckEnvironments:
    """A bundle, its base, and a private directory to import them in."""

    interpreter: Interpreter
    bundle: BundlePlan
    segment_format: SegmentFormat
    jobs: int
    reverify: bool
    """Whether to import again although the store has the answers."""
    store: Store
    host: HostEnvironment
    reporter: Reporter
    sandbox: Sandbox
    """The sandbox that imports run in."""
    scratch: Path
    """A private directory for the environments."""
    base: BundlePlan | None = None
    """The packages of the base that the bundle is mounted over, in layers."""
    _lock: Any = field(default_factory=RLock, repr=False)

    @cached_property
    def _digest(self) -> Sha256:
        """The tree digest of the bundle."""
        return tree_digest(file for _, file in self.bundle.files())

    @property
    def tree(self) -> Path:
        """An environment with the bundle, extracted from the segments that ship."""
        with self._lock:  # the first of several threads makes it
            return self._tree

    @cached_property
    def _tree(self) -> Path:
        return self._environment("bundle é", self.bundle)

    def modules(
        self,
        mode: UsageMode,
        owners: Sequence[tuple[DistributionFacts, str]],
        *,
        hidden: Collection[str] = (),
    ) -> ModeReport:
        """Import modules in one mode of use, or take the answers of an earlier run from the store.

        :param owners: each module with its distribution.
        :param hidden: paths of files of this machine that are empty for the imports.
        """
        names = sorted({module for _, module in owners})
        key = self._key(mode, [*names, *sorted(hidden)])
        answers = None if self.reverify else self.store.recall("imports", key, dict[str, ImportAnswer])
        cached = answers is not None
        if answers is None:
            try:
                answers = self._import(mode, names, hidden=hidden)
            except StartupError as error:
                return ModeReport(mode=mode, outcomes=(), fatal=_last_line(error))
            if not any(answer.ended in _NOT_REPEATABLE for answer in answers.values()):
                self.store.remember("imports", key, answers)
        outcomes = tuple(classify(owner, module, answers[module]) for owner, module in owners)
        return ModeReport(mode=mode, outcomes=outcomes, cached=cached)

    def python_libraries(self) -> frozenset[str]:
        """Return the libraries of this machine that the target's Python maps with its own modules."""
        extensions = {
            name
            for folder in self.interpreter.stdlib
            for file in folder.glob("*.so")
            if (name := importable_name(file.name))
        }
        answers = self._import("mount", sorted(extensions))
        return frozenset(path for answer in answers.values() for path in answer.mapped)

    def script(self, mode: UsageMode, script: Mapping[str, Any]) -> ImportAnswer:
        """Run a script in one mode of use; the answer is not stored, as it depends on files of the user.

        :raises StartupError: if Python does not start.
        """
        return self._import(mode, [], script)[SCRIPT]

    @cached_property
    def _image(self) -> Path:
        """An empty environment, as the place a bundle is mounted into."""
        folder = self.scratch / "image"
        create_venv(self.interpreter, folder, self.host, self.scratch)
        return folder

    @cached_property
    def _base(self) -> Path:
        """An environment with the packages of the base; the empty one where they are not known."""
        if self.base is None:
            return self._image
        return self._environment("base", self.base)

    def _environment(self, name: str, plan: BundlePlan) -> Path:
        """Return a copy of the empty environment with the files of a plan.

        A plain copy works: the interpreter is a symbolic link, and ``pyvenv.cfg`` names the base
        interpreter, not the environment's own path.
        """
        folder = self.scratch / name
        try:
            shutil.copytree(self._image, folder, symlinks=True)
            fill_environment(folder, plan, self.segment_format, self.store, jobs=self.jobs)
        except BaseException:
            # Another thread tries again, and must fail for the same reason: a damaged store is repaired.
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return folder

    def _import(
        self,
        mode: UsageMode,
        modules: Sequence[str],
        script: Mapping[str, Any] | None = None,
        *,
        hidden: Collection[str] = (),
    ) -> dict[str, ImportAnswer]:
        home, mounted = self._places(mode)
        # The start script of the images leaves a colon at the end of PYTHONPATH, which adds the working
        # directory (the application root) behind the bundle.
        own = [Path(script["cwd"]), *map(Path, script["append"])] if script else []
        check = ImportRequest(
            python=home / "bin" / "python",
            modules=modules,
            allowed_roots=[home, *mounted, *own, *self.interpreter.stdlib],
            python_path=[*(tree / self.interpreter.target.site_packages for tree in mounted), *own[:1]],
            script=script,
            hidden=[Path(path) for path in sorted(hidden)],
            jobs=self.jobs,
        )
        return import_modules(
            check,
            sandbox=self.sandbox,
            host=self.host,
            scratch=self.scratch,
            reporter=self.reporter,
        )

    def _places(self, mode: UsageMode) -> tuple[Path, list[Path]]:
        """Return the environment of a mode, and the directories that are mounted over it."""
        match mode:
            case "mount":
                return self._image, [self.tree]
            case "venv":
                return self.tree, []
            case "server":
                return self._base, [self.tree]
            case "base":
                return self._base, []

    def _key(self, mode: UsageMode, modules: Sequence[str]) -> str:
        target = self.interpreter.target
        trees = [self._digest]
        if mode in ("server", "base") and self.base is not None:
            trees.append(tree_digest(file for _, file in self.base.files()))
        python = [str(self.interpreter.python), target.version, target.abi, target.platform, target.libc]
        return key_of(_FORMAT, mode, json.dumps(self.sandbox.to_json()), *python, *trees, *modules)


def fill_environment(
    venv: Path, plan: BundlePlan, segment_format: SegmentFormat, store: Store, *, jobs: int
) -> None:
    """Extract the segments of a plan, as they ship, into a virtual environment."""
    folders = folders_of(file.path for _, file in plan.files())
    members = [ArchiveMember(path=folder, is_dir=True, size=0, mode=0o755, sha256=None) for folder in folders]
    extract_entries([(member, ()) for member in members], venv)
    extract_layers(plan, segment_format, store, venv, jobs=jobs)


def _last_line(error: BundlerError) -> str:
    """Return the last line of the child's standard error, or the message if it printed none."""
    return error.evidence[-1] if error.evidence else error.message
