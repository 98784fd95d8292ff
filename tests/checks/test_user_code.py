"""The user's own code: what it imports of itself, and what is in its way where it will run."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from support.facts import an_import, facts

from bundler.checks.findings import Finding
from bundler.checks.source_imports import FileImports, FoundImport, ModuleIndex, When
from bundler.checks.user_code import UserCode, code_findings, find_user_code, own_files
from bundler.errors import InputError

# --- user_code --------------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    (folder / "sub").mkdir(parents=True)
    for path in ("score.py", "sub/score.py", "größe.py", "a-b.py", "1.py", "class.py", "notes.txt", ".py"):
        (folder / path).write_text("")
    (tmp_path / "other.py").write_text("")
    (folder / "link.py").symlink_to(tmp_path / "other.py")
    return folder


@pytest.mark.parametrize(
    ("script", "taken"),
    [
        pytest.param("score.py", "score.py", id="plain"),
        pytest.param("sub/score.py", "sub/score.py", id="in-a-subfolder"),
        pytest.param("./sub/../score.py", "score.py", id="dots"),
        pytest.param("größe.py", "größe.py", id="non-ascii-identifier"),
        pytest.param("{source}/sub/score.py", "sub/score.py", id="absolute"),
    ],
)
def test_an_entry_script(script: str, taken: str, source: Path) -> None:
    assert find_user_code(source, script.format(source=source)) == UserCode(folder=source, script=taken)


def test_the_source_directory_is_known_by_its_real_name(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source)

    assert find_user_code(Path(), "score.py").folder == source
    with pytest.raises(InputError) as raised:
        find_user_code(Path(), "../other.py")
    assert raised.value.evidence == ("wanted  a path relative to `src`",)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        pytest.param("../other.py", "is outside of the source directory", id="outside"),
        pytest.param("/etc/passwd", "is outside of the source directory", id="absolute-outside"),
        pytest.param("link.py", "is outside of the source directory", id="link-to-outside"),
        pytest.param("none.py", "entry script `none.py` not found in", id="missing"),
        pytest.param("sub", "entry script `sub` not found in", id="folder"),
        pytest.param("notes.txt", "invalid name of an entry script", id="no-py"),
        pytest.param("a-b.py", "invalid name of an entry script", id="hyphen"),
        pytest.param("1.py", "invalid name of an entry script", id="digit"),
        pytest.param("class.py", "invalid name of an entry script", id="keyword"),
        pytest.param(".py", "invalid name of an entry script", id="nameless"),
        pytest.param("no\x1bne.py", "entry script `no\\x1bne.py` not found in", id="control-character"),
    ],
)
def test_what_cannot_be_an_entry_script(script: str, said: str, source: Path) -> None:
    with pytest.raises(InputError) as raised:
        find_user_code(source, script)

    assert said in raised.value.message
    assert raised.value.hint is not None
    words = shlex.split(raised.value.hint)
    if words[0] == "--source-dir":
        assert find_user_code(Path(words[1]), words[3]).script == words[3]


# --- own_files --------------------------------------------------------------------------------------

FILES = {
    "score.py",
    "helper.py",
    "pkg/__init__.py",
    "pkg/a.py",
    "pkg/sub/__init__.py",
    "pkg/sub/b.py",
    "pkg/ns/e.py",
    "pkg/ns/f.py",
    "space/c.py",
    "space/deep/d.py",
    "src/inner.py",
    "code/x.py",
    "types.py",
}


def of(files: Collection[str]) -> Callable[[str], bool]:
    return files.__contains__


@pytest.mark.parametrize(
    ("path", "found", "files"),
    [
        pytest.param("score.py", "helper", "helper.py", id="module"),
        pytest.param("score.py", "helper(f)", "helper.py", id="from-a-module"),
        pytest.param("score.py", "helper.x", "helper.py", id="below-a-module"),
        pytest.param("score.py", "pkg", "pkg/__init__.py", id="package"),
        pytest.param("score.py", "pkg.sub.b", "pkg/__init__.py pkg/sub/__init__.py pkg/sub/b.py", id="deep"),
        pytest.param("score.py", "pkg(a,f)", "pkg/__init__.py pkg/a.py", id="from-a-package"),
        pytest.param("score.py", "pkg(a,sub)", "pkg/__init__.py pkg/a.py pkg/sub/__init__.py", id="from-two"),
        pytest.param(
            "score.py", "pkg.ns(e,f)", "pkg/__init__.py pkg/ns/e.py pkg/ns/f.py", id="each-file-once"
        ),
        pytest.param("score.py", "pkg(*)", "pkg/__init__.py", id="star"),
        pytest.param("score.py", "pkg.none", "", id="missing-part"),
        pytest.param("score.py", "none", "", id="missing"),
        pytest.param("score.py", "space.c", "space/c.py", id="pep420"),
        pytest.param("score.py", "space(c)", "space/c.py", id="pep420-from"),
        pytest.param("score.py", "space.deep(d,e)", "space/deep/d.py", id="pep420-deep"),
        pytest.param("sub/score.py", "helper", "helper.py", id="from-a-subfolder-the-root-counts"),
        pytest.param("pkg/a.py", "sub", "", id="from-a-subfolder-its-neighbours-do-not"),
        # the application root makes the source directory a package
        pytest.param("score.py", "src.helper", "helper.py", id="by-the-folder's-name"),
        pytest.param("score.py", "src.pkg(a)", "pkg/__init__.py pkg/a.py", id="by-the-folder's-name-from"),
        pytest.param("score.py", "src(helper)", "helper.py", id="from-the-folder"),
        pytest.param("score.py", "src.inner", "src/inner.py", id="a-folder-of-that-name-inside-comes-first"),
        pytest.param("score.py", "other.helper", "", id="by-another-folder's-name"),
        # relative
        pytest.param("pkg/a.py", ".sub.b", "pkg/__init__.py pkg/sub/__init__.py pkg/sub/b.py", id="relative"),
        pytest.param("pkg/a.py", ".(sub)", "pkg/__init__.py pkg/sub/__init__.py", id="relative-package"),
        pytest.param("pkg/a.py", ".(f)", "pkg/__init__.py", id="relative-name"),
        pytest.param("pkg/__init__.py", ".a(f)", "pkg/__init__.py pkg/a.py", id="relative-in-init"),
        pytest.param("pkg/sub/b.py", "..a", "pkg/__init__.py pkg/a.py", id="relative-two-levels"),
        pytest.param("pkg/a.py", "..helper", "helper.py", id="relative-to-the-source-directory"),
        pytest.param("pkg/a.py", "...helper", "", id="relative-too-far"),
        pytest.param("pkg/a.py", ".none", "", id="relative-missing"),
        pytest.param("helper.py", ".src.helper", "", id="relative-is-never-by-the-folder's-name"),
        pytest.param("space/c.py", ".deep(d)", "space/deep/d.py", id="relative-pep420"),
    ],
)
def test_own_files(path: str, found: str, files: str) -> None:
    assert own_files(path, an_import(found), "src", of(FILES)) == tuple(files.split())


@pytest.mark.parametrize(
    ("path", "found", "files"),
    [
        pytest.param("score.py", "src", "__init__.py", id="itself"),
        pytest.param("score.py", "src(NAME)", "__init__.py", id="a-name-in-it"),
        pytest.param("score.py", "src.helper", "__init__.py helper.py", id="a-module-in-it"),
        pytest.param("score.py", "src.none", "", id="a-missing-module"),
        pytest.param("score.py", "helper", "helper.py", id="not-by-its-name"),
        pytest.param("helper.py", ".(NAME)", "__init__.py", id="relative"),
        pytest.param("pkg/a.py", ".sub", "pkg/__init__.py pkg/sub/__init__.py", id="relative-below-it"),
    ],
)
def test_a_source_directory_that_is_a_regular_package(path: str, found: str, files: str) -> None:
    assert own_files(path, an_import(found), "src", of({*FILES, "__init__.py"})) == tuple(files.split())


# --- code_findings ----------------------------------------------------------------------------------

WORLD = ModuleIndex(
    [
        facts("numpy", files=("numpy/__init__.py",)),
        facts("utils-dist", files=("utils/__init__.py",)),
        facts("google-x", files=("google/x.py",)),
    ],
    stdlib={"os", "code", "types"},
    base={"flask", "werkzeug"},
)
CODE = UserCode(folder=Path("/srv/src"), script="score.py")
ENTRY = ("init", "run")


def found_in(
    path: str,
    *imports: FoundImport | str,
    code: UserCode = CODE,
    files: Collection[str] = (),
    defines: tuple[str, ...] = ENTRY,
    error: str = "",
    folders: tuple[str, ...] = (),
    reached: When = "top",
) -> list[Finding]:
    """Return what is found of code in which one file imports something.

    :param folders: the directories that the entry script adds to sys.path.
    :param reached: when the entry script imports the file, if it is another one.
    """
    name = path.removesuffix(".py").replace("/", ".")
    reaches = (an_import(name, when=reached),) if name.isprintable() else ()
    scans = {code.script: FileImports(path=code.script, imports=reaches, defines=ENTRY, folders=folders)}
    scans[path] = FileImports(
        path=path,
        imports=tuple(an_import(one) if isinstance(one, str) else one for one in imports),
        defines=defines,
        folders=folders if path == code.script else (),
        error=error,
    )
    return list(code_findings(code, scans, WORLD, of({*FILES, *files})))


def said(findings: list[Finding]) -> list[str]:
    return [f"{one.code} {one.message}" for one in findings]


@pytest.mark.parametrize(
    "found",
    [
        "helper", "helper(f)", "pkg.sub(b)", "space.c", "src.helper", "src(helper)", "src", "numpy.linalg",
        "os.path(join)", "flask", "google(x)", "google", "google.x",
    ],
)  # fmt: skip
def test_nothing_is_said_of_what_is_there(found: str) -> None:
    assert found_in("score.py", found) == []


@pytest.mark.parametrize(
    ("path", "found", "said_of_it"),
    [
        pytest.param(
            "score.py", "none.x", "`src/score.py:1` imports `none`, which no distribution provides", id="missing"
        ),
        pytest.param(
            "score.py", "google.y", "`src/score.py:1` imports `google.y`, which no distribution provides", id="pep420"
        ),
        pytest.param(
            "score.py", "pkg.none", "`src/score.py:1` imports `pkg.none`, which no distribution provides", id="own-part"
        ),
        pytest.param(
            "score.py", "src.none", "`src/score.py:1` imports `src.none`, which no distribution provides", id="root-part"
        ),
        pytest.param(
            "score.py", "src(none)", "`src/score.py:1` imports `src`, which no distribution provides", id="root-name"
        ),
        pytest.param(
            "score.py",
            ".helper",
            "`src/score.py:1` is a relative import, but the server loads the entry script outside of any package",
            id="relative-in-the-entry-script",
        ),
        pytest.param(
            "pkg/a.py",
            "..none.x",
            "`src/pkg/a.py:1` imports `..none.x`: not found in the source directory",
            id="relative-missing",
        ),
        pytest.param(
            "pkg/a.py", "...(x)", "`src/pkg/a.py:1` imports `...`: not found in the source directory", id="relative-too-far"
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("when", ["top", "conditional", "delayed", "optional"])
def test_u303_and_u304_what_is_not_there(path: str, found: str, said_of_it: str, when: When) -> None:
    assert found_in(path, an_import(found, when=when)) == [
        Finding(
            code="U303" if when == "top" else "U304", message=said_of_it, where=f"src/{path}:1"
        )
    ]  # fmt: skip


@pytest.mark.parametrize("reached", ["conditional", "delayed", "optional"])
def test_u304_in_a_file_that_is_not_always_imported(reached: When) -> None:
    missing = "`src/pkg/a.py:1` imports `none`, which no distribution provides"

    assert said(found_in("pkg/a.py", "none", reached=reached)) == [f"U304 {missing}"]
    assert said(found_in("pkg/a.py", "none")) == [f"U303 {missing}"]


def test_a_relative_import_of_another_file_is_resolved() -> None:
    assert found_in("pkg/a.py", ".sub(b)", "..helper") == []


def test_an_entry_script_in_a_subfolder_does_not_see_its_neighbours() -> None:
    """The server puts the source directory on the path, not the script's own folder."""
    code = UserCode(folder=Path("/srv/src"), script="sub/score.py")
    found = found_in("sub/score.py", "neighbour", "helper", code=code, files={"sub/neighbour.py"})

    assert said(found) == ["U303 `src/sub/score.py:1` imports `neighbour`, which no distribution provides"]


@pytest.mark.parametrize("found", ["tools", "tools(x)", "kit.a", "kit(a)", "numpy", "space2.c"])
def test_a_directory_that_the_code_adds_to_the_path(found: str) -> None:
    files = {"lib/tools.py", "lib/kit/__init__.py", "lib/kit/a.py", "lib/numpy.py", "lib/space2/c.py"}

    assert found_in("score.py", found, files=files, folders=("lib",)) == []
    assert said(found_in("score.py", "tools", files=files)) == [
        "U303 `src/score.py:1` imports `tools`, which no distribution provides"
    ]
    assert said(found_in("score.py", "none", files=files, folders=("lib",))) == [
        "U303 `src/score.py:1` imports `none`, which no distribution provides"
    ]


@pytest.mark.parametrize(
    ("found", "by", "top"),
    [
        pytest.param("code.x", ModuleIndex.STDLIB, "code", id="stdlib-folder"),
        pytest.param("types", ModuleIndex.STDLIB, "types", id="stdlib-module"),
        pytest.param("werkzeug(x)", ModuleIndex.BASE, "werkzeug", id="base"),
    ],
)
@pytest.mark.parametrize("when", ["top", "delayed"])
def test_u303_what_comes_before_the_users_own(found: str, by: str, top: str, when: When) -> None:
    one = an_import(found, when=when, line=3)
    message = f"`src/score.py:3` imports `{one.module}`, but {by} has a `{top}` that comes first"

    assert found_in("score.py", one, files={"werkzeug.py"}) == [
        Finding(code="U303", message=message, where="src/score.py:3")
    ]


def test_u303_a_source_directory_named_as_a_module_of_the_standard_library() -> None:
    code = UserCode(folder=Path("/srv/code"), script="score.py")

    assert said(found_in("score.py", "code.helper", code=code)) == [
        "U303 `code/score.py:1` imports `code.helper`, but the standard library has a `code` that comes first"
    ]
    assert found_in("score.py", "code", code=code) == []


@pytest.mark.parametrize(
    ("found", "own", "hidden"),
    [
        pytest.param("utils", "utils.py", "utils.py", id="module"),
        pytest.param("utils.x", "utils/__init__.py utils/x.py", "utils/x.py", id="package"),
        pytest.param("utils.x", "utils/x.py", "utils/x.py", id="folder-without-init"),
        pytest.param("utils(x)", "utils/x.py", "utils/x.py", id="from"),
    ],
)
def test_m105_the_bundle_comes_before_the_users_own(found: str, own: str, hidden: str) -> None:
    assert found_in("score.py", found, files=set(own.split())) == [
        Finding(
            code="M105",
            message=f"`utils` of `utils-dist` hides the `{hidden}` that `src/score.py:1` imports",
            distribution="utils-dist",
            where="src/score.py:1",
        )
    ]


@pytest.mark.parametrize(
    ("own", "hidden"),
    [
        pytest.param({"google/__init__.py", "google/x.py"}, False, id="a-package-before-a-namespace"),
        pytest.param({"google/x.py"}, True, id="of-two-namespaces-the-first"),
    ],
)
def test_m105_and_namespaces(own: set[str], hidden: bool) -> None:
    """PEP 420: a package with `__init__` wins, wherever on the path it is."""
    assert [one.code for one in found_in("score.py", "google.x", files=own)] == ["M105"] * hidden


@pytest.mark.parametrize(
    ("error", "message", "where"),
    [
        pytest.param(
            "3: invalid syntax: x",
            "`src/helper.py:3` is not valid Python for the target: invalid syntax: x",
            "src/helper.py:3",
            id="line",
        ),
        pytest.param(
            "0: it is nested too deeply",
            "`src/helper.py` is not valid Python for the target: it is nested too deeply",
            "src/helper.py",
            id="no-line",
        ),
    ],
)
def test_u301_code_that_the_target_cannot_parse(error: str, message: str, where: str) -> None:
    assert found_in("helper.py", error=error) == [Finding(code="U301", message=message, where=where)]


@pytest.mark.parametrize(
    ("defines", "lacks"),
    [
        pytest.param(("init", "run", "x"), "", id="both"),
        pytest.param(("init",), "run()", id="init-alone"),
        pytest.param(("run",), "init()", id="run-alone"),
        pytest.param((), "init() and run()", id="none"),
        pytest.param(("*",), "", id="a-star-import-may-bring-them"),
    ],
)
def test_u302_what_the_entry_script_defines(defines: tuple[str, ...], lacks: str) -> None:
    message = f"the entry script `score.py` does not define {lacks}"
    expected = [Finding(code="U302", message=message, where="src/score.py")] if lacks else []

    assert found_in("score.py", defines=defines) == expected
    assert found_in("helper.py", defines=defines) == []


def test_an_entry_script_that_cannot_be_parsed_is_told_once() -> None:
    assert [one.code for one in found_in("score.py", defines=(), error="1: no")] == ["U301"]


def test_every_import_of_every_file_is_looked_at() -> None:
    imports = [
        an_import("none", line=1),
        an_import("no", line=2, when="delayed"),
        an_import("helper", line=3),
    ]

    assert [(one.code, one.where) for one in found_in("helper.py", *imports)] == [
        ("U303", "src/helper.py:1"),
        ("U304", "src/helper.py:2"),
    ]


def test_a_name_from_outside_cannot_disturb_a_terminal() -> None:
    (finding,) = found_in("bad\x1b.py", error="1: no")

    assert finding.message.startswith(r"`src/bad\x1b.py:1`")
    assert os.linesep not in finding.message


@pytest.mark.parametrize(
    ("found", "lacks"),
    [
        ("azureml.core.model(Model)", ""),
        ("azureml.core(Model)", ""),
        ("azureml.core.model", ""),
        ("azureml.core", "azureml"),
        ("azureml.core(Workspace)", "azureml"),
        ("azureml.core.model(Model,InferenceConfig)", "azureml"),
        ("azureml.core.run(Run)", "azureml"),
        ("azureml", "azureml"),
    ],
)
def test_the_path_of_a_model_needs_no_azureml_core(found: str, lacks: str) -> None:
    findings = found_in("score.py", found)

    assert [(finding.code, f"imports `{lacks}`" in finding.message) for finding in findings] == (
        [("U303", True)] if lacks else []
    )
