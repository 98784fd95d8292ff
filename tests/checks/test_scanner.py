"""What source files import and bind, as the target's own parser says it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name
from packaging.version import Version
from support.elfs import make_elf

from bundler.archive.tree import TreeFile
from bundler.bundle.layer import Layer
from bundler.checks.scanner import Scanner
from bundler.checks.source_imports import FileImports
from bundler.checks.user_code import UserCode
from bundler.digest import Sha256, sha256_of
from bundler.errors import BundlerError
from bundler.paths import archive_path
from bundler.reporter import Silent
from bundler.store.store import Store, key_of
from bundler.system.environ import read_host_environment
from bundler.target.interpreter import Interpreter, find_interpreter
from bundler.target.scripts import script

Answer = Mapping[str, Any]
Scan = Callable[[str], Answer]
"""Scans a source on one target; all sources of the tables are scanned by one process."""

OLD, NEW = "3.7", "newest"
DEEP = "import a\nif x: pass\n" + "elif x: pass\n" * 20_000 + "else:\n import b\n"
SUM = "import a\nx = " + "+".join(["1"] * 100_000) + "\n"

# What a source imports: module, names taken, and when.
IMPORTS = [
    pytest.param("", "", id="empty"),
    pytest.param("x = 1\n", "", id="no-import"),
    pytest.param("# nothing is imported\n", "", id="the-word-alone"),
    pytest.param("import a.b, c as d\n", "a.b:top c:top", id="import"),
    pytest.param("from a.b import c as d, e\n", "a.b(c,e):top", id="from"),
    pytest.param("from a import *\n", "a(*):top", id="star"),
    pytest.param("from . import a\n", ".(a):top", id="relative-package"),
    pytest.param("from ..a.b import c\n", "..a.b(c):top", id="relative-module"),
    pytest.param("from __future__ import annotations\n", "__future__(annotations):top", id="future"),
    # when it runs
    pytest.param("class C:\n class D:\n  import a\n", "a:top", id="class"),
    pytest.param("def f():\n import a\n", "a:delayed", id="function"),
    pytest.param("class C:\n def f(self):\n  import a\n", "a:delayed", id="method"),
    pytest.param("async def f():\n import a\n", "a:delayed", id="async-function"),
    pytest.param(
        "async def f():\n async with x:\n  import a\n async for x in y:\n  import b\n",
        "a:delayed b:delayed",
        id="async-with-and-for",
    ),
    pytest.param("if x:\n import a\nelse:\n import b\n", "a:conditional b:conditional", id="if"),
    pytest.param(
        "if x:\n pass\nelif y:\n import a\nelse:\n import b\n", "a:conditional b:conditional", id="elif"
    ),
    pytest.param("while x:\n import a\nelse:\n import b\n", "a:conditional b:conditional", id="while"),
    pytest.param("for x in y:\n import a\nelse:\n import b\n", "a:conditional b:conditional", id="for"),
    pytest.param("if __name__ == '__main__':\n import a\n", "a:conditional", id="main"),
    pytest.param("with x:\n import a\n", "a:top", id="with"),
    pytest.param("with suppress(ImportError):\n import a\n", "a:optional", id="suppress"),
    pytest.param(
        "with x, contextlib.suppress(OSError, ModuleNotFoundError):\n import a\n",
        "a:optional",
        id="suppress-dotted",
    ),
    pytest.param("with suppress(ValueError):\n import a\n", "a:top", id="suppress-another-error"),
    pytest.param("with closing(ImportError):\n import a\n", "a:top", id="another-than-suppress"),
    pytest.param("with suppress():\n import a\n", "a:top", id="suppress-nothing"),
    *(
        pytest.param(
            f"try:\n import a\n{handler}\n import b\nelse:\n import c\nfinally:\n import d\n",
            "a:optional b:optional c:optional d:top",
            id=f"try-{handler}",
        )
        for handler in (
            "except ImportError:",
            "except ModuleNotFoundError as error:",
            "except Exception:",
            "except BaseException:",
            "except (KeyError, ImportError):",
            "except builtins.ImportError:",
            "except:",
        )
    ),
    pytest.param(
        "try:\n import a\nexcept OSError:\n import b\nelse:\n import c\n",
        "a:top b:conditional c:top",
        id="try-another-error",
    ),
    pytest.param(
        "try:\n import a\nexcept KeyError:\n import b\nexcept ImportError:\n import c\n",
        "a:optional b:conditional c:optional",
        id="try-two-handlers",
    ),
    pytest.param("try:\n import a\nfinally:\n import b\n", "a:top b:top", id="try-finally"),
    pytest.param(
        "def f():\n try:\n  import a\n except ImportError:\n  pass\n", "a:optional", id="try-in-function"
    ),
    pytest.param(
        "try:\n def f():\n  import a\nexcept ImportError:\n pass\n", "a:optional", id="function-in-try"
    ),
    pytest.param("if x:\n def f():\n  import a\n", "a:delayed", id="function-in-if"),
    pytest.param("def f():\n if x:\n  import a\n", "a:delayed", id="if-in-function"),
    # conditions whose value is known
    pytest.param(
        "if TYPE_CHECKING:\n import a\nelif x:\n import b\n", "b:conditional", id="type-checking-elif"
    ),
    pytest.param(
        "if typing.TYPE_CHECKING:\n import a\nelse:\n import b\n", "b:top", id="type-checking-dotted"
    ),
    pytest.param("if not TYPE_CHECKING:\n import a\nelse:\n import b\n", "a:top", id="not-type-checking"),
    pytest.param("if not x:\n import a\nelse:\n import b\n", "a:conditional b:conditional", id="not-unknown"),
    pytest.param("if 0:\n import a\n", "", id="if-0"),
    pytest.param("if not 1:\n import a\nelse:\n import b\n", "b:top", id="if-not-1"),
    pytest.param("if True:\n import a\nelse:\n import b\n", "a:top", id="if-true"),
    pytest.param("def f():\n if True:\n  import a\n", "a:delayed", id="known-in-function"),
    pytest.param("if x:\n import a\nelif True:\n import b\nelse:\n import c\n",
                 "a:conditional b:conditional", id="known-below-unknown"),
    pytest.param("if sys.version_info[0] == 3:\n import a\nelse:\n import b\n", "a:top", id="version-index"),
    pytest.param("if sys.version_info[:2] < (3, 0):\n import a\n", "", id="version-slice"),
    pytest.param(
        "if sys.version_info.major == 2:\n import a\nelse:\n import b\n", "b:top", id="version-major"
    ),
    pytest.param("if (3,) <= sys.version_info < (4,):\n import a\n", "a:top", id="version-chain"),
    pytest.param("if os.name == 'nt':\n import a\nelse:\n import b\n", "b:top", id="os-name"),
    pytest.param("if sys.platform in ('win32', 'cygwin'):\n import a\n", "", id="platform-in"),
    pytest.param("if sys.platform.startswith('win'):\n import a\n", "", id="platform-startswith"),
    pytest.param("if sys.maxsize > 2 ** 32:\n import a\n", "a:conditional", id="arithmetic-is-not-known"),
    pytest.param("if sys.maxsize > 4294967296:\n import a\n", "a:top", id="maxsize"),
    pytest.param("if x and False:\n import a\n", "", id="and-false"),
    pytest.param("if x and True:\n import a\n", "a:conditional", id="and-unknown"),
    pytest.param("if True and 1:\n import a\n", "a:top", id="and-true"),
    pytest.param("if os.name == 'posix' or x:\n import a\nelse:\n import b\n", "a:top", id="or-true"),
    pytest.param("if TYPE_CHECKING or x:\n import a\n", "a:conditional", id="or-unknown"),
    pytest.param("if TYPE_CHECKING or 0:\n import a\n", "", id="or-false"),
    *(
        pytest.param(f"if {unknown}:\n import a\n", "a:conditional", id=f"unknown-{unknown}")
        for unknown in (
            "sys.flags", "os.environ", "x.platform == 'win32'", "sys.version_info > 'x'", "six.PY2",
            "sys.version_info[9]", "sys.name", "sys.platform()", "len(sys.version_info)", "f'{x}'",
            "sys.version_info.major.x", "hasattr(sys, 'maxsize')", "platform == 'linux'",
        )
    ),
    # dynamic imports
    pytest.param("importlib.import_module('a.b')\n", "a.b:top", id="import-module"),
    pytest.param("x = [import_module('a')]\n", "a:top", id="import-module-inside"),
    pytest.param("def f():\n return __import__('a', level=0)\n", "a:delayed", id="dunder-import"),
    pytest.param("f = lambda: import_module('a')\n", "a:delayed", id="dynamic-lambda"),
    pytest.param("with __import__('a') as x:\n pass\n", "a:top", id="dynamic-with"),
    pytest.param("if import_module('a').x:\n pass\n", "a:top", id="dynamic-if"),
    pytest.param(
        "if x:\n pass\nelif import_module('a').x:\n pass\n", "a:conditional", id="dynamic-elif"
    ),
    pytest.param("for x in import_module('a').x:\n pass\n", "a:top", id="dynamic-for"),
    pytest.param("def f(x=__import__('a')):\n pass\n", "a:top", id="dynamic-default"),
    pytest.param("@x(import_module('a'))\nclass C(x, y=import_module('b')):\n pass\n", "a:top b:top",
                 id="dynamic-class"),
    pytest.param(
        "try:\n import_module('a')\nexcept ImportError:\n pass\n", "a:optional", id="dynamic-optional"
    ),
    *(
        pytest.param(f"{call}\n", "", id=f"dynamic-{call}")
        for call in (
            "import_module(x)", "import_module()", "import_module('.a', x)", "import_module('')",
            "import_module(b'a')", "import_module(1)", "import_module(f'a{x}')", "reimport_module('a')",
        )
    ),
    # the text itself
    pytest.param(b"\xef\xbb\xbfimport a\n", "a:top", id="bom"),
    pytest.param(b"# coding: latin-1\nx = '\xe9'\nimport a\n", "a:top", id="latin-1"),
    pytest.param("import größe\n", "größe:top", id="non-ascii"),
    pytest.param("import a\r\nimport b\r\n", "a:top b:top", id="crlf"),
]  # fmt: skip

# Where the targets differ: what 3.7 says, and what the newest does.
DIFFERENT = [
    pytest.param(
        "if sys.version_info >= (3, 8):\n import a\nelse:\n import b\n", "b:top", "a:top", id="version"
    ),
    pytest.param(
        "if not sys.version_info >= (3, 8):\n import a\nelse:\n import b\n", "a:top", "b:top", id="not"
    ),
    pytest.param(
        "if sys.version_info >= (3, 8) and x:\n import a\nelse:\n import b\n",
        "b:top",
        "a:conditional b:conditional",
        id="and",
    ),
    pytest.param(
        "if sys.version_info[1] < 8:\n import a\nelif sys.version_info > (3, 10):\n import b\n",
        "a:top",
        "b:top",
        id="elif",
    ),
    pytest.param(
        "if sys.version_info.minor >= 8:\n import a\nelif x:\n import b\n",
        "b:conditional",
        "a:top",
        id="minor",
    ),
    pytest.param("import a\nif (x := 1):\n pass\n", "2: invalid syntax", "a:top", id="walrus"),
    pytest.param(
        "match x:\n case 1:\n  import a\n case _:\n  def f():\n   import b\n",
        "1: invalid syntax",
        "a:conditional b:delayed",
        id="match",
    ),
    pytest.param(
        "try:\n import a\nexcept* ImportError:\n pass\n", "3: invalid syntax", "a:optional", id="try-star"
    ),
    pytest.param("if 1:\n" * 90 + " import a\n", "2: expected an indented block", None, id="indentation"),
    pytest.param("def f(:\n import a\n", "1: invalid syntax", "1: invalid syntax", id="syntax"),
    pytest.param("import a\nasync = 1\n", "2: invalid syntax", "2: invalid syntax", id="keyword"),
    pytest.param(b"import a\0\n", "0: source code string cannot contain null bytes", None, id="null-byte"),
    pytest.param(b"import a\nx = '\xe9'\n", "2: (unicode error) 'utf-8' codec", None, id="non-utf-8"),
    pytest.param("# coding: none\nimport a\n", "0: unknown encoding: none", None, id="unknown-coding"),
    pytest.param("import a\nx = " + "(" * 150 + ")" * 150, "0: it is nested too deeply", "a:top", id="deep"),
    pytest.param(SUM, "a:top", "0: it is nested too deeply", id="sum-without-end"),
    pytest.param(
        DEEP, "a:top b:conditional", "0: it is nested too deeply", id="elifs-without-end"
    ),
]  # fmt: skip

DEFINES = [
    pytest.param("", "", id="empty"),
    pytest.param("def f(): pass\nasync def g(): pass\nclass C: pass\n", "C f g", id="def"),
    pytest.param("a = b = 1\nc: int = 2\nd += 1\n", "a b c d", id="assign"),
    pytest.param("a, (b, *c) = [d[0], e.x] = x\n", "a b c", id="tuple"),
    pytest.param("import a.b, c as d\nfrom e import f, g as h\n", "a d f h", id="import"),
    pytest.param("from a import *\n", "*", id="star"),
    pytest.param("if x:\n def a(): pass\nelif y:\n b = 1\nelse:\n import c\n", "a b c", id="if"),
    pytest.param(
        "try:\n def a(): pass\nexcept E:\n def b(): pass\nelse:\n def c(): pass\nfinally:\n def d(): pass\n",
        "a b c d",
        id="try",
    ),
    pytest.param("for a, b in x:\n def c(): pass\nelse:\n d = 1\n", "a b c d", id="for"),
    pytest.param("while x:\n def a(): pass\n", "a", id="while"),
    pytest.param("with x as a, y as (b, c):\n class D: pass\n", "D a b c", id="with"),
    pytest.param("def f():\n a = 1\n def g(): pass\n import b\n", "f", id="not-in-function"),
    pytest.param("class C:\n a = 1\n def g(): pass\n", "C", id="not-in-class"),
    pytest.param("x.a = 1\ny['b'] = 2\n", "", id="not-attribute"),
    pytest.param("[a for a in x]\n{b: c for b, c in x}\nlambda d: d\n", "", id="not-comprehension"),
]

SOURCES = {
    name: source.encode() if isinstance(source, str) else source
    for kind, rows in (("imports", IMPORTS), ("different", DIFFERENT), ("defines", DEFINES))
    for row in rows
    for name, source in [(f"{kind}/{row.id}", row.values[0])]
    if isinstance(source, (str, bytes))
}


def run_scan(python: Path, root: Path, files: Sequence[str], *, defines: bool) -> list[Answer]:
    """Start the script as its docstring says, and return its answers."""
    ended = subprocess.run(
        [python, "-I", "-S", "-B", "-W", "ignore", script("scan_imports")],
        input=json.dumps({"root": str(root), "files": files, "defines": defines}).encode(),
        capture_output=True,
        check=True,
        timeout=120,
    )
    assert ended.stdout.isascii()
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.fixture(scope="module", params=[OLD, NEW])
def target(request: pytest.FixtureRequest, pythons: dict[str, Path]) -> tuple[str, Path]:
    if request.param == OLD:
        return OLD, request.getfixturevalue("python37")
    newest = max(pythons, key=Version)
    if Version(newest) < Version("3.11"):
        pytest.skip("no CPython from 3.11 on was found")
    return NEW, pythons[newest]


@pytest.fixture(scope="module")
def answers(target: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """What a target says of every source of the tables, by kind and id."""
    folder = tmp_path_factory.mktemp("sources")
    names = {name: f"{number}.py" for number, name in enumerate(SOURCES)}
    for name, file in names.items():
        (folder / file).write_bytes(SOURCES[name])
    found = {}
    for defines in (False, True):
        wanted = {names[name]: name for name in SOURCES if name.startswith("imports/") is not defines}
        for file, answer in zip(
            wanted, run_scan(target[1], folder, list(wanted), defines=defines), strict=True
        ):
            assert answer["file"] == file
            found[wanted[file]] = answer
    return found


def said(answer: Answer) -> str:
    """Return an answer as the tables write it."""
    if "error" in answer:
        return str(answer["error"])
    return " ".join(
        f"{'.' * level}{module}{'(' * bool(names)}{','.join(names)}{')' * bool(names)}:{when}"
        for module, level, _, when, names in answer["imports"]
    )


# --- the script in the target -----------------------------------------------------------------------


@pytest.mark.parametrize(("source", "expected"), IMPORTS)
def test_imports(
    source: str, expected: str, answers: dict[str, Answer], request: pytest.FixtureRequest
) -> None:
    assert sorted(said(answers[f"imports/{row_id(request)}"]).split()) == expected.split()


@pytest.mark.parametrize(("source", "on_old", "on_new"), DIFFERENT)
def test_what_differs_between_targets(
    source: str,
    on_old: str,
    on_new: str | None,
    answers: dict[str, Answer],
    target: tuple[str, Path],
    request: pytest.FixtureRequest,
) -> None:
    """Where the newest is not said, it has an error, too, in words of its own."""
    found = said(answers[f"different/{row_id(request)}"])
    expected = on_old if target[0] == OLD else on_new
    if expected is None:
        assert re.match(r"\d+: \S", found)
    elif expected[0].isdigit():
        assert found.startswith(expected)
    else:
        assert found == expected


@pytest.mark.parametrize(("source", "expected"), DEFINES)
def test_defines(
    source: str, expected: str, answers: dict[str, Answer], request: pytest.FixtureRequest
) -> None:
    assert answers[f"defines/{row_id(request)}"]["defines"] == expected.split()


def row_id(request: pytest.FixtureRequest) -> str:
    """Return the id of a row; the one of the target stands before it."""
    return str(request.node.callspec.id).partition("-")[2]


def test_each_import_has_its_line_and_each_file_its_answer(target: tuple[str, Path], tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.py").write_text(
        "import a\n\nfrom b import (\n  c,\n)\nx = (1,\n  import_module('d'))\n"
    )
    (tmp_path / "bad.py").write_text("x = 1\n\ny = = 2\nimport z\n")
    found = run_scan(target[1], tmp_path, ["p/a.py", "bad.py", "none.py", "p/a.py"], defines=False)

    lines = [[module, line] for module, _, line, _, _ in found[0]["imports"]]
    assert lines == [["a", 1], ["b", 3], ["d", 7]]
    assert found[1] == {"file": "bad.py", "error": "3: invalid syntax"}
    assert "No such file" in found[2]["error"]
    assert found[3] == found[0]
    assert "defines" not in found[0]


@pytest.mark.parametrize(
    "rest",
    [
        "def f():\n    return 1\n",
        "x = '''\nimporting\n'''\n",
        "if 1:\n    pass\nelse:\n    pass\n",
        "@f\nclass A: pass\n",
        "(\nx\n)\n",
    ],
)
@pytest.mark.parametrize(
    "head",
    [
        "import a\n",
        "try:\n    import a\nexcept ImportError:\n    pass\n",
        "if x:\n    import a\nelse:\n    b = 1\n",
        "try:\n    x\nfinally:\n    import a\n",
        "s = '''\nimport no\nx = 1\n'''\nimport a\n",
        "f(\n\nimport_module('a'),\nx)\n",
        "from .a \\\nimport b\n",
    ],
)
def test_the_rest_of_a_file_changes_no_import(
    head: str, rest: str, target: tuple[str, Path], tmp_path: Path
) -> None:
    """A file is parsed up to its last import, where that is the end of a statement."""
    (tmp_path / "part.py").write_text(head + rest)
    (tmp_path / "whole.py").write_text(head + rest + "class Last: import_module = None\n")
    part, whole = run_scan(target[1], tmp_path, ["part.py", "whole.py"], defines=False)

    assert part["imports"] == whole["imports"]
    assert len(part["imports"]) == 1


def test_an_invalid_rest_is_found_where_the_whole_file_matters(
    target: tuple[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "a.py").write_text("import a\nx = 1\nx = = 1\n")
    part, whole = (run_scan(target[1], tmp_path, ["a.py"], defines=defines)[0] for defines in (False, True))

    assert said(part) == "a:top"
    assert said(whole) == "3: invalid syntax"


def test_a_file_without_imports_is_parsed_only_for_what_it_defines(
    target: tuple[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "a.py").write_text("x = = 1\n")

    assert run_scan(target[1], tmp_path, ["a.py"], defines=False) == [{"file": "a.py", "imports": []}]
    assert run_scan(target[1], tmp_path, ["a.py"], defines=True)[0]["error"] == "1: invalid syntax"


# --- the scanner ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def interpreter(python37: Path, tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    return find_interpreter(str(python37), read_host_environment(), tmp_path_factory.mktemp("find"))


@pytest.fixture
def scanner(interpreter: Interpreter, tmp_path: Path) -> Scanner:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Scanner(interpreter, Store(tmp_path / "store"), read_host_environment(), scratch)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    return folder


def layer_of(name: str, tree: Path, files: Mapping[str, str | bytes]) -> Layer:
    """Write files into a tree and return the layer they make."""
    listed = []
    for path, content in sorted(files.items()):
        written = content.encode() if isinstance(content, str) else content
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(written)
        listed.append(
            TreeFile(path=archive_path(path), mode=0o644, size=len(written), sha256=sha256_of(written))
        )
    return Layer(
        name=canonicalize_name(name),
        display_name=name,
        version_text="1",
        wheel=f"{name}-1-py3-none-any.whl",
        wheel_sha256=Sha256("0" * 64),
        licence="",
        requires_dist=(),
        requires_python="",
        scripts=(),
        pth_code={},
        pth_folders=(),
        uncompiled=(),
        code={},
        notes=(),
        faults=(),
        files=tuple(listed),
    )


def never() -> Path:
    raise AssertionError("everything is kept already")


SITE = "lib/python3.7/site-packages"
A = canonicalize_name("a")


def test_layers_are_scanned_once(scanner: Scanner, tree: Path) -> None:
    """A file without imports, one that does not parse, and one outside of site-packages say nothing."""
    files = {
        f"{SITE}/a.py": "import x\n",
        f"{SITE}/quiet.py": "y = 1\n",
        f"{SITE}/bad.py": "import = 1\n",
        f"{SITE}/data.txt": "import z\n",
        f"{SITE.replace('site', 'dist')}/a.py": "import z\n",
        "bin/tool.py": "import z\n",
    }
    layers = [layer_of("a", tree, files), layer_of("none", tree, {f"{SITE}/n.txt": ""})]
    asked = []

    def tree_of() -> Path:
        asked.append(tree)
        return tree

    first = scanner.layers(layers, tree_of, jobs=2, reporter=Silent())
    again = scanner.layers(layers, never, jobs=2, reporter=Silent())

    assert [(scan.path, [one.module for one in scan.imports]) for scan in first[A]] == [("a.py", ["x"])]
    assert first[canonicalize_name("none")] == ()
    assert first == again
    assert len(asked) == 1


def test_a_changed_layer_is_scanned_again(scanner: Scanner, tree: Path) -> None:
    for module in ("x", "y"):
        layer = layer_of("a", tree, {f"{SITE}/a.py": f"import {module}\n"})
        found = scanner.layers([layer], lambda: tree, jobs=1, reporter=Silent())
        assert found[A][0].imports[0].module == module


def test_shared_objects_are_read_once_and_damaged_ones_are_told(scanner: Scanner, tree: Path) -> None:
    files: dict[str, str | bytes] = {
        f"{SITE}/a.so": make_elf(needed=["libx.so.1"]),
        f"{SITE}/b.so": make_elf()[:70],
        f"{SITE}/tiny.so": b"\x7fELF",
        f"{SITE}/text.so": "/* GNU ld script */" * 10,
        f"{SITE}/really.py": make_elf(),
    }
    layers = [layer_of("a", tree, files), layer_of("empty", tree, {f"{SITE}/e.py": "\n"})]
    first = scanner.objects(layers, lambda: tree, jobs=2)
    again = scanner.objects(layers, never, jobs=2)

    assert [(name, one.path, one.needed) for name, one in first.found] == [
        ("a", f"{SITE}/a.so", ("libx.so.1",))
    ]
    assert [(one.code, one.distribution, one.where) for one in first.damaged] == [
        ("E407", "a", f"{SITE}/b.so")
    ]
    assert first == again


@pytest.mark.parametrize(
    ("kind", "key", "old"),
    [
        pytest.param(
            "scan", "2", [["a.py", [["old", 0, 1, "top", []]], [], ""]], id="scan-of-an-older-release"
        ),
        pytest.param("scan", "3", [["a.py", [["old", 0, 1, "top", []]], [], ""]], id="scan-lists"),
        pytest.param(
            "scan", "3", [{"path": "a.py", "imports": [{"module": "old"}]}], id="scan-field-missing"
        ),
        pytest.param("scan", "3", [{"path": 1}], id="scan-of-another-type"),
        pytest.param("elf", "1", [[], []], id="objects-of-an-older-release"),
        pytest.param("elf", "2", [[], []], id="objects-lists"),
        pytest.param("elf", "2", {"found": [{"path": "x"}], "damaged": []}, id="objects-field-missing"),
        pytest.param("elf", "2", {"found": [], "damaged": [["x", "y", []]]}, id="damaged-lists"),
    ],
)
def test_a_stored_value_of_another_shape_counts_as_absent(
    kind: str, key: str, old: object, scanner: Scanner, tree: Path, tmp_path: Path
) -> None:
    layer = layer_of(
        "a", tree, {f"{SITE}/a.py": "import new\n", f"{SITE}/a.so": make_elf(needed=["libnew.so"])}
    )
    version = [scanner._interpreter.target.version] if kind == "scan" else []
    Store(tmp_path / "store").remember(kind, key_of(key, layer.digest, *version), old)

    scans = scanner.layers([layer], lambda: tree, jobs=1, reporter=Silent())
    objects = scanner.objects([layer], lambda: tree, jobs=1)

    assert [one.module for one in scans[A][0].imports] == ["new"]
    assert [one.needed for _, one in objects.found] == [("libnew.so",)]
    assert scanner.layers([layer], never, jobs=1, reporter=Silent()) == scans
    assert scanner.objects([layer], never, jobs=1) == objects


def test_code_is_followed_from_the_entry_script(scanner: Scanner, tmp_path: Path) -> None:
    files = {
        "score.py": "import helper, os\nfrom src.pkg import part\ndef init(): pass\n",
        "helper.py": "def f():\n import late\n",
        "late.py": "import score\n",
        "pkg/__init__.py": "",
        "pkg/part.py": "from . import other\n",
        "pkg/other.py": "def broken(:\n",
        "unreached.py": "import x\n",
    }
    folder = tmp_path / "src"
    (folder / "pkg").mkdir(parents=True)
    for path, content in files.items():
        (folder / path).write_text(content)
    found = scanner.code(UserCode(folder=folder, script="score.py"))

    assert next(iter(found)) == "score.py"
    assert set(found) == set(files) - {"unreached.py"}
    assert found["score.py"].defines == ("helper", "init", "os", "part")
    assert found["pkg/other.py"].error == "1: invalid syntax"


@pytest.mark.parametrize(
    ("adds", "folders"),
    [
        pytest.param("sys.path.append(os.path.join(os.path.dirname(__file__), 'lib'))", ("lib",), id="join"),
        pytest.param(
            "LIB = str(Path(__file__).parent / 'lib')\nsys.path.insert(0, LIB)", ("lib",), id="variable"
        ),
        pytest.param("sys.path += ['./lib/deep']", ("lib", "lib/deep"), id="assignment"),
        pytest.param("sys.path = sys.path + ['deep']", ("lib/deep",), id="new-list"),
        pytest.param("site.addsitedir('lib')", ("lib",), id="site"),
        pytest.param("if os.environ.get('X'):\n    sys.path.extend(['lib'])", ("lib",), id="condition"),
        pytest.param("sys.path.append(os.path.dirname(__file__))", (), id="the-source-directory"),
        pytest.param("print(sys.path, 'lib')", (), id="read"),
        pytest.param("names = []\nnames.append('lib')", (), id="another-list"),
    ],
)
def test_code_in_a_directory_that_is_added_to_the_path(
    adds: str, folders: tuple[str, ...], scanner: Scanner, tmp_path: Path
) -> None:
    (tmp_path / "lib/deep").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "score.py").write_text(
        f"import os, sys, site\nfrom pathlib import Path\n{adds}\nimport tools\n"
    )
    for folder in ("lib", "lib/deep", "other"):
        (tmp_path / folder / "tools.py").write_text("import more\n")
        (tmp_path / folder / "more.py").write_text("")

    found = scanner.code(UserCode(folder=tmp_path, script="score.py"))

    assert found["score.py"].folders == folders
    reached = [f"{folders[-1]}/{name}.py" for name in ("more", "tools")] if folders else []
    assert sorted(found) == sorted(["score.py", *reached])


def test_a_module_of_the_code_that_adds_to_the_path(scanner: Scanner, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/tools.py").write_text("")
    (tmp_path / "setpath.py").write_text("import sys\nsys.path.append('lib')\n")
    (tmp_path / "score.py").write_text("import setpath\nimport tools\n")

    assert set(scanner.code(UserCode(folder=tmp_path, script="score.py"))) == {
        "score.py",
        "setpath.py",
        "lib/tools.py",
    }


def test_the_directory_of_an_entry_script_below_the_source_directory(
    scanner: Scanner, tmp_path: Path
) -> None:
    (tmp_path / "sub/deep").mkdir(parents=True)
    (tmp_path / "sub/tools.py").write_text("")
    (tmp_path / "sub/deep/score.py").write_text(
        "import tools, sys\nsys.path.append(os.path.dirname(os.path.dirname(__file__)))\n"
    )

    found = scanner.code(UserCode(folder=tmp_path, script="sub/deep/score.py"))

    assert found["sub/deep/score.py"].folders == ("sub", "sub/deep")
    assert sorted(found) == ["sub/deep/score.py", "sub/tools.py"]


def test_code_that_reaches_very_many_files_is_refused(
    scanner: Scanner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bundler.checks.scanner._MAX_FILES", 1)
    (tmp_path / "score.py").write_text("import other\n")
    (tmp_path / "other.py").write_text("")

    with pytest.raises(BundlerError, match=r"`score\.py` imports more than 1 files of the source directory"):
        scanner.code(UserCode(folder=tmp_path, script="score.py"))


def test_a_file_that_crashes_the_parser_is_told_and_the_others_are_scanned(
    scanner: Scanner, tree: Path
) -> None:
    """The parser of 3.7 has no limit of depth for sums; a real one of a million terms ends the process."""
    (tree / "a.py").write_text("import a\n")
    (tree / "crash.py").write_text("y = " + "+".join(["1"] * 1_000_000) + "\nimport x\n")
    (tree / "b.py").write_text("import b\n")
    found = scanner.files(tree, ["a.py", "crash.py", "b.py"])

    assert [one.path for one in found] == ["a.py", "crash.py", "b.py"]
    assert found[0].imports[0].module == "a"
    assert found[1] == FileImports(path="crash.py", error="0: it crashes the target's parser")
    assert found[2].imports[0].module == "b"


def test_a_target_that_cannot_scan_at_all_is_an_error(interpreter: Interpreter, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'its library is gone' >&2\nexit 1\n")
    python.chmod(0o755)
    scanner = Scanner(
        replace(interpreter, python=python), Store(tmp_path / "store"), read_host_environment(), tmp_path
    )

    with pytest.raises(BundlerError, match="cannot read the imports of source files") as raised:
        scanner.files(tmp_path, ["a.py"])
    assert raised.value.evidence == ("its library is gone",)


def test_no_file_needs_no_process(scanner: Scanner, tmp_path: Path) -> None:
    assert scanner.files(tmp_path / "nowhere", []) == []
