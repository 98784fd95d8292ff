"""What a report says, what it refuses, and what may be allowed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from bundler.checks.dependencies import Unmet
from bundler.checks.findings import Finding
from bundler.checks.import_results import ImportResult, ImportStatus
from bundler.checks.report import ClosureReport, ModeReport, UsageMode
from bundler.data.finding_rules import rules_by_code
from bundler.errors import ClosureError


def outcome(
    distribution: str, module: str, status: ImportStatus = "ok", detail: str = "", **more: Any
) -> ImportResult:
    return ImportResult(
        distribution=canonicalize_name(distribution),
        module=module,
        status=status,
        detail=detail,
        **{"missing": None, "declared": None, **more},
    )


def report(
    *outcomes: ImportResult, more: dict[UsageMode, tuple[ImportResult, ...]] | None = None, **given: Any
) -> ClosureReport:
    """Return a report of a bundle that was mounted, and used in further ways."""
    modes: dict[UsageMode, tuple[ImportResult, ...]] = {"mount": outcomes, **(more or {})}
    own = frozenset(one.distribution for one in outcomes)
    return ClosureReport(
        modes=tuple(ModeReport(mode=mode, outcomes=found) for mode, found in modes.items()),
        **{"own": own, **given},
    )


def test_a_good_report_raises_nothing() -> None:
    good = report(outcome("a", "a"), outcome("b", "b", tried=("h:1",), wrote=("/etc/x",)))

    good.raise_for_errors()
    assert [(one.code, one.message) for one in good.findings] == [
        ("I206", "import `b` of `b` writes to `/etc/x`"),
        ("I207", "import `b` of `b` tried to reach `h:1`"),
    ]


@pytest.mark.parametrize(
    ("code", "where", "remedy"),
    [
        (
            "M107",
            "sitecustomize",
            "leave the distribution out, or accept it by name: `--allow M107:odd-name`",
        ),
        (
            "I201",
            "odd.mod",
            "require the missing project, or pass `--allow-import-failure odd.mod` to record an exception",
        ),
        ("D601", "", rules_by_code()["D601"].fix),
    ],
)
def test_a_remedy_has_the_names_of_its_finding(code: str, where: str, remedy: str) -> None:
    finding = Finding(code=code, message="m", distribution=canonicalize_name("odd.name"), where=where)

    assert finding.remedy == remedy
    assert Finding(code=code, message="m", fix="another").remedy == "another"


def test_the_error_names_every_failure_its_last_line_and_the_fix_of_each_code() -> None:
    bad = report(
        outcome("b", "b_mod", "crashed", "SIGABRT", stderr=("terminate called",)),
        outcome("c", "c"),
        outcome("a", "a.x", "missing-dependency", "M: No module named 'y'", missing="y", declared=False),
        unmet=(
            Unmet(distribution=canonicalize_name("a"), requirement="y>=2", found="1"),
            Unmet(distribution=None, requirement="z", found=None),
        ),
        code=(Finding(code="U302", message="no run()"),),
    )
    with pytest.raises(ClosureError) as caught:
        bad.raise_for_errors()

    assert caught.value.exit_code == 10
    assert caught.value.message == "the bundle does not work on its target: 5 errors"
    assert caught.value.evidence == (
        "I201  import `a.x` of `a`: missing-dependency `y`, which it does not declare: M: No module named 'y'",
        "I201  import `b_mod` of `b`: crashed: SIGABRT",
        "      stderr  terminate called",
        f"      fix: {rules_by_code()['I201'].fix}",
        "I202  the requirements ask for `z`: not found",
        "I202  `a` requires `y>=2`: found version 1",
        f"      fix: {rules_by_code()['I202'].fix}",
        "U302  no run()",
        f"      fix: {rules_by_code()['U302'].fix}",
    )
    assert caught.value.hint == "bundler explain I201"
    assert caught.value.facts == bad.to_json(code=True)


GOOD, BAD = outcome("a", "a"), outcome("a", "a", "failed", "E: 1")


@pytest.mark.parametrize(
    ("mount", "more", "code", "says"),
    [
        pytest.param(BAD, {"venv": (BAD,)}, "I201", "import `a` of `a`: failed: E: 1", id="everywhere"),
        pytest.param(
            BAD,
            {"venv": (GOOD,)},
            "M102",
            "import `a` of `a` (mounted on PYTHONPATH): failed: E: 1",
            id="on-a-mount-alone",
        ),
        pytest.param(
            GOOD,
            {"venv": (BAD,)},
            "I201",
            "import `a` of `a` (installed in a virtual environment): failed: E: 1",
            id="installed-alone",
        ),
        pytest.param(
            GOOD,
            {"server": (BAD,)},
            "B505",
            "import `a` of `a` (mounted over the base's own packages): failed: E: 1",
            id="over-the-base-alone",
        ),
        pytest.param(
            GOOD,
            {"server": (GOOD, outcome("srv", "srv", "failed", "E: 2"))},
            "B506",
            "import `srv` of `srv` (mounted over the base's own packages): failed: E: 2",
            id="of-the-server",
        ),
    ],
)
def test_a_failure_is_one_finding_and_says_in_which_way(
    mount: ImportResult, more: dict[UsageMode, tuple[ImportResult, ...]], code: str, says: str
) -> None:
    found = report(mount, more=more).findings

    assert [(one.code, one.message) for one in found] == [(code, says)]


def test_a_python_that_does_not_start_is_an_error_of_its_own() -> None:
    dead = ClosureReport(modes=(ModeReport(mode="mount", outcomes=(), fatal="AttributeError: x"),))

    assert [one.message for one in dead.errors] == [
        "Python does not start with the bundle mounted on PYTHONPATH: AttributeError: x"
    ]


@pytest.mark.parametrize(
    ("allowed", "errors"),
    [
        pytest.param("Dist_Name", 0, id="distribution"),
        pytest.param("Mod.x", 0, id="module"),
        pytest.param("mod", 1, id="another"),
    ],
)
def test_an_allowed_import_failure_fails_nothing_but_is_recorded(allowed: str, errors: int) -> None:
    made = report(outcome("dist-name", "Mod.x", "failed", "E: 1"), allowed_imports=(allowed,))

    assert len(made.errors) == errors
    assert made.to_json()["allowed"] == [allowed]
    assert made.to_json()["ways"]["mount"][0]["status"] == "failed"


@pytest.mark.parametrize(
    ("allowed", "errors"),
    [
        pytest.param("I201", 0, id="code"),
        pytest.param("i201:Dist.Name", 0, id="code-and-distribution"),
        pytest.param("I201:other", 1, id="another-distribution"),
        pytest.param("I202", 1, id="another-code"),
    ],
)
def test_an_allowed_error_is_recorded_as_such(allowed: str, errors: int) -> None:
    made = report(outcome("dist-name", "x", "failed", "E: 1"), allowed=(allowed,))

    assert len(made.errors) == errors
    assert [one["allowed"] for one in made.to_json()["findings"]] == [errors == 0]


def test_json_does_not_depend_on_the_order_and_leaves_the_host_and_the_users_code_out() -> None:
    first, second = outcome("b", "a", stderr=("pid 4711",)), outcome("a", "z")
    unmet = (
        Unmet(distribution=canonicalize_name("b"), requirement="y", found="1"),
        Unmet(distribution=None, requirement="z", found=None),
    )
    code = (Finding(code="U302", message="no run()"),)
    made = report(first, second, unmet=unmet, allowed=("I202",), allowed_imports=("y", "x", "y"), code=code)
    turned = report(second, first, unmet=unmet[::-1], allowed=("I202",), allowed_imports=("x", "y"))

    assert made.to_json() == turned.to_json()
    module: dict[str, Any] = {
        "declared": None,
        "detail": "",
        "distribution": "a",
        "missing": None,
        "module": "z",
        "status": "ok",
        "tried": [],
        "wrote": [],
    }
    unmet_finding = {"code": "I202", "severity": "error", "where": "", "allowed": True}
    assert json.loads(json.dumps(made.to_json())) == {
        "allowed": ["I202", "x", "y"],
        "findings": [
            {**unmet_finding, "distribution": "", "message": "the requirements ask for `z`: not found"},
            {**unmet_finding, "distribution": "b", "message": "`b` requires `y`: found version 1"},
        ],
        "glibc": "",
        "shared_objects": [],
        "unmet": [
            {"distribution": None, "found": None, "requirement": "z"},
            {"distribution": "b", "found": "1", "requirement": "y"},
        ],
        "ways": {"mount": [module, {**module, "distribution": "b", "module": "a"}]},
    }
    assert [one["code"] for one in made.to_json(code=True)["findings"]] == ["I202", "I202", "U302"]


def test_the_modules_that_do_not_import_are_named_with_the_reason() -> None:
    mode = ModeReport(
        mode="mount",
        outcomes=(
            outcome("a", "a"),
            outcome("a", "a_plugin", "unused"),
            outcome("b", "b_extra", "optional"),
            *(outcome("c", f"c{number}", "failed") for number in range(8)),
        ),
    )

    assert mode.exceptions(["c"]) == (
        "not imported: c0, c1, c2, c3, c4, c5 and 2 more (allowed by --allow-import-failure)",
        "not imported: b_extra (needs an extra that is not requested)",
        "not imported: a_plugin (no requested module needs it)",
    )
    assert ModeReport(mode="mount", outcomes=(outcome("a", "a"),)).exceptions([]) == ()
