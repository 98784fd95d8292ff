"""Imports that nothing meets, or that are met by luck, told from what the sources say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import pytest
from packaging.utils import canonicalize_name
from support.facts import an_import, facts

from bundler.checks.findings import Finding
from bundler.checks.source_imports import (
    FileImports,
    FoundImport,
    ModuleIndex,
    When,
    import_findings,
)

STDLIB = {"os", "json", "html", "__main__"}
PRESENT = (
    facts("six", files=("six.py",)),
    facts("numpy", files=("numpy/__init__.py", "numpy/core/__init__.py", "numpy/core/x.py")),
    facts("tables", files=("azure/data/tables/__init__.py", "azure/data/_x.cpython-37m-x86_64-linux-gnu.so")),
    facts("blob", files=("azure/storage/blob.py",)),
    facts("sloppy", files=("html/samples.py", "x-1.dist-info/RECORD", "a-b/c.py", "docs/x.txt", "pth.pth")),
    facts("twin-a", files=("both/__init__.py",)),
    facts("twin-b", files=("both/b.py",)),
)
WORLD = ModuleIndex(PRESENT, stdlib=STDLIB, base={"flask", "azure"})
BARE = ModuleIndex(PRESENT, stdlib=STDLIB)


def a_file(path: str, *imports: FoundImport | str) -> FileImports:
    return FileImports(
        path=path,
        imports=tuple(
            an_import(one, line=line) if isinstance(one, str) else one for line, one in enumerate(imports, 1)
        ),
    )


# --- World ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "owners", "lacks"),
    [
        pytest.param("six", "six", "", id="module"),
        pytest.param("six.moves.urllib", "six", "", id="a-module-may-make-modules"),
        pytest.param("numpy.core", "numpy", "", id="package"),
        pytest.param("numpy.typing", "numpy", "", id="below-a-package-nothing-is-looked-for"),
        pytest.param("azure", "blob tables", "", id="pep420-namespace"),
        pytest.param("azure.data.tables", "tables", "", id="pep420-portion"),
        pytest.param("azure.data.tables.aio", "tables", "", id="pep420-below-a-portion"),
        pytest.param("azure.data._x", "tables", "", id="pep420-extension"),
        pytest.param("azure.ml.core", "", "azure.ml", id="pep420-missing-portion"),
        pytest.param("both", "twin-a twin-b", "", id="pkgutil-namespace"),
        pytest.param("both.b", "twin-a twin-b", "", id="pkgutil-namespace-is-regular"),
        pytest.param("os.path", "the standard library", "", id="stdlib"),
        pytest.param("html.parser", "the standard library", "", id="pep420-stdlib-before-a-namespace"),
        pytest.param("flask", "", "flask", id="missing"),
        pytest.param("flask.json", "", "flask", id="missing-is-its-first-part"),
        pytest.param("docs", "", "docs", id="folder-of-data"),
        pytest.param("pth", "", "pth", id="no-module"),
    ],
)
def test_find(module: str, owners: str, lacks: str) -> None:
    found, missing = BARE.find(module)

    assert (" ".join(sorted(found)), missing) == (owners, lacks)


@pytest.mark.parametrize(
    ("module", "owners"),
    [
        pytest.param("flask.json", ModuleIndex.BASE, id="module"),
        pytest.param("azure.ml.core", ModuleIndex.BASE, id="another-portion-of-a-namespace"),
        pytest.param("azure.storage.blob", "blob", id="the-bundle-comes-first"),
        pytest.param("os", ModuleIndex.STDLIB, id="stdlib-comes-first"),
    ],
)
def test_find_with_a_base(module: str, owners: str) -> None:
    assert WORLD.find(module) == (frozenset({owners}), "")


def test_a_module_of_the_bundle_comes_before_the_standard_library() -> None:
    world = ModuleIndex([facts("json", files=("json/__init__.py",))], stdlib=STDLIB)

    assert world.find("json.x") == (frozenset({"json"}), "")


def test_top_level() -> None:
    assert WORLD.top_level() == {"six", "numpy", "azure", "both"}


@pytest.mark.parametrize(
    ("found", "below", "names"),
    [
        pytest.param("numpy.core.x", "numpy.core.x", "numpy.core.x", id="import"),
        pytest.param("numpy(core,array)", "numpy numpy.core", "numpy", id="from-a-package"),
        pytest.param(
            "azure.storage(blob,none)",
            "azure.storage azure.storage.blob",
            "azure.storage.blob azure.storage.none",
            id="pep420-from-a-namespace",
        ),
        pytest.param("azure.storage(*)", "azure.storage", "", id="pep420-star"),
        pytest.param("azure", "azure", "azure", id="pep420-import"),
        pytest.param("six.moves(range)", "", "six.moves", id="made-as-it-runs"),
        pytest.param("os(path)", "", "os", id="stdlib"),
        pytest.param("html(samples)", "", "html", id="pep420-stdlib"),
    ],
)
def test_what_an_import_runs_and_needs(found: str, below: str, names: str) -> None:
    one = an_import(found)

    assert WORLD.below(one) == tuple(below.split())
    assert WORLD.names_of(one) == tuple(names.split())


def test_what_is_kept_is_read_back() -> None:
    scan = FileImports(
        path="a.py", imports=(an_import("..a(b,c)", when="delayed", line=7),), defines=("x",), error="1: no"
    )

    assert msgspec.json.decode(msgspec.json.encode(scan), type=FileImports) == scan


# --- import_findings --------------------------------------------------------------------------------


def told(
    *files: FileImports,
    requires: tuple[str, ...] = (),
    unasked: Sequence[str] = (),
    required_by: Mapping[str, Sequence[str]] | None = None,
    world: ModuleIndex = BARE,
) -> list[Finding]:
    """Return what is found of a distribution with these files, beside those that are present."""
    own = facts("own", requires=requires, files=("own.py",))
    return list(
        import_findings(
            [own],
            {own.name: files},
            world,
            required_by={canonicalize_name(name): who for name, who in (required_by or {}).items()},
            unasked={own.name: [canonicalize_name(name) for name in unasked]},
        )
    )


@pytest.mark.parametrize(
    ("when", "code", "said"),
    [
        ("top", "I203", "at module level"),
        ("conditional", "I204", "under a condition"),
        ("delayed", "I204", "in a function"),
        ("optional", "I204", "in try/except"),
    ],
)
def test_a_missing_import_is_ranked_by_when_it_runs(when: When, code: str, said: str) -> None:
    assert told(a_file("own.py", an_import("flask.json", when=when, line=3))) == [
        Finding(
            code=code,
            message=f"`own` imports `flask` (not found) {said}",
            distribution="own",
            where="own.py:3",
        )
    ]


@pytest.mark.parametrize(
    ("imports", "where", "said"),
    [
        pytest.param(["b.py:9:delayed", "c.py:1:delayed"], "b.py:9", "in a function and in 1 more place", id="2"),
        pytest.param(
            ["b.py:9:optional", "c.py:1:delayed", "d.py:2:top"],
            "d.py:2",
            "(not found) at module level and in 2 more places",
            id="the-most-certain",
        ),
        pytest.param(["b.py:9:top", "b.py:2:top"], "b.py:2", "(not found) at module level and in 1 more place", id="first-line"),
        pytest.param(["c.py:1:top", "b.py:2:top"], "b.py:2", "(not found) at module level and in 1 more place", id="first-path"),
        pytest.param(["b.py:2:top"], "b.py:2", "(not found) at module level", id="1"),
    ],
)  # fmt: skip
def test_one_finding_names_the_place_that_matters_most(imports: list[str], where: str, said: str) -> None:
    files = []
    for text in imports:
        path, line, when = text.split(":")
        assert when in ("top", "delayed", "optional")
        files.append(a_file(path, an_import("flask", when=when, line=int(line))))  # type: ignore[arg-type]
    (finding,) = told(*files)

    assert finding.where == where
    assert finding.message.endswith(said)


def test_each_missing_module_is_told_sorted() -> None:
    found = told(a_file("own.py", "zope.x", "azure.ml(a)", "flask", "flask.json"))

    assert [one.message.split("`")[3] for one in found] == ["azure.ml", "flask", "zope"]


@pytest.mark.parametrize(
    "found",
    [
        pytest.param("own", id="itself"),
        pytest.param("os.path", id="stdlib"),
        pytest.param(".missing", id="relative"),
        pytest.param("six", id="declared"),
        pytest.param("azure.storage(blob)", id="declared-under-a-marker"),
        pytest.param("numpy.core", id="declared-under-an-extra"),
        pytest.param("azure.storage(*)", id="star-of-a-namespace"),
        pytest.param("winreg", id="windows-only"),
        pytest.param("_winapi", id="windows-only-private"),
        pytest.param("both.b", id="one-of-two-owners-is-declared"),
    ],
)
def test_nothing_is_said_of(found: str) -> None:
    requires = ("Six", "blob; sys_platform=='win32'", "numpy; extra=='fast'", "twin-b")

    world = ModuleIndex([*PRESENT, facts("own", files=("own.py",))], stdlib=STDLIB)
    assert told(a_file("own.py", found), requires=requires, world=world) == []


def test_what_the_base_has_is_met_without_being_declared() -> None:
    assert told(a_file("own.py", "flask", "azure.ml"), world=WORLD) == []


@pytest.mark.parametrize(
    "path",
    [
        "tests/test_a.py", "own/tests/a.py", "own/test/a.py", "own/testing/a.py", "benchmarks/a.py",
        "own/_benchmark/a.py", "examples/a.py", "docs/conf.py", "own/test_a.py", "own/a_test.py",
        "own/conftest.py", "setup.py",
    ],
)  # fmt: skip
def test_tests_and_samples_are_run_by_nobody_here(path: str) -> None:
    """What they miss is told as what may be missing; what they have by luck is not told at all."""
    (finding,) = told(a_file(path, "flask", "six"))

    assert finding.code == "I204"
    assert "in its tests or samples" in finding.message


@pytest.mark.parametrize("path", ["own/latest/a.py", "own/contest.py", "own/a.py", "own/setup/a.py"])
def test_other_files_are_no_tests(path: str) -> None:
    assert [one.code for one in told(a_file(path, "flask", "six"))] == ["I203", "I205"]


@pytest.mark.parametrize(
    ("module", "unasked", "is_extra"),
    [
        pytest.param("flask", "Flask", True, id="same-name"),
        pytest.param("yaml.x", "PyYAML", True, id="part-of-the-name"),
        pytest.param("google_auth", "google-auth-httplib", True, id="underscore"),
        pytest.param("azure.ml", "azureml-core", True, id="part-of-a-namespace"),
        pytest.param("azure.ml", "azure-core", False, id="another-part-of-the-namespace"),
        pytest.param("flask", "Django", False, id="another"),
        pytest.param("flask", "", False, id="none"),
    ],
)
def test_an_extra_that_nobody_asked_for(module: str, unasked: str, is_extra: bool) -> None:
    (finding,) = told(a_file("own.py", module), unasked=[unasked] if unasked else [])

    assert finding.code == ("I204" if is_extra else "I203")
    assert finding.message.endswith("; an extra that is not requested would provide it") is is_extra


@pytest.mark.parametrize(
    ("found", "required_by", "message"),
    [
        pytest.param(
            "six.moves", {}, "`own` imports `six` without declaring it", id="nobody-knows-who-brings-it"
        ),
        pytest.param(
            "numpy.core",
            {"numpy": ["`pandas` requires", "`scipy` requires"]},
            "`own` imports `numpy` without declaring it; it is installed because `pandas` requires `numpy`",
            id="works-because",
        ),
        pytest.param(
            "both",
            {"twin-a": ["your requirements ask for"]},
            "`own` imports `both` without declaring it; it is installed because your requirements ask for `twin-a`",
            id="the-first-of-two-owners",
        ),
    ],
)
def test_luck(found: str, required_by: dict[str, list[str]], message: str) -> None:
    assert told(a_file("own.py", "os", found, found), required_by=required_by) == [
        Finding(code="I205", message=message, distribution="own", where="own.py:2")
    ]


@pytest.mark.parametrize("when", ["conditional", "delayed", "optional"])
def test_luck_is_told_only_of_what_always_runs(when: When) -> None:
    assert told(a_file("own.py", an_import("six", when=when))) == []


def test_each_distribution_is_told_of_its_own_files() -> None:
    one, two = facts("one"), facts("two")
    scans = {one.name: [a_file("one.py", "flask")], two.name: [a_file("two.py", "flask")]}
    found = import_findings([one, two, facts("three")], scans, BARE, required_by={}, unasked={})

    assert [(finding.distribution, finding.where) for finding in found] == [
        ("one", "one.py:1"),
        ("two", "two.py:1"),
    ]
