"""Rows K16 to K29 of the corpus: packages that are odd in some way, and still one bundle."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.cli import built_locked, locked, manifest_of
from support.wheels import make_wheel

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.localindex import LocalIndex

SITE = "lib/python3.7/site-packages"


def run37(python37: Path, bundle: Path, code: str) -> str:
    """Run code with the bundle mounted, and return what it prints."""
    argv = [str(python37), "-c", code]
    env = {"PYTHONPATH": str(bundle / SITE)}
    return subprocess.run(argv, env=env, check=True, capture_output=True, text=True).stdout


def test_k16_two_versions_of_one_project_are_refused(
    index: LocalIndex, warm_cli: BundlerCli, tmp_path: Path
) -> None:
    make_wheel(index.folder, "one", "1.0")
    make_wheel(index.folder, "one", "2.0")
    ended = warm_cli.run("build", "one==1.0", "one==2.0", cwd=tmp_path)
    assert (ended.returncode, "one" in ended.stderr) == (3, True), "before pip is asked"

    assert warm_cli.run("lock", "one==1.0", cwd=tmp_path).returncode == 0
    lock = tmp_path / "pylock.toml"
    text = lock.read_text()
    package = text[text.index("[[packages]]") :].partition("[tool")[0]
    lock.write_text(text.replace(package, package + package.replace("1.0", "2.0")))
    ended = warm_cli.run("build", "--lock", "pylock.toml", cwd=tmp_path)
    assert (ended.returncode, "one" in ended.stderr) == (3, True), ended.stderr


@pytest.mark.slow
def test_k19_a_package_that_changes_itself_or_looks_for_data_below_the_prefix(
    index: LocalIndex, warm_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    """The layer is unchanged, the attempt is named; and data below sys.prefix is not there on a mount."""
    edits = "import os\ntry:\n    open(__file__, 'a').write('changed')\nexcept OSError: pass\n"
    make_wheel(index.folder, "edits", "1.0", {"edits.py": edits})
    data = "import os, sys\nopen(os.path.join(sys.prefix, 'share', 'd.txt')).close()\n"
    make_wheel(
        index.folder, "prefixed", "1.0", {"prefixed.py": data, "prefixed-1.0.data/data/share/d.txt": "d"}
    )

    result = built_locked(warm_cli, "edits", "--name", "app", "--format", "dir", cwd=tmp_path)
    messages = [one["message"] for one in result["verification"]["findings"] if one["code"] == "I206"]
    assert messages == [f"import `edits` of `edits` writes to `{SITE}/edits.py`"]
    assert (Path(result["path"]) / SITE / "edits.py").read_text() == edits

    ended = warm_cli.run("build", "--json", *locked(warm_cli, "prefixed", "--name", "app"), cwd=tmp_path)
    assert ended.returncode == 10
    errors = [one for one in ended.json["error"]["facts"]["findings"] if one["severity"] == "error"]
    assert [one["code"] for one in errors] == ["M102"]
    installed = built_locked(
        warm_cli, "prefixed", "--for", "venv", "--name", "i", "--format", "dir", cwd=tmp_path
    )
    assert (Path(installed["path"]) / "share" / "d.txt").read_text() == "d"


def test_k22_k25_k28_empty_long_and_vendored_files(
    index: LocalIndex, warm_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    deep = "/".join(["odd", *("d" * 60 for _ in range(4))])
    files = {
        "odd/__init__.py": "",
        "odd/py.typed": "",
        f"{deep}/module_with_a_long_name.py": "VALUE = 1\n",
        "odd/_vendor/pip/__init__.py": "__version__ = '1'\n",
        "odd/_vendor/certifi/cacert.pem": "not a certificate\n",
    }
    make_wheel(index.folder, "odd", "1.0", files)

    result = built_locked(warm_cli, "odd", "--name", "app", "--format", "dir", cwd=tmp_path)

    shipped = {file["path"]: file["size"] for file in manifest_of(result)["files"]}
    assert shipped[f"{SITE}/odd/__init__.py"] == shipped[f"{SITE}/odd/py.typed"] == 0
    assert max(map(len, shipped)) > 250
    code = "import odd._vendor.pip as p; print(p.__version__)"
    assert run37(python37, Path(result["path"]), code) == "1\n"


def test_k29_modules_that_are_made_when_they_are_asked_for(
    index: LocalIndex, warm_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    """As `six.moves`: no file has that name, the package's finder makes it; neither a run nor a scan objects."""
    lazy = (
        "import importlib.machinery, sys, types\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'lazy.made':\n"
        "            return importlib.machinery.ModuleSpec(name, self)\n"
        "    def create_module(self, spec): return types.ModuleType(spec.name)\n"
        "    def exec_module(self, module): module.VALUE = 29\n"
        "sys.meta_path.append(Finder())\n__path__ = []\n"
    )
    make_wheel(index.folder, "lazy", "1.0", {"lazy/__init__.py": lazy})
    user = "import lazy.made\nfrom lazy.made import VALUE\n"
    make_wheel(index.folder, "user", "1.0", {"user.py": user}, requires=["lazy"])

    result = built_locked(warm_cli, "user", "--name", "app", "--format", "dir", cwd=tmp_path)

    assert result["verification"]["findings"] == []
    assert run37(python37, Path(result["path"]), "import user; print(user.VALUE)") == "29\n"


@pytest.mark.slow
def test_k23_a_hundred_thousand_files(
    index: LocalIndex, warm_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    files = {f"many/d{number // 1000}/f{number}.txt": "" for number in range(100_000)}
    make_wheel(index.folder, "many", "1.0", {"many/__init__.py": "", **files})

    result = built_locked(warm_cli, "many", "--name", "app", "--for", "mount", cwd=tmp_path)

    assert len(manifest_of(result)["files"]) > 100_000
    assert warm_cli.run("verify", result["path"]).returncode == 0


@pytest.mark.slow
def test_k24_a_file_of_more_than_four_gib(
    index: LocalIndex, warm_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    size, piece = (4 << 30) + 5, bytes(1 << 24)
    wheel = make_wheel(index.folder, "large", "1.0", {"large.py": ""})
    with zipfile.ZipFile(wheel) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    digest = hashlib.sha256()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open(zipfile.ZipInfo("large_data/zeros.bin"), "w", force_zip64=True) as stream:
            written = 0
            while written < size:
                part = piece[: size - written]
                written += stream.write(part)
                digest.update(part)
        encoded = base64.urlsafe_b64encode(digest.digest()).decode().rstrip("=")
        record = next(name for name in members if name.endswith("/RECORD"))
        members[record] = f"large_data/zeros.bin,sha256={encoded},{size}\n".encode() + members[record]
        for name, content in members.items():
            archive.writestr(name, content)

    # A busy machine needs a while to say what is in such a wheel.
    patient = {"PIP_TIMEOUT": "300"}
    result = built_locked(warm_cli, "large", "--name", "app", "--for", "mount", cwd=tmp_path, env=patient)

    sizes = {file["path"]: file["size"] for file in manifest_of(result)["files"]}
    assert sizes[f"{SITE}/large_data/zeros.bin"] == size
    subprocess.run(["tar", "-tzf", result["path"]], check=True, capture_output=True)
    assert warm_cli.run("verify", result["path"]).returncode == 0
