"""The lists of shared libraries: those of auditwheel, which a script compares and writes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.paths import PACKAGE, ROOT

from bundler.data.shared_libraries import AUDITWHEEL, MANYLINUX, MUSLLINUX, NOT_IN_SLIM

FILE = PACKAGE / "data/shared_libraries.toml"
TEXT = FILE.read_text("utf-8")


def test_the_libraries_that_slim_images_lack_are_named_by_the_pattern() -> None:
    assert {"libc.so", "libz.so.1"} == MUSLLINUX
    assert [library for library in sorted(MANYLINUX) if NOT_IN_SLIM.fullmatch(library)] == [
        *("libGL.so.1", "libICE.so.6", "libSM.so.6", "libX11.so.6", "libXext.so.6", "libXrender.so.1"),
        *("libatomic.so.1", "libglib-2.0.so.0", "libgobject-2.0.so.0", "libgthread-2.0.so.0"),
    ]


def run_script(root: Path, auditwheel: Path, *args: str) -> tuple[int, str, str]:
    """Run the script of a checkout with the packages of a directory."""
    argv = [sys.executable, "-S", str(root / "scripts/shared-libraries"), *args]
    env = {"PYTHONPATH": str(auditwheel)}
    ended = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout, ended.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a directory with the script and the file that it writes."""
    for path in (ROOT / "scripts/shared-libraries", FILE):
        (tmp_path / path.relative_to(ROOT)).parent.mkdir(parents=True)
        shutil.copy(path, tmp_path / path.relative_to(ROOT))
    return tmp_path


@pytest.fixture
def auditwheel(tmp_path: Path) -> Path:
    """Return a directory with a release of auditwheel whose policies are those of the file."""
    installed = tmp_path / "installed"
    policies = installed / "auditwheel/policy"
    policies.mkdir(parents=True)
    (installed / "auditwheel-99.1.dist-info").mkdir()
    (installed / "auditwheel-99.1.dist-info/METADATA").write_text("Name: auditwheel\nVersion: 99.1\n")
    for kind, libraries in (("manylinux", MANYLINUX), ("musllinux", MUSLLINUX)):
        name = tomllib.loads(TEXT)[f"{kind}_policy"]
        content = [{"name": "linux", "lib_whitelist": []}, {"name": name, "lib_whitelist": [*libraries]}]
        (policies / f"{kind}-policy.json").write_text(json.dumps(content))
    return installed


def test_the_script_changes_nothing_but_the_release_if_the_lists_are_equal(
    checkout: Path, auditwheel: Path
) -> None:
    assert run_script(checkout, auditwheel, "--check") == (0, "", "")
    assert run_script(checkout, auditwheel) == (0, "", "")
    written = (checkout / FILE.relative_to(ROOT)).read_text("utf-8")
    assert written == TEXT.replace(f'auditwheel = "{AUDITWHEEL}"', 'auditwheel = "99.1"')


def test_the_script_reports_differences_and_writes_the_new_list(checkout: Path, auditwheel: Path) -> None:
    policy = auditwheel / "auditwheel/policy/manylinux-policy.json"
    policy.write_text(policy.read_text().replace("libanl.so.1", "libmvec.so.1"))

    code, output, error = run_script(checkout, auditwheel, "--check")
    assert (code, error) == (1, "")
    assert output.splitlines() == [
        "- libanl.so.1  (manylinux_2_17, auditwheel 99.1)",
        "+ libmvec.so.1  (manylinux_2_17, auditwheel 99.1)",
    ]
    assert (checkout / FILE.relative_to(ROOT)).read_text("utf-8") == TEXT
    assert run_script(checkout, auditwheel) == (0, "", "")
    assert run_script(checkout, auditwheel, "--check") == (0, "", "")


def test_the_script_refuses_other_arguments(checkout: Path, auditwheel: Path) -> None:
    code, output, error = run_script(checkout, auditwheel, "--write")

    assert (code, output) == (2, "")
    assert "scripts/shared-libraries --check" in error
    assert (checkout / FILE.relative_to(ROOT)).read_text("utf-8") == TEXT


def test_the_script_needs_auditwheel(checkout: Path, tmp_path: Path) -> None:
    code, output, error = run_script(checkout, tmp_path)

    assert (code, output) == (2, "")
    assert error.startswith("auditwheel is not installed")


@pytest.mark.online
def test_the_lists_are_those_of_the_release_of_auditwheel(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*argv, "--target", str(tmp_path), f"auditwheel=={AUDITWHEEL}"], check=True, timeout=300)

    assert run_script(ROOT, tmp_path, "--check") == (0, "", "")
