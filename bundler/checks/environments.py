"""Stage 5, effect: environments to try a bundle in, and what importing in them gave.

An environment is made when it is first needed; what an import gave depends on
layers, interpreter and sandbox alone, so it is kept in the store.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundler.bundle.extract import extract_entries
from bundler.bundle.layer import tree_digest
from bundler.bundle.plan import ArchiveMember, BundlePlan, folders_of
from bundler.bundle.segment import SegmentFormat
from bundler.bundle.writer import layer_entries
from bundler.checks.import_results import classify
from bundler.checks.import_runner import SCRIPT, ImportRequest, StartupError, import_modules
from bundler.checks.modules import DistributionFacts
from bundler.checks.report import ModeReport, UsageMode
from bundler.checks.sandbox import Sandbox, find_sandbox
from bundler.store.store import key_of
from bundler.target.interpreter import Interpreter
from bundler.target.venv import create_venv

if TYPE_CHECKING:
    from bundler.reporter import Reporter
    from bundler.store.store import Store
    from bundler.system.environ import HostEnvironment

__all__ = ["CheckEnvironments", "fill_environment"]

_FORMAT = "2"
"""To be raised with any change of how imports are tried, so that kept answers are made anew."""
# How an import may end that another run need not repeat.
_PASSING = frozenset({"timed-out", "crashed"})


@dataclass(kw_only=True)
class CheckEnvironments:
    """A bundle, and a private folder to try it in."""

    interpreter: Interpreter
    bundle: BundlePlan
    segment_format: SegmentFormat
    jobs: int
    reverify: bool
    """Whether kept answers are made anew."""
    store: Store
    host: HostEnvironment
    reporter: Reporter
    scratch: Path
    base: BundlePlan | None = None
    """The packages of the base that the bundle is tried over, in layers."""

    @cached_property
    def sandbox(self) -> Sandbox:
        """The sandbox that imports run in."""
        return find_sandbox(self.host, self.scratch)

    @cached_property
    def tree(self) -> Path:
        """An environment that holds the bundle, extracted from the segments that ship."""
        return self._environment("bundle é", self.bundle)

    def modules(self, mode: UsageMode, owners: Sequence[tuple[DistributionFacts, str]]) -> ModeReport:
        """Import modules in one way of use, or take over what an earlier run has found.

        :param owners: each module with the distribution it is of.
        """
        names = sorted({module for _, module in owners})
        key = self._key(mode, names)
        kept = None if self.reverify else self.store.lookup("imports", key)
        if kept is not None:
            answers = json.loads(self.store.read(kept))
        else:
            try:
                answers = self._import(mode, names)
            except StartupError as error:
                said = error.evidence[-1] if error.evidence else error.message
                return ModeReport(mode=mode, outcomes=(), fatal=said)
            if not any(answer.get("ended") in _PASSING for answer in answers.values()):
                self.store.bind("imports", key, self.store.add(json.dumps(answers, sort_keys=True).encode()))
        outcomes = tuple(classify(owner, module, answers[module]) for owner, module in owners)
        return ModeReport(mode=mode, outcomes=outcomes, cached=kept is not None)

    def script(self, mode: UsageMode, script: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run a script in one way of use; it is never kept, since its own files are not ours.

        :raises StartError: if Python does not start.
        """
        return self._import(mode, [], script)[SCRIPT]

    @cached_property
    def _image(self) -> Path:
        """An environment that holds nothing, as the place a bundle is mounted into."""
        folder = self.scratch / "image"
        create_venv(self.interpreter, folder, self.host, self.scratch)
        return folder

    @cached_property
    def _base(self) -> Path:
        """An environment that holds the base's packages."""
        if self.base is None:
            return self._image
        return self._environment("base", self.base)

    def _environment(self, name: str, plan: BundlePlan) -> Path:
        """Return a copy of the empty environment, filled; nothing in one says where it lies."""
        folder = self.scratch / name
        shutil.copytree(self._image, folder, symlinks=True)
        fill_environment(folder, plan, self.segment_format, self.store)
        return folder

    def _import(
        self, mode: UsageMode, modules: Sequence[str], script: Mapping[str, Any] | None = None
    ) -> dict[str, dict[str, Any]]:
        environments = {"mount": "_image", "venv": "tree", "server": "_base", "base": "_base"}
        home: Path = getattr(self, environments[mode])
        mounted = [] if mode in ("venv", "base") else [self.tree / self.interpreter.target.site_packages]
        # As the image does: a colon that ends PYTHONPATH adds the working directory.
        own = [Path(script["cwd"]), *map(Path, script["append"])] if script else []
        check = ImportRequest(
            python=home / "bin" / "python",
            modules=modules,
            allowed_roots=[home, *([self.tree] if mounted else []), *own, *self.interpreter.stdlib],
            python_path=[*mounted, *own[:1]],
            script=script,
            jobs=self.jobs,
        )
        return import_modules(
            check,
            sandbox=self.sandbox,
            host=self.host,
            scratch=self.scratch,
            reporter=self.reporter,
        )

    def _key(self, mode: UsageMode, modules: Sequence[str]) -> str:
        target = self.interpreter.target
        plans = [self.bundle, *([self.base] if mode in ("server", "base") and self.base else [])]
        trees = [tree_digest(file for _, file in plan.files()) for plan in plans]
        python = [str(self.interpreter.python), target.version, target.abi, target.platform, target.libc]
        return key_of(_FORMAT, mode, json.dumps(self.sandbox.to_json()), *python, *trees, *modules)


def fill_environment(venv: Path, plan: BundlePlan, segment_format: SegmentFormat, store: Store) -> None:
    """Extract the segments that ship into a virtual environment."""
    folders = folders_of(file.path for _, file in plan.files())
    members = [ArchiveMember(path=folder, is_dir=True, size=0, mode=0o755, sha256=None) for folder in folders]
    extract_entries([(member, ()) for member in members], venv)
    extract_entries(layer_entries(plan, segment_format, store), venv)
