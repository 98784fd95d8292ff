"""What to import, what an ending means, which requirements are unmet, and what the report says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from bundler.closure import (
    ClosureReport,
    DistributionFacts,
    ImportOutcome,
    ImportStatus,
    Unmet,
    classify,
    top_level_modules,
    unmet_requirements,
)
from bundler.errors import ClosureError
from bundler.redact import register_secret

ENVIRONMENT = {
    "implementation_name": "cpython",
    "implementation_version": "3.7.16",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_release": "6.1",
    "platform_system": "Linux",
    "platform_version": "#1",
    "python_full_version": "3.7.16",
    "python_version": "3.7",
    "sys_platform": "linux",
}


def facts(
    name: str, version: str = "1.0", *, requires: tuple[str, ...] = (), files: tuple[str, ...] = ()
) -> Any:
    return DistributionFacts(
        name=canonicalize_name(name),
        display_name=name,
        version=Version(version),
        requires_dist=tuple(Requirement(text) for text in requires),
        files=files,
    )


# --- top_level_modules ------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "modules"),
    [
        pytest.param("six.py six-1.dist-info/RECORD __pycache__/six.cpython-37.pyc", "six", id="module"),
        pytest.param("p/__init__.py p/sub/__init__.py p/x.py", "p", id="package-not-its-parts"),
        pytest.param("p/__init__.py p/__main__.py", "p", id="K30-main-beside-init"),
        pytest.param("p/__main__.py", "p", id="K30-main-alone"),
        pytest.param("p/__main__.py p/data/x.txt p/q/__init__.py", "p.q", id="K30-main-of-a-namespace"),
        pytest.param("__main__.py __init__.py", "", id="K30-main-at-the-root"),
        pytest.param("real.py x-1.dist-info/top_level.txt lied.txt", "real", id="K30-top-level-lies"),
        pytest.param("google/cloud/storage/__init__.py", "google.cloud.storage", id="pep420-deep"),
        pytest.param("jaraco/functools.py jaraco/py.typed", "jaraco.functools", id="pep420-module"),
        pytest.param("ns/a/__init__.py ns/b/c/__init__.py ns/d.py", "ns.a ns.b.c ns.d", id="pep420-several"),
        pytest.param("azure/data/tables/__init__.py", "azure.data.tables", id="pep420-below-named-data"),
        pytest.param("x.cpython-37m-x86_64-linux-gnu.so", "x", id="ext-3.7"),
        pytest.param("_x.cpython-311-x86_64-linux-gnu.so", "_x", id="ext-3.11"),
        pytest.param("x.cpython-313t-aarch64-linux-musl.so", "x", id="ext-free-threaded"),
        pytest.param("x.abi3.so y.so z.pyd w.cp37-win_amd64.pyd", "w x y z", id="ext-others"),
        pytest.param("p/__init__.cpython-37m-x86_64-linux-gnu.so p/a.py", "p", id="ext-init"),
        pytest.param("ns/x.abi3.so", "ns.x", id="ext-in-namespace"),
        pytest.param("libx.so libx.so.1 x.libs/libz-1a2b.so.6 _x.abi3.so", "_x", id="shared-libraries"),
        pytest.param("libx.abi3.so", "libx", id="ext-named-as-a-library"),
        pytest.param("m.pyc p/__init__.pyc", "m p", id="K27-bytecode-only"),
        pytest.param(
            "a-b.py 1x.py class.py x.y.py a b.py".replace("a b", "a\u00a0b"), "", id="no-identifiers"
        ),
        pytest.param("größe.py 模块/__init__.py", "größe 模块", id="K21-non-ascii"),
        pytest.param("pkg-stubs/__init__.pyi typed/py.typed typed/x.pyi d/x.json", "", id="data-and-stubs"),
        pytest.param(
            "share/doc/x.py examples/demo.py docs/conf.py tests/test_x.py bin/run.py", "", id="samples"
        ),
        pytest.param("tests/__init__.py tests/test_x.py", "tests", id="K14-tests-package"),
        pytest.param("../../../bin/x.py /etc/x.py ./x.py", "", id="outside"),
        pytest.param("e.egg-info/PKG-INFO e-1.data/scripts/x.py hook.pth", "", id="metadata"),
        pytest.param("", "", id="K26-nothing"),
    ],
)
def test_modules_come_from_record(files: str, modules: str) -> None:
    assert top_level_modules(files.split(" ")) == tuple(modules.split())


def test_modules_do_not_depend_on_the_order_and_come_once() -> None:
    files = ["b.py", "a/x/__init__.py", "b.cpython-37m-x86_64-linux-gnu.so", "a/c.py"]

    assert top_level_modules(files) == top_level_modules(files[::-1]) == ("a.c", "a.x", "b")


# --- unmet_requirements -----------------------------------------------------


@pytest.mark.parametrize(
    ("present", "roots", "unmet"),
    [
        pytest.param([("a", "1", ("b>=1",)), ("b", "1", ())], [], [], id="met"),
        pytest.param([("a", "1", ("b",))], [], ["a: b: None"], id="K13-missing"),
        pytest.param([("a", "1", ("b>=2",)), ("b", "1.9", ())], [], ["a: b>=2: 1.9"], id="K13-out-of-range"),
        pytest.param([("a", "1", ("B.B>=2",)), ("b-b", "2", ())], [], [], id="names-are-normalised"),
        pytest.param([("a", "1", ("b; python_version>'3.7'",))], [], [], id="K13-marker-false"),
        pytest.param(
            [("a", "1", ("b; python_version=='3.7'",))],
            [],
            ['a: b; python_version == "3.7": None'],
            id="K13-marker-true",
        ),
        pytest.param([("a", "1", ("b; extra=='x'",))], ["a"], [], id="K13-extra-not-asked-for"),
        pytest.param(
            [("a", "1", ("b; extra=='x'",))], ["a[x]"], ['a: b; extra == "x": None'], id="K13-extra-of-a-root"
        ),
        pytest.param(
            [("c", "1", ("a[x]",)), ("a", "1", ("b; extra=='x'",))],
            [],
            ['a: b; extra == "x": None'],
            id="extra-of-a-distribution",
        ),
        pytest.param(
            [("a", "1", ("a[x_1]; extra=='all'", "b; extra=='x-1'"))],
            ["a[all]"],
            ['a: b; extra == "x-1": None'],
            id="extra-of-its-own-extra",
        ),
        pytest.param(
            [("c", "1", ("a[x]; extra=='y'",)), ("a", "1", ("b; extra=='x'",))],
            ["c"],
            [],
            id="extra-behind-an-extra-not-asked-for",
        ),
        pytest.param([("a", "1", ("b>=1",)), ("b", "2.0rc1", ())], [], [], id="prerelease-counts"),
        pytest.param([("a", "1", ())], ["a==2", "z"], ["-: a==2: 1", "-: z: None"], id="roots"),
        pytest.param([], ["z; sys_platform=='win32'"], [], id="root-marker-false"),
        pytest.param(
            [("b", "1", ("y",)), ("a", "1", ("z", "z"))],
            [],
            ["a: z: None", "b: y: None"],
            id="sorted-and-once",
        ),
    ],
)
def test_unmet(present: list[tuple[str, str, tuple[str, ...]]], roots: list[str], unmet: list[str]) -> None:
    distributions = [facts(name, version, requires=requires) for name, version, requires in present]
    found = unmet_requirements(distributions, [Requirement(root) for root in roots], ENVIRONMENT)

    assert [f"{one.distribution or '-'}: {one.requirement}: {one.found}" for one in found] == unmet


# --- classify ---------------------------------------------------------------

GL = "ImportError: libGL.so.1: cannot open shared object file: No such file or directory"
GLIBC = "ImportError: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.34' not found (required by x.so)"


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

    assert classify(distribution, "ns.own", raw) == ImportOutcome(
        distribution=canonicalize_name("own"),
        module="ns.own",
        status=status,
        detail=detail,
        missing=missing,
        declared=declared,
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

    assert classify(facts("a"), "a", raised(message)).detail == detail


# --- the report -------------------------------------------------------------


def outcome(
    distribution: str, module: str, status: ImportStatus = "ok", detail: str = "", **more: Any
) -> ImportOutcome:
    return ImportOutcome(
        distribution=canonicalize_name(distribution),
        module=module,
        status=status,
        detail=detail,
        **{"missing": None, "declared": None, **more},
    )


def report(
    *outcomes: ImportOutcome, unmet: tuple[Unmet, ...] = (), allowed: tuple[str, ...] = ()
) -> ClosureReport:
    return ClosureReport(network="namespace", outcomes=outcomes, unmet=unmet, allowed=allowed)


def test_a_good_report_raises_nothing() -> None:
    good = report(outcome("a", "a"), outcome("b", "b", detail="tried h:1"))

    assert good.ok
    good.raise_for_failures()


def test_the_error_names_every_failure_and_its_last_line() -> None:
    bad = report(
        outcome("b", "b_mod", "crashed", "SIGABRT", stderr=("terminate called",)),
        outcome("c", "c"),
        outcome("a", "a.x", "missing-dependency", "M: No module named 'y'", missing="y", declared=False),
        unmet=(
            Unmet(distribution=canonicalize_name("a"), requirement="y>=2", found="1"),
            Unmet(distribution=None, requirement="z", found=None),
        ),
    )
    with pytest.raises(ClosureError) as caught:
        bad.raise_for_failures()

    assert caught.value.exit_code == 10
    told = "2 of 3 modules do not import and 2 unmet requirements"
    assert caught.value.message == f"the bundle does not stand on its own: {told}"
    assert caught.value.evidence == (
        "import `a.x` of `a`: missing-dependency `y`, which it does not declare: M: No module named 'y'",
        "import `b_mod` of `b`: crashed: SIGABRT",
        "  it wrote  terminate called",
        "`a` requires `y>=2`: found 1",
        "the requirements ask for `z`: it is not there",
    )
    assert caught.value.hint == "pass `--allow-import-failure a.x` to record an exception"


@pytest.mark.parametrize(
    ("allowed", "ok"),
    [
        pytest.param("Dist_Name", True, id="distribution"),
        pytest.param("Mod.x", True, id="module"),
        pytest.param("mod", False, id="another"),
    ],
)
def test_an_allowed_failure_fails_nothing_but_is_recorded(allowed: str, ok: bool) -> None:
    made = report(outcome("dist-name", "Mod.x", "failed", "E: 1"), allowed=(allowed,))

    assert made.ok is ok
    assert made.to_json()["allowed"] == [allowed]
    assert made.to_json()["modules"][0]["status"] == "failed"


def test_an_unmet_requirement_cannot_be_allowed() -> None:
    made = report(unmet=(Unmet(distribution=None, requirement="z", found=None),), allowed=("z",))

    assert not made.ok
    with pytest.raises(ClosureError) as caught:
        made.raise_for_failures()
    assert caught.value.hint is None


def test_json_does_not_depend_on_the_order_and_leaves_stderr_out() -> None:
    first, second = outcome("b", "a", stderr=("pid 4711",)), outcome("a", "z")
    unmet = (
        Unmet(distribution=canonicalize_name("b"), requirement="y", found="1"),
        Unmet(distribution=None, requirement="z", found=None),
    )
    made = report(first, second, unmet=unmet, allowed=("y", "x", "y"))
    turned = report(second, first, unmet=unmet[::-1], allowed=("x", "y"))

    assert made.to_json() == turned.to_json()
    assert json.loads(json.dumps(made.to_json())) == {
        "allowed": ["x", "y"],
        "modules": [
            {
                "declared": None,
                "detail": "",
                "distribution": "a",
                "missing": None,
                "module": "z",
                "status": "ok",
            },
            {
                "declared": None,
                "detail": "",
                "distribution": "b",
                "missing": None,
                "module": "a",
                "status": "ok",
            },
        ],
        "unmet": [
            {"distribution": None, "found": None, "requirement": "z"},
            {"distribution": "b", "found": "1", "requirement": "y"},
        ],
    }
