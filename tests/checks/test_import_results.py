"""What the ending of an import means, said the same on every host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.facts import ENVIRONMENT, facts

from bundler.checks.import_results import (
    ImportAnswer,
    ImportResult,
    ImportStatus,
    classify,
    judge,
    mark_optional,
)
from bundler.checks.modules import DistributionFacts
from bundler.redaction import register_secret

GL = "ImportError: libGL.so.1: cannot open shared object file: No such file or directory"
GLIBC = "ImportError: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.34' not found (required by x.so)"


def outcome(distribution: DistributionFacts, module: str, raw: Mapping[str, Any]) -> ImportResult:
    """Classify a line of the import runner."""
    return classify(distribution, module, msgspec.convert(raw, ImportAnswer))


def raised(message: str, **more: Any) -> dict[str, Any]:
    return {"ended": "raised", "message": message, "text": message, **more}


@pytest.mark.parametrize(
    ("raw", "status", "detail", "missing", "declared"),
    [
        pytest.param({"ended": "ok", "network": []}, "ok", "", None, None, id="ok"),
        pytest.param(
            {"ended": "ok", "network": ["h:1"]}, "ok", "tried h:1", None, None, id="ok-though-it-tried"
        ),
        pytest.param(raised("ValueError: x"), "failed", "ValueError: x", None, None, id="K01"),
        pytest.param(
            {"ended": "exited", "code": 0},
            "exited",
            "the import ended the process with 0",
            None,
            None,
            id="K02",
        ),
        pytest.param({"ended": "crashed", "signal": "SIGSEGV"}, "crashed", "SIGSEGV", None, None, id="K03"),
        pytest.param(
            {"ended": "timed-out", "network": ["h:1"]},
            "timed-out",
            "the import did not end; tried h:1",
            None,
            None,
            id="K04-on-the-network",
        ),
        pytest.param(
            raised("OSError: no", network=["h:1", "[::1]:2"]),
            "network",
            "OSError: no; tried h:1, [::1]:2",
            None,
            None,
            id="K05",
        ),
        pytest.param(raised(GL), "missing-library", GL, "libGL.so.1", None, id="K09"),
        pytest.param(
            raised("ImportError: see above", text=f"ImportError: see above\n{GL}"),
            "missing-library",
            "ImportError: see above (libGL.so.1)",
            "libGL.so.1",
            None,
            id="K09-wrapped",
        ),
        pytest.param(
            raised(GLIBC),
            "missing-library",
            f"{GLIBC} (libc.so.6 GLIBC_2.34)",
            "libc.so.6 GLIBC_2.34",
            None,
            id="K10",
        ),
        pytest.param(
            raised("M: yaml", missing="yaml"), "missing-dependency", "M: yaml", "yaml", False, id="undeclared"
        ),
        pytest.param(
            raised("M: dep_x", missing="dep_x"),
            "missing-dependency",
            "M: dep_x",
            "dep_x",
            True,
            id="declared",
        ),
        pytest.param(
            raised("M: opt.sub", missing="opt.sub"),
            "missing-dependency",
            "M: opt.sub",
            "opt.sub",
            True,
            id="declared-for-an-extra",
        ),
        pytest.param(
            raised("M: ns.core", missing="ns.core"),
            "missing-dependency",
            "M: ns.core",
            "ns.core",
            True,
            id="declared-in-its-own-namespace",
        ),
        pytest.param(
            raised("M: ns.own._c", missing="ns.own._c"), "failed", "M: ns.own._c", None, None, id="K11-own"
        ),
        pytest.param(raised("M: ns", missing="ns"), "failed", "M: ns", None, None, id="K11-own-namespace"),
        pytest.param({}, "failed", "unknown ending None", None, None, id="no-ending-is-no-success"),
        pytest.param(
            {"ended": "fine"}, "failed", "unknown ending 'fine'", None, None, id="unknown-is-no-success"
        ),
    ],
)
def test_classify(
    raw: Mapping[str, Any], status: ImportStatus, detail: str, missing: str | None, declared: bool | None
) -> None:
    requires = ("Dep.X>=1; python_version>'3.9'", "opt; extra=='all'", "ns-core")
    distribution = facts("Own", requires=requires, files=("ns/own/__init__.py",))

    assert outcome(distribution, "ns.own", raw) == ImportResult(
        distribution=canonicalize_name("own"),
        module="ns.own",
        status=status,
        detail=detail,
        missing=missing,
        declared=declared,
        tried=tuple(raw.get("network") or ()),
    )


@pytest.mark.parametrize(
    ("message", "detail"),
    [
        pytest.param("E: no '/tmp/scr-1/a/x.json'", "E: no 'x.json'", id="folder"),
        pytest.param("E: '/srv/build/models/' is empty", "E: 'models/' is empty", id="ends-in-a-slash"),
        pytest.param("E: (/home/me/v/x.so)", "E: (x.so)", id="home"),
        pytest.param(
            "E: /proc/driver/nvidia/version", "E: /proc/driver/nvidia/version", id="same-on-every-host"
        ),
        pytest.param("E: https://h.example/a/b a/b c", "E: https://h.example/a/b a/b c", id="no-path"),
        pytest.param("E: <X object at 0x7f00aa11bb22>", "E: <X object at 0x...>", id="address"),
        pytest.param("E: a\u202eb\x1b[1m", "E: a\\u202eb\\x1b[1m", id="terminal"),
        pytest.param("E: sesame-open", "E: ****", id="secret"),
        pytest.param("E: " + "x" * 9000, "E: " + "x" * 497, id="long"),
    ],
)
def test_a_detail_is_the_same_on_every_host(message: str, detail: str) -> None:
    register_secret("sesame-open")

    assert outcome(facts("a"), "a", raised(message)).detail == detail


@pytest.mark.parametrize(
    ("missing", "roots", "others", "status"),
    [
        pytest.param("grpc", [], "ok", "optional", id="an-extra-would-bring-it"),
        pytest.param("grpc", ["api[grpc]"], "ok", "missing-dependency", id="the-extra-was-asked-for"),
        pytest.param("grpc", [], "failed", "missing-dependency", id="nothing-of-it-imports"),
        pytest.param("yaml", [], "ok", "missing-dependency", id="no-extra-brings-it"),
        pytest.param("io", [], "ok", "missing-dependency", id="too-short-to-tell"),
    ],
)
def test_what_only_an_extra_would_bring_is_optional(
    missing: str, roots: list[str], others: str, status: str
) -> None:
    api = facts("api", requires=("grpcio; extra=='grpc'",), files=("ns/a.py", "ns/b.py"))
    outcomes = [
        outcome(api, "ns.a", {"ended": "raised", "message": "M", "missing": missing}),
        outcome(api, "ns.b", {"ended": others}),
    ]
    marked = mark_optional(outcomes, [api], [Requirement(text) for text in roots], ENVIRONMENT)

    assert marked[0].status == status


def test_a_needed_module_is_never_optional() -> None:
    api = facts("api", requires=("grpcio; extra=='grpc'",), files=("ns/a.py", "ns/b.py"))
    outcomes = [
        outcome(api, "ns.a", {"ended": "raised", "message": "M", "missing": "grpc"}),
        outcome(api, "ns.b", {"ended": "ok"}),
    ]
    marked = mark_optional(outcomes, [api], [], ENVIRONMENT, needed={("api", "ns.a")})

    assert marked[0].status == "missing-dependency"


# --- which failures are errors ------------------------------------------------

APP, DEP = facts("app", files=("app.py", "app_plugin.py")), facts("dep", files=("dep.py",))


def statuses(*outcomes: ImportResult, base: tuple[str, ...] = ()) -> dict[str, str]:
    """Judge the outcomes of a bundle whose user asked for `app`."""
    return {one.module: one.status for one in judge(outcomes, {("app", "app")}, base_libraries=base)}


@pytest.mark.parametrize(
    "ending",
    [
        raised("E: 1"),
        raised("M: x", missing="x"),
        raised(GL),
        {"ended": "crashed", "signal": "SIGSEGV"},
        {"ended": "timed-out"},
        {"ended": "exited", "code": 3},
        raised("OSError: no", network=["h:1"]),
    ],
    ids=["failed", "dependency", "library", "crashed", "timed-out", "exited", "network"],
)
def test_only_the_failure_of_a_needed_module_is_an_error(ending: dict[str, Any]) -> None:
    ok = outcome(APP, "app", {"ended": "ok"})

    assert statuses(ok, outcome(DEP, "dep", ending), outcome(APP, "app_plugin", ending)) == {
        "app": "ok",
        "dep": "unused",
        "app_plugin": "unused",
    }
    alone = outcome(APP, "app", ending)
    assert statuses(alone) == {"app": alone.status}


def test_the_root_cause_is_reported_in_place_of_the_modules_that_import_it() -> None:
    chain = ["app", "middle", "dep"]
    middle = facts("middle", files=("middle.py",))
    outcomes = [
        outcome(APP, "app", raised("E: 1", through=chain)),
        outcome(middle, "middle", raised("E: 1", through=chain[1:])),
        outcome(DEP, "dep", raised("E: 1", through=chain[2:])),
        outcome(APP, "app_plugin", raised("E: 1", through=["app_plugin", "dep"])),
    ]
    judged = {one.module: one for one in judge(outcomes, {("app", "app"), ("app", "app_plugin")})}

    assert [(name, one.status) for name, one in judged.items()] == [
        ("app", "failed"),
        ("middle", "failed"),
        ("dep", "failed"),
        ("app_plugin", "failed"),
    ]
    assert judged["dep"].needed_by == "app"
    assert {name: one.caused_by for name, one in judged.items()} == {
        "app": "dep",
        "middle": "dep",
        "dep": "",
        "app_plugin": "dep",
    }


def test_the_failure_of_a_module_that_imports_alone_is_its_importer_s_own() -> None:
    """The importer may have prepared the process so that it fails."""
    outcomes = [
        outcome(APP, "app", raised("E: 1", through=["app", "dep"])),
        outcome(DEP, "dep", {"ended": "ok"}),
    ]
    (app, dep) = judge(outcomes, {("app", "app")})

    assert (app.status, app.caused_by, dep.status) == ("failed", "", "ok")


def test_a_module_that_its_importer_loads_may_fail_alone() -> None:
    """As tensorflow_io_gcs_filesystem, whose library needs symbols of tensorflow's."""
    ok = outcome(APP, "app", {"ended": "ok", "loaded": ["app", "dep"]})

    assert statuses(ok, outcome(DEP, "dep", raised("E"))) == {"app": "ok", "dep": "loaded"}
    itself = outcome(APP, "app", raised("E"))
    other = outcome(DEP, "dep", {"ended": "ok", "loaded": ["dep"]})
    assert statuses(itself, other) == {"app": "failed", "dep": "ok"}


@pytest.mark.parametrize(
    ("base", "status"),
    [(("libGL.so.1",), "unproved"), (("libGL.so.2",), "missing-library"), ((), "missing-library")],
)
def test_a_library_that_the_base_has_is_not_provable_here(base: tuple[str, ...], status: str) -> None:
    assert statuses(outcome(APP, "app", raised(GL)), base=base) == {"app": status}
