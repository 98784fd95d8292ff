"""What a mount on PYTHONPATH changes, seen from the lists of files."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pytest
from support.facts import facts

from bundler.checks.findings import Finding
from bundler.checks.modules import DistributionFacts
from bundler.checks.mount import mount_hazards, pth_files, pth_modules, stdlib_twins

STDLIB = {"enum", "typing", "code", "xml", "test", "this", "idlelib", "__main__"}


def hazards(
    *distributions: DistributionFacts,
    scripts: tuple[str, ...] = (),
    failed: tuple[str, ...] = (),
    pth_code: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> list[Finding]:
    return list(
        mount_hazards(
            distributions,
            stdlib=STDLIB,
            scripts={distributions[0].name: scripts, **{one.name: () for one in distributions[1:]}},
            pth_code={distributions[0].name: pth_code},
            failed={one.name for one in distributions if one.name in failed},
        )
    )


# --- M101 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "twins"),
    [
        pytest.param("enum/__init__.py enum/x.py", "enum", id="package"),
        pytest.param("typing.py", "typing", id="module"),
        pytest.param("enum.cpython-37m-x86_64-linux-gnu.so", "enum", id="extension"),
        pytest.param("typing.py enum.py xml.py x.py code.py", "code enum typing xml", id="several-sorted"),
        pytest.param("enum34/__init__.py typing_extensions.py", "", id="other-names"),
        pytest.param("pkg/__init__.py pkg/enum.py", "", id="below-a-package"),
        pytest.param("code/x.py xml/a/__init__.py", "", id="pep420-a-namespace-hides-nothing"),
        pytest.param("test/__init__.py this.py idlelib/__init__.py", "", id="never-needed"),
        pytest.param("enum-1.dist-info/RECORD enum.txt", "", id="no-module"),
    ],
)
def test_m101_a_twin_of_the_standard_library(files: str, twins: str) -> None:
    found = hazards(facts("Backport", files=tuple(files.split())))

    assert found == [
        Finding(
            code="M101",
            message=f"`backport` contains `{twin}`, which hides the module of the standard library",
            distribution="backport",
            where=twin,
        )
        for twin in twins.split()
    ]


@pytest.mark.parametrize(
    ("name", "module", "fails", "code"),
    [
        ("configparser", "configparser", False, "M109"),
        ("configparser", "configparser", True, "M101"),
        ("enum34", "enum", False, "M101"),
        ("other", "configparser", False, "M101"),
    ],
)
def test_a_complete_backport_that_imports_is_a_warning(
    name: str, module: str, fails: bool, code: str
) -> None:
    """configparser, which azureml-core required: leaving it out is not possible."""
    backport = facts(name, files=(f"{module}.py",))
    (found,) = mount_hazards(
        [backport],
        stdlib={module},
        scripts={backport.name: ()},
        pth_code={},
        failed={backport.name} if fails else (),
    )
    assert (found.code, found.rule.severity) == (code, "warning" if code == "M109" else "error")


def test_distributions_without_a_twin_are_not_named() -> None:
    distributions = [facts("a", files=("a.py",)), facts("b", files=("enum.py",))]

    assert stdlib_twins(distributions, STDLIB) == {"b": ("enum",)}


# --- M107 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "modules"),
    [
        pytest.param("sitecustomize.py", "sitecustomize", id="module"),
        pytest.param("usercustomize/__init__.py", "usercustomize", id="package"),
        pytest.param("usercustomize.py sitecustomize.py", "sitecustomize usercustomize", id="both"),
        pytest.param("pkg/__init__.py pkg/sitecustomize.py", "", id="below-a-package"),
    ],
)
def test_m107_what_runs_at_every_start(files: str, modules: str) -> None:
    found = hazards(facts("own", files=tuple(files.split())))

    assert found == [
        Finding(
            code="M107",
            message=f"`own` contains `{module}`, which runs at every start of Python",
            distribution="own",
            where=module,
        )
        for module in modules.split()
    ]


# --- M103 and M104 ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "failed", "code", "said"),
    [
        pytest.param(
            "a.py a-nspkg.pth",
            False,
            "M103",
            "`a-nspkg.pth` of `own` is not processed on a mount; its modules import without it",
            id="M103",
        ),
        pytest.param("a.py a.pth", True, "", "", id="M103-not-if-a-module-fails"),
        pytest.param(
            "z.pth a.pth own-1.dist-info/RECORD",
            False,
            "M104",
            "`own` contains no modules, only `a.pth`, `z.pth`, which a mount does not process",
            id="M104",
        ),
        pytest.param(
            "a.pth", True, "M104", "`own` contains no modules, only `a.pth`, which a mount does not process",
            id="M104-also-if-a-module-fails",
        ),
        pytest.param("a.py a/b.pth a.pth.txt", False, "", "", id="no-pth-that-site-reads"),
        pytest.param("data/x.txt", False, "", "", id="neither-module-nor-pth"),
    ],
)  # fmt: skip
def test_a_pth_file(files: str, failed: bool, code: str, said: str) -> None:
    found = hazards(facts("own", files=tuple(files.split())), failed=("own",) if failed else ())

    assert [(one.code, one.message, one.distribution) for one in found] == (
        [(code, said, "own")] if code else []
    )
    assert all(one.where == min(name for name in files.split() if name.endswith(".pth")) for one in found)


def test_pth_files_are_those_of_the_root() -> None:
    assert pth_files(facts("a", files=("z.pth", "b/x.pth", "a.pth", "../y.pth"))) == ("a.pth", "z.pth")


PYWIN32 = facts(
    "pywin32",
    files=(
        "pywin32.pth",
        "win32/win32api.pyd",
        "win32/lib/win32con.py",
        "win32/lib/__pycache__/win32con.cpython-37.pyc",
        "win32/scripts/run.py",
        "win32com/__init__.py",
        "win32com/client.py",
        "pythonwin/pywin/__init__.py",
        "pythonwin/win32ui.pyd",
        "win32lib/no.py",
    ),
)


@pytest.mark.parametrize(
    ("folders", "modules"),
    [
        pytest.param([], "", id="none"),
        pytest.param(["win32/lib"], "win32con", id="below"),
        pytest.param(["win32"], "lib.win32con scripts.run win32api", id="with-folders-of-modules"),
        pytest.param(["pythonwin/"], "pywin win32ui", id="slash-at-the-end"),
        pytest.param(["/pythonwin", "win32/lib", "nowhere"], "pywin win32con win32ui", id="several"),
    ],
)
def test_modules_that_a_pth_file_makes_importable(folders: list[str], modules: str) -> None:
    """As pywin32 has them; `lib` and `scripts` are names under which nothing is looked for."""
    wanted = [name for name in modules.split() if not name.startswith(("lib.", "scripts."))]

    assert pth_modules(PYWIN32, folders) == tuple(wanted)


def test_what_can_be_imported_anyway_is_not_told_twice() -> None:
    own = facts("own", files=("a.py", "inner/a.py", "inner/b.py"))

    assert pth_modules(own, ["inner"]) == ("b",)


# --- M108 -------------------------------------------------------------------------------------------

COLOREDLOGS = (
    'import os; exec(\'try: __import__("coloredlogs").auto_install() if '
    'os.environ.get("COLOREDLOGS_AUTO_INSTALL") else None\\nexcept ImportError: pass\')'
)


@pytest.mark.parametrize(
    ("name", "code", "shown"),
    [
        pytest.param("coloredlogs", {"coloredlogs.pth": (COLOREDLOGS,)}, {}, id="known"),
        pytest.param("coloredlogs", {"other.pth": (COLOREDLOGS,)}, {}, id="known-in-any-file"),
        pytest.param("own", {"x.pth": (COLOREDLOGS,)}, {"x.pth": COLOREDLOGS[:120] + "..."}, id="another-owner"),
        pytest.param(
            "own", {"x-nspkg.pth": ("import evil",)}, {"x-nspkg.pth": "import evil"}, id="name-of-a-known-file"
        ),
        pytest.param(
            "coloredlogs",
            {"a.pth": (COLOREDLOGS, f"{COLOREDLOGS}; import evil")},
            {"a.pth": f"{COLOREDLOGS}; import evil"[:120] + "..."},
            id="known-and-more",
        ),
        pytest.param(
            "own", {"b.pth": ("import b",), "a.pth": ("import a\x1b",)}, {"a.pth": "import a\\x1b", "b.pth": "import b"},
            id="two-files",
        ),
    ],
)  # fmt: skip
def test_m108_code_that_is_not_known(
    name: str, code: dict[str, tuple[str, ...]], shown: dict[str, str]
) -> None:
    found = hazards(facts(name, files=("a.py",)), pth_code=code)

    assert found == [
        Finding(
            code="M108",
            message=f"`{path}` of `{name}` runs code at every start of Python, but not on a mount: `{line}`",
            distribution=name,
            where=path,
        )
        for path, line in shown.items()
    ]


# --- M106 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scripts", "listed"),
    [
        pytest.param("", "", id="none"),
        pytest.param("a", "`a`", id="one"),
        pytest.param("a b c d e", "`a`, `b`, `c`, `d`, `e`", id="five"),
        pytest.param("a b c d e f g", "`a`, `b`, `c`, `d`, `e` and 2 more", id="seven"),
    ],
)
def test_m106_console_scripts(scripts: str, listed: str) -> None:
    found = hazards(facts("own", files=("a.py",)), facts("other"), scripts=tuple(scripts.split()))

    expected = f"{listed} of `own`: `bin` is not on PATH on a mount"
    assert found == ([Finding(code="M106", message=expected, distribution="own")] if listed else [])


def test_everything_is_told_of_everybody() -> None:
    found = hazards(
        facts("a", files=("enum.py", "a.pth")), facts("b", files=("b.pth",)), scripts=("tool",), failed=("b",)
    )

    assert [(one.code, one.distribution) for one in found] == [
        ("M101", "a"),
        ("M103", "a"),
        ("M104", "b"),
        ("M106", "a"),
    ]
