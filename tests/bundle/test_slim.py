"""What ``--slim`` leaves out: real wheels, real builds, a real compiler and a real strip."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.cli import built, manifest_of
from support.wheels import make_wheel

from bundler.bundle.slim import find_stripper
from bundler.data.slim import omitted_files
from bundler.system.environ import read_host_environment
from bundler.target.interpreter import find_interpreter

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex

SITE = "lib/python3.7/site-packages"
TOOLS = pytest.mark.skipif(
    not (shutil.which("gcc") and shutil.which("strip")), reason="no C compiler and binutils"
)


@pytest.mark.parametrize(
    ("path", "level"),
    [
        (f"{SITE}/a/tests/test_x.py", "safe"),
        (f"{SITE}/a/tests/data/x.csv", "safe"),
        (f"{SITE}/a/b/tests/__init__.py", "safe"),
        (f"{SITE}/tests/x.py", "safe"),
        (f"{SITE}/a/test/test_y.py", "safe"),
        (f"{SITE}/a/test/data.json", "safe"),
        (f"{SITE}/a/x.pyi", "safe"),
        (f"{SITE}/a/libx.a", "safe"),
        (f"{SITE}/a/x.pyx", "safe"),
        ("share/man/man1/a.1", "safe"),
        ("share/doc/a/index.html", "safe"),
        (f"{SITE}/a/include/a.h", "max"),
        ("include/site/python3.7/a/a.h", "max"),
        (f"{SITE}/a/x.cpp", "max"),
        (f"{SITE}/a/tests.py", None),
        (f"{SITE}/a/testing/x.py", None),
        (f"{SITE}/a/py.typed", None),
        (f"{SITE}/django/test/client.py", None),
        (f"{SITE}/a-1.dist-info/tests/x.py", None),
        (f"{SITE}/a-1.dist-info/licenses/x.c", None),
        (f"{SITE}/a/share/man/x", None),
        ("bin/tests", None),
        ("share/a/tests/x", None),
        (f"{SITE}/a/docs/x.py", None),
    ],
)
def test_a_level_leaves_out_its_kinds_of_files(path: str, level: str | None) -> None:
    paths = [path, f"{SITE}/a/__init__.py", f"{SITE}/a/test/test_y.py"]
    assert (path in omitted_files(paths, "safe", SITE)) == (level == "safe")
    assert (path in omitted_files(paths, "max", SITE)) == (level is not None)


@pytest.fixture
def fat(index: LocalIndex) -> LocalIndex:
    """An index with a distribution that has tests and stubs, and one that imports its own tests."""
    files = {
        "fat/__init__.py": "",
        "fat/__init__.pyi": "x: int\n",
        "fat/tests/__init__.py": "",
        "fat/tests/test_fat.py": "import pytest\n",
        "fat/include/fat.h": "int fat;\n",
    }
    make_wheel(index.folder, "fat", "1.0", files)
    for name, line in {"odd": "from odd.tests import NAME", "even": "from even import tests"}.items():
        own = {f"{name}/__init__.py": f"{line}\n", f"{name}/tests/__init__.py": "NAME = 1\n"}
        make_wheel(index.folder, name, "1.0", own)
    return index


def record_of(archive: Path, name: str) -> dict[str, str]:
    """Return the digests of a RECORD, by path."""
    with tarfile.open(archive) as tar:
        member = next(item for item in tar if item.name.endswith(f"{name}-1.0.dist-info/RECORD"))
        stream = tar.extractfile(member)
        assert stream is not None
        rows = csv.reader(io.TextIOWrapper(stream, "utf-8"))
        return {row[0]: row[1] for row in rows}


@pytest.mark.usefixtures("fat")
def test_a_slim_bundle_lacks_the_files_and_its_record_says_so(bundler_cli: BundlerCli) -> None:
    whole, slim = (built(bundler_cli, "fat", *options) for options in ([], ["--slim", "safe"]))
    gone = set(record_of(Path(whole["path"]), "fat")) - set(record_of(Path(slim["path"]), "fat"))
    assert gone == {
        "fat/__init__.pyi",
        "fat/tests/__init__.py",
        "fat/tests/test_fat.py",
        "fat/tests/__pycache__/__init__.cpython-37.pyc",
        "fat/tests/__pycache__/test_fat.cpython-37.pyc",
    }
    shipped = {file["path"].removeprefix(f"{SITE}/") for file in manifest_of(slim)["files"]}
    assert set(record_of(Path(slim["path"]), "fat")) == shipped - {"pylock.toml"}
    (distribution,) = manifest_of(slim)["distributions"]
    assert distribution["omitted"] == {"files": 3, "size": 7 + 0 + 14, "symbols": 0}
    assert "omitted" not in manifest_of(whole)["distributions"][0]
    verified = bundler_cli.run("verify", slim["path"])
    assert verified.returncode == 0, verified.stderr
    shown = bundler_cli.run("inspect", slim["path"])
    assert "slim      21 bytes left out: fat 21 bytes" in shown.stdout


@pytest.mark.usefixtures("fat")
def test_a_slim_bundle_has_a_version_of_its_own(bundler_cli: BundlerCli) -> None:
    names = [built(bundler_cli, "fat", *options)["path"] for options in ([], ["--slim", "safe"])]
    assert len(set(names)) == 2
    assert "-slim-safe-cp37" in names[1]


@pytest.mark.usefixtures("fat")
@pytest.mark.parametrize("name", ["odd", "even"])
def test_a_distribution_that_needs_its_tests_is_refused_with_the_option_that_keeps_them(
    bundler_cli: BundlerCli, name: str
) -> None:
    refused = bundler_cli.run("build", "fat", name, "--slim", "safe", "--name", "app")
    assert refused.returncode == 10, refused.stderr
    assert f"fix: `--keep {name}`: `--slim` left out `{name}.tests`" in refused.stderr
    kept = built(bundler_cli, "fat", name, "--slim", "safe", "--keep", name.upper())
    paths = {file["path"] for file in manifest_of(kept)["files"]}
    assert f"{SITE}/{name}/tests/__init__.py" in paths
    assert f"{SITE}/fat/tests/__init__.py" not in paths


def compiled(folder: Path, *options: str) -> Path:
    """Return a shared object with debug symbols, a table of constants, zeros and thread-local data."""
    source = folder / "x.c"
    source.write_text(
        'static int zeros[5000]; static __thread int own = 3; const char text[] = "text";\n'
        "int f(int n) { zeros[n] += own; return zeros[n] + text[0]; }\n"
    )
    output = folder / "x.so"
    subprocess.run(["gcc", "-g", "-shared", "-fPIC", *options, str(source), "-o", str(output)], check=True)
    return output


@TOOLS
def test_debug_symbols_are_removed_and_nothing_in_memory_changes(tmp_path: Path) -> None:
    stripper = find_stripper(read_host_environment(), tmp_path)
    source, output = compiled(tmp_path), tmp_path / "y.so"
    assert stripper.strip(source, output)
    assert b".debug_info" in source.read_bytes()
    assert b".debug_info" not in output.read_bytes()
    assert not stripper.strip(output, tmp_path / "z.so")  # nothing is left to remove


@TOOLS
@pytest.mark.parametrize("damage", ["a byte of the code", "a byte of the constants", "an offset", "cut"])
def test_a_strip_that_damages_a_file_is_not_believed(tmp_path: Path, damage: str) -> None:
    """Binutils damages some files that patchelf has edited; here, a strip does it on purpose."""
    real = shutil.which("strip")
    host = read_host_environment()
    source = compiled(tmp_path)
    change = {
        "a byte of the code": "at = data.index(subprocess_code)",
        "a byte of the constants": 'at = data.index(b"text")',
        "an offset": "at = 64 + 8",
        "cut": "at = len(data) - 1; del data[data.index(b'text'):]; data += bytes(at - len(data))",
    }[damage]
    code = subprocess.run(
        ["objdump", "-d", "--disassemble=f", str(source)], check=True, capture_output=True, text=True
    ).stdout
    first = next(line for line in code.splitlines() if line.startswith("    ") and ":\t" in line)
    wanted = bytes.fromhex(first.split("\t")[1].strip())
    program = tmp_path / "bin/strip"
    program.parent.mkdir()
    program.write_text(
        f"#!{shutil.which('python3')}\n"
        "import subprocess, sys\n"
        f"subprocess.run([{real!r}, *sys.argv[1:]], check=True)\n"
        "if '-o' in sys.argv:\n"
        "    path = sys.argv[sys.argv.index('-o') + 1]\n"
        "    data = bytearray(open(path, 'rb').read())\n"
        f"    subprocess_code = {wanted!r}\n"
        f"    {change}\n"
        "    data[min(at, len(data) - 1)] ^= 1\n"
        "    open(path, 'wb').write(data)\n"
    )
    program.chmod(0o755)
    stripper = find_stripper(host, tmp_path)
    damaging = type(stripper)(program=program, version="damaging", host=host)
    assert stripper.strip(source, tmp_path / "good.so")
    assert not damaging.strip(source, tmp_path / "bad.so")


@TOOLS
@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"\x7fELF\x02\x01" + bytes(40), b"text"], ids=repr)
def test_a_file_that_is_no_shared_object_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "x.so"
    source.write_bytes(content)
    assert not find_stripper(read_host_environment(), tmp_path).strip(source, tmp_path / "y.so")


@TOOLS
def test_a_bundle_without_debug_symbols_runs(
    index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    content = compiled(tmp_path).read_bytes()
    files: dict[str, str | bytes] = {
        "lean/__init__.py": "import ctypes, os\n"
        "f = ctypes.CDLL(os.path.join(os.path.dirname(__file__), 'x.so')).f\n",
        "lean/x.so": content,
        "lean/include/x.h": "int f(int);\n",
    }
    make_wheel(index.folder, "lean", "1.0", files, tag="cp37-cp37m-linux_x86_64", purelib=False)
    result = built(bundler_cli, "lean", "--slim", "max", "--format", "dir")
    (distribution,) = manifest_of(result)["distributions"]
    assert distribution["omitted"]["files"] == 1
    shipped = Path(result["path"], SITE, "lean/x.so")
    assert len(content) - shipped.stat().st_size == distribution["omitted"]["symbols"] > 0


@pytest.mark.usefixtures("fat")
def test_without_strip_the_level_max_names_the_package_that_has_it(
    bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    python = find_interpreter("3.7", read_host_environment(), tmp_path).python
    options = ("--slim", "max", "--name", "app", "--python", str(python))
    ended = bundler_cli.run("build", "fat", *options, env={"PATH": str(tmp_path)})
    assert ended.returncode == 3, ended.stderr
    assert "`--slim max` removes debug symbols with `strip`" in ended.stderr
    assert "apt-get install binutils" in ended.stderr
