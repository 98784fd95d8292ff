"""Bytecode: the same bytes whatever was compiled before, and valid for the Python that made it."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from bundler.target.scripts import script

# What made bytecode differ between two runs, each once: shared names, sets of
# strings that are interned elsewhere, sets that hold None, whose hash is an
# address before 3.12, numbers, nesting, strings of one character.
SOURCES = {
    "names.py": "def connect(host, port=80):\n    return (host, port, 'host', 'port')\n",
    "same_names.py": "host = port = 'connect'\nclass C:\n    host = 'host'\n",
    "sets.py": "def a(x):\n    return x in {'host', 'port', 'x y'}\ndef b(x):\n    return x not in {'host', 'port', 'x y'}\n",
    "none.py": "def f(x):\n    return x in {None, 'left', 'right', (None, 1), 2.5, 10**30, b'x', True, -1}\n",
    "nested.py": "async def g(*a, k=1, **q):\n    yield [i for i in a if i not in {None, ...}]\nf = lambda: {'k': f'{k!r:>4}'}\n",
    "docs.py": '"""Doc."""\nclass A:\n    """Doc."""\n    def m(self): "Doc."; return 1j, 1e100, "é\\ud800"\n',
    "empty.py": "",
    # The annotations make CPython 3.7 to 3.10 intern the braces, which it shares with all other code.
    "annotations.py": "from __future__ import annotations\ndef f(x: int) -> str:\n    pass\n",
    "characters.py": "opened, closed, dash, e = '{', '}', '-', 'é'\nempty = ''\n",
}


def run_compiler(
    python: Path, sources: Mapping[str, str], folder: Path, order: list[str]
) -> dict[str, bytes]:
    folder.mkdir()
    jobs = []
    for name in order:
        (folder / name).write_text(sources[name], "utf-8")
        jobs.append([str(folder / name), f"lib/{name}", str(folder / f"{name}c")])
    ended = subprocess.run(
        [python, "-s", "-S", "-B", script("compile")],
        input=json.dumps(jobs).encode(),
        env={"PYTHONHASHSEED": "0"},
        cwd=folder,
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert json.loads(ended.stdout)["failed"] == {}
    return {name: (folder / f"{name}c").read_bytes() for name in order}


@pytest.mark.parametrize("version", ["3.7", "3.8", "3.10", "3.12", "3.13"])
def test_the_order_of_work_changes_no_byte(version: str, pythons: Mapping[str, Path], tmp_path: Path) -> None:
    if version not in pythons:
        pytest.skip(f"no Python {version} here")
    python = pythons[version]
    order = list(SOURCES)
    first = run_compiler(python, SOURCES, tmp_path / "first", order)
    for turn in range(4):
        random.Random(turn).shuffle(order)
        assert run_compiler(python, SOURCES, tmp_path / str(turn), order) == first
    for name in order:
        assert run_compiler(python, SOURCES, tmp_path / f"alone {name}", [name]) == {name: first[name]}


def test_bytecode_runs_and_is_never_compared_with_its_source(python37: Path, tmp_path: Path) -> None:
    made = run_compiler(python37, SOURCES, tmp_path / "made", list(SOURCES))
    package = tmp_path / "package"
    (package / "__pycache__").mkdir(parents=True)
    for name, content in made.items():
        (package / name).write_text("raise SystemExit('the source was read')\n")
        (package / "__pycache__" / name.replace(".py", ".cpython-37.pyc")).write_bytes(content)

    code = "import names, sets, none, nested, docs, empty; print(none.f(None), none.f(3), sets.a('x y'), names.__file__)"
    ended = subprocess.run(
        [python37, "-c", code],
        cwd=package,
        env={"PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=True,
    )

    assert ended.stdout.split()[:3] == ["True", "False", "True"]
    assert made["names.py"][4:8] == (1).to_bytes(4, "little")  # PEP 552: a hash, unchecked


def test_what_is_not_valid_for_the_target_stays_without_bytecode(python37: Path, tmp_path: Path) -> None:
    sources = {
        "good.py": "x = 1\n",
        "newer.py": "if (x := 1): pass\n",
        "older.py": "print 'x'\n",
        "nul.py": "x\0",
    }
    jobs = []
    for name, text in sources.items():
        (tmp_path / name).write_text(text)
        jobs.append([str(tmp_path / name), name, str(tmp_path / f"{name}c")])
    ended = subprocess.run(
        [python37, "-s", "-S", "-B", script("compile")],
        input=json.dumps(jobs).encode(),
        env={},
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )

    assert sorted(json.loads(ended.stdout)["failed"]) == ["newer.py", "nul.py", "older.py"]
    assert [path.name for path in tmp_path.glob("*.pyc")] == ["good.pyc"] or (tmp_path / "good.pyc").exists()
    assert not (tmp_path / "newer.pyc").exists()
