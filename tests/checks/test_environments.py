"""Answers of imports in the store: read if they have their shape, and never those that may not repeat."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.facts import facts

from bundler.bundle.plan import BundlePlan
from bundler.checks.environments import CheckEnvironments
from bundler.checks.import_results import ImportAnswer
from bundler.checks.import_runner import StartupError
from bundler.checks.report import ModeReport
from bundler.reporter import Silent
from bundler.store.store import Store
from bundler.system.sandbox import Sandbox
from bundler.target.interpreter import Interpreter

OWNERS = [(facts("a"), "a"), (facts("a"), "a.b")]


class Environments(CheckEnvironments):
    """Environments whose imports end as the test decides."""

    ending: ImportAnswer | StartupError = ImportAnswer(ended="ok")
    runs = 0

    def _import(
        self,
        mode: str,  # noqa: ARG002 - as in the overridden method
        modules: Sequence[str],
        script: Mapping[str, Any] | None = None,  # noqa: ARG002
        *,
        hidden: Collection[str] = (),  # noqa: ARG002
    ) -> dict[str, ImportAnswer]:
        self.runs += 1
        if isinstance(self.ending, StartupError):
            raise self.ending
        return dict.fromkeys(modules, self.ending)


@pytest.fixture
def environments(tmp_path: Path) -> Environments:
    target = SimpleNamespace(version="3.7.16", abi="cp37m", platform="linux_x86_64", libc="glibc 2.31")
    return Environments(
        interpreter=cast("Interpreter", SimpleNamespace(python=Path("/usr/bin/python3.7"), target=target)),
        bundle=cast("BundlePlan", SimpleNamespace(files=lambda: ())),
        segment_format=cast("Any", None),
        jobs=1,
        reverify=False,
        store=Store(tmp_path / "store"),
        host=cast("Any", None),
        reporter=Silent(),
        sandbox=Sandbox(),
        scratch=tmp_path,
    )


def statuses(report: ModeReport) -> list[str]:
    return [outcome.status for outcome in report.outcomes]


def test_answers_are_stored_and_imported_again_on_demand(environments: Environments) -> None:
    environments.ending = ImportAnswer(
        ended="raised", message="E: x", missing="y", network=("h:1",), writes=("/etc/x",), code=3
    )
    first, again = (environments.modules("mount", OWNERS) for _ in range(2))
    environments.reverify = True
    forced = environments.modules("mount", OWNERS)

    assert (first.cached, again.cached, forced.cached) == (False, True, False)
    assert first == again == forced
    assert environments.runs == 2


@pytest.mark.parametrize(
    "other",
    [
        pytest.param([], id="another-type"),
        pytest.param({"a": {"ended": "ok", "network": "h:1"}}, id="a-field-of-another-type"),
        pytest.param({"a": "ok"}, id="a-text"),
    ],
)
def test_a_stored_value_of_another_shape_counts_as_absent(environments: Environments, other: object) -> None:
    key = environments._key("mount", ["a", "a.b"])
    environments.store.remember("imports", key, other)
    report = environments.modules("mount", OWNERS)

    assert (statuses(report), report.cached, environments.runs) == (["ok", "ok"], False, 1)
    assert environments.modules("mount", OWNERS).cached


@pytest.mark.parametrize("ended", ["crashed", "timed-out"])
def test_endings_that_may_not_repeat_are_not_stored(environments: Environments, ended: str) -> None:
    environments.ending = ImportAnswer(ended=ended)
    reports = [environments.modules("mount", OWNERS) for _ in range(2)]

    assert [report.cached for report in reports] == [False, False]
    assert environments.runs == 2


@pytest.mark.parametrize(("evidence", "fatal"), [((), "no start"), (("first", "last"), "last")])
def test_a_python_that_does_not_start_is_reported_and_not_stored(
    environments: Environments, evidence: tuple[str, ...], fatal: str
) -> None:
    environments.ending = StartupError("no start", evidence=evidence)
    reports = [environments.modules("mount", OWNERS) for _ in range(2)]

    assert reports == [ModeReport(mode="mount", outcomes=(), fatal=fatal)] * 2
    assert environments.runs == 2


def test_every_mode_has_a_key_of_its_own(environments: Environments) -> None:
    keys = {environments._key(mode, ["a"]) for mode in ("mount", "venv", "server", "base")}

    assert len(keys) == 4
