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
    mark_optional,
    mark_unused,
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


@pytest.mark.parametrize(
    ("failed", "imported", "works", "asked", "status"),
    [
        pytest.param("ns.old", {}, True, (), "unused", id="nobody-imports-it"),
        pytest.param("ns.old", {}, False, (), "failed", id="nothing-of-the-distribution-works"),
        pytest.param("ns.old", {"ns.old": False}, False, (), "unused", id="imported-when-called-for"),
        pytest.param("ns.old", {"ns.old": True}, True, (), "failed", id="surely-imported"),
        pytest.param("ns.old", {}, True, ("core",), "failed", id="the-user-asked-for-it"),
    ],
)
def test_what_nothing_needs_to_import_is_unused(
    failed: str, imported: dict[str, bool], works: bool, asked: tuple[str, ...], status: str
) -> None:
    core = facts("core", files=("ns/new.py", "ns/old.py"))
    outcomes = [
        outcome(core, "ns.new", {"ended": "ok" if works else "raised"}),
        outcome(core, failed, {"ended": "raised", "message": "E"}),
    ]

    assert mark_unused(outcomes, asked=asked, imported=imported)[1].status == status


@pytest.mark.parametrize("ended", ["crashed", "timed-out", "exited"])
def test_a_crash_is_never_unused(ended: str) -> None:
    core = facts("core", files=("ns/new.py", "ns/old.py"))
    outcomes = [outcome(core, "ns.new", {"ended": "ok"}), outcome(core, "ns.old", {"ended": ended})]

    assert mark_unused(outcomes, asked=(), imported={})[1].status == ended
