"""Make a stand-in for a prebuilt inference image of Azure ML, as an archive for `docker load`.

Debian's packages (runit, nginx) come through apt's own sources, Python is a copy of the machine's own,
and the inference server comes from the index that pip is set up for. `rootfs` lies over all that.
An output made from the same inputs before is left as it is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from bundler.errors import BundlerError
from bundler.system.environ import read_host_environment
from bundler.target.interpreter import find_interpreter

HERE = Path(__file__).parent
EPOCH = 315532800  # 1980-01-01, where a zip's time starts
TAG = "bundler-test-base:py37"
ENVIRONMENT = "/azureml-envs/minimal"
USER = "dockeruser"
NEEDED = ("mmdebstrap", "dpkg", "apt-config", "ldd", "chroot")
PACKAGES = ("runit", "nginx", "libstdc++6")
# Merges /usr from the start; else a package that does it later would bring all of Perl.
HOOKS = Path("/usr/share/mmdebstrap/hooks/merged-usr")

# Folders of the image, and those of them that belong to its user.
MADE = ("opt/miniconda", "var/azureml-app", "var/azureml-server", "var/azureml-logger", "var/azureml-util")
OWNED = ("var/runit", "var/log", "var/lib/nginx", "run", "opt/miniconda", "var/azureml-app")

UNPACKED_NEVER = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
# What differs from machine to machine or from run to run.
REMOVED = (
    "etc/apt/sources.list",
    "etc/apt/sources.list.d/*",
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/hostname",
    "etc/resolv.conf",
    "etc/*-",
    "var/cache/*",
    "var/lib/apt/lists/*",
    "var/lib/dpkg/*-old",
    "var/log/*",
)
# Parts of Python that no server needs, and the packages that the machine added.
LEFT_OUT = ("__pycache__", "site-packages", "test", "tests", "idle_test", "idlelib", "tkinter", "turtledemo")
LEFT_OUT_FILES = ("config-3*", "_tkinter*.so", "_ctypes_test*.so", "_testcapi*.so")

# Settings of apt that say how a mirror is reached.
REACHED_BY = re.compile(r"Acquire::(https?|Retries|Check-Valid-Until|Check-Date|ForceIPv[46])\b.*")
# A child has its own Python, whatever is active around it.
DROPPED = ("PYTHON", "CONDA", "VIRTUAL_ENV", "LD_", "SOURCE_DATE_EPOCH")

CONFIG = {
    "User": USER,
    "ExposedPorts": {"5001/tcp": {}},
    "Env": [
        f"PATH={ENVIRONMENT}/bin:/opt/miniconda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG=C.UTF-8",
        "SVDIR=/var/runit",
        "AML_APP_ROOT=/var/azureml-app",
        f"AZUREML_CONDA_ENVIRONMENT_PATH={ENVIRONMENT}",
        "AZUREML_INFERENCE_SERVER_HTTP_ENABLED=True",
    ],
    "Cmd": ["runsvdir", "/var/runit"],
}


class Unable(Exception):  # noqa: N818  (a sentence for who ran the script)
    """What is missing, or what failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The Python that is copied."""

    program: Path
    prefix: Path
    stdlib: Path
    libraries: tuple[Path, ...]
    """Shared objects of its own, beside its standard library."""

    @property
    def version(self) -> str:
        """Return the name of the standard library's folder, "python3.7"."""
        return self.stdlib.name


def main() -> int:
    """Parse the command line, and make the archive unless it is there."""
    parser = argparse.ArgumentParser(prog="make-test-base", description=__doc__)
    parser.add_argument("output", type=Path, help="the archive to write")
    parser.add_argument("--python", default="3.7", help="a version or a path (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        make(arguments.output.absolute(), arguments.python)
    except (BundlerError, Unable) as error:
        print(f"make-test-base: error: {error}", file=sys.stderr)
        return 1
    return 0


def make(output: Path, wanted: str) -> None:
    """Write the archive, or leave it if it has been made from these inputs."""
    check_machine()
    with tempfile.TemporaryDirectory() as probed:
        source = read_source(find_interpreter(wanted, read_host_environment(), Path(probed)).python)
    release = read_release()
    inputs = digest_inputs(source, release)
    if read_inputs(output) == inputs:
        say(f"{output.name} is there, made from the same inputs")
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".make-test-base-") as folder:
        scratch = Path(folder)
        scratch.chmod(0o755)  # apt downloads as a user of its own
        root = scratch / "root"
        with ThreadPoolExecutor() as pool:
            wheels = pool.submit(build_wheels, source, scratch)
            pool.submit(bootstrap, source, release, root).result()
            copy_python(source, root)
            fill(root, source, wheels.result())
        say("writing the archive")
        write_archive(root, inputs, scratch / "archive.tar")
        (scratch / "archive.tar").replace(output)
    say(f"{output.name}: {output.stat().st_size / 1e6:.0f} MB, `docker load` names it {TAG}")


def check_machine() -> None:
    """Say all that is missing at once.

    :raises Unable: if anything is.
    """
    problems = []
    if os.geteuid() != 0:
        problems.append(
            "it must run as root (it makes a root filesystem with the owners that files have there)"
        )
    if not Path("/etc/debian_version").exists():
        problems.append("the machine must be Debian (tried: 12), whose packages and libraries it takes")
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if absent:
        problems.append(f"not on PATH: {', '.join(absent)} (apt-get install -y mmdebstrap)")
    if problems:
        raise Unable("; ".join(problems))


def read_source(program: Path) -> Source:
    """Ask the Python where its parts lie."""
    code = "import sys, sysconfig; print(sys.base_prefix); print(sysconfig.get_path('stdlib'))"
    prefix, stdlib = map(Path, run([program, "-I", "-c", code]).splitlines())
    libraries = sorted(path for path in (prefix / "lib").glob("libpython*.so*"))
    return Source(program=program, prefix=prefix, stdlib=stdlib, libraries=tuple(libraries))


def read_release() -> dict[str, str]:
    """Return what /etc/os-release says."""
    lines = Path("/etc/os-release").read_text("utf-8").splitlines()
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {name: value.strip('"') for name, value in pairs}


def digest_inputs(source: Source, release: dict[str, str]) -> str:
    """Return the digest of all that decides what the image holds, but for the newest packages of Debian."""
    digest = hashlib.sha256(f"{release['VERSION_CODENAME']} {source.prefix}".encode())
    own = sorted(path for path in HERE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    for path in (*own, source.program.resolve(), *source.libraries):
        content = path.read_bytes()
        digest.update(f"\0{path.name} {path.stat().st_mode & 0o100} {len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def read_inputs(output: Path) -> str | None:
    """Return the digest of the inputs that an archive was made from; None if there is none."""
    try:
        with tarfile.open(output) as archive:
            (manifest,) = json.load(member(archive, "manifest.json"))
            comment = json.load(member(archive, manifest["Config"]))["history"][0]["comment"]
            return str(comment).removeprefix("inputs sha256:")
    except (OSError, tarfile.TarError, ValueError, LookupError):
        return None


def member(archive: tarfile.TarFile, name: str) -> Any:
    """Open one of the first members, without reading to the archive's end."""
    for entry in archive:
        if entry.name == name:
            return archive.extractfile(entry)
    raise KeyError(name)


def build_wheels(source: Source, scratch: Path) -> Path:
    """Fetch the server and what it needs as wheels; those that have none are built."""
    say("fetching the inference server")
    wheels = scratch / "wheels"
    run([source.program, "-I", "-m", "venv", scratch / "venv"])
    pip = [str(scratch / "venv/bin/python"), "-m", "pip", "-qq", "--disable-pip-version-check"]
    run([*pip, "wheel", "--no-deps", "--wheel-dir", wheels, "-r", HERE / "server.txt"])
    return wheels


def bootstrap(source: Source, release: dict[str, str], root: Path) -> None:
    """Unpack and set up Debian's packages."""
    say("unpacking Debian's packages")
    codename = release["VERSION_CODENAME"]
    packages = sorted({*PACKAGES, *owners(needed_libraries(source))})
    options = [f"--hook-dir={HOOKS}", *(f"--dpkgopt=path-exclude={pattern}" for pattern in UNPACKED_NEVER)]
    settings = run(["apt-config", "dump"]).splitlines()
    options += [f"--aptopt={line}" for line in settings if REACHED_BY.match(line)]
    options += ["--quiet", "--mode=root", "--variant=minbase", "--format=directory"]
    include = f"--include={','.join(packages)}"
    run(["mmdebstrap", *options, include, codename, root, *apt_sources(codename)])


def apt_sources(codename: str) -> list[Path]:
    """Return apt's own lists of sources that name this release of Debian."""
    folder = Path("/etc/apt")
    lists = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    found = [
        path
        for path in lists
        if path.suffix in {".list", ".sources"}
        and path.is_file()
        and codename in path.read_text("utf-8").split()
    ]
    if not found:
        raise Unable(f"no list of sources in /etc/apt names `{codename}`")
    return found


def kept_objects(source: Source) -> Iterator[Path]:
    """Return the program and the shared objects that go into the image."""
    yield source.program
    yield from source.libraries
    for path in sorted((source.stdlib / "lib-dynload").glob("*.so")):
        if not any(path.match(pattern) for pattern in LEFT_OUT_FILES):
            yield path


def needed_libraries(source: Source) -> list[Path]:
    """Return the machine's libraries that this Python is linked with."""
    found = set()
    for line in run(["ldd", *kept_objects(source)]).splitlines():
        _, arrow, rest = line.partition(" => ")
        path = Path(rest.partition(" (")[0].strip())
        if arrow and path.is_absolute() and not path.is_relative_to(source.prefix):
            found.add(path)
    return sorted(found)


def owners(libraries: Sequence[Path]) -> Iterator[str]:
    """Return the packages that own these files.

    :raises Unable: if one is of no package, as it would be missing in the image.
    """
    for library in libraries:
        # /lib is a link to /usr/lib; dpkg knows a file by the name its package had.
        names = {str(library), str(library).removeprefix("/usr"), f"/usr{library}", str(library.resolve())}
        argv = ["dpkg", "-S", *sorted(names)]
        ended = subprocess.run(
            argv, capture_output=True, text=True, check=False
        )  # 1 where any name is unknown
        if not ended.stdout:
            raise Unable(f"this Python needs {library}, which belongs to no package of Debian")
        yield ended.stdout.partition(":")[0]


def copy_python(source: Source, root: Path) -> None:
    """Copy Python to where the images have it, without the packages installed into it here."""
    environment = inside(root, ENVIRONMENT)
    for folder in ("bin", "lib"):
        (environment / folder).mkdir(parents=True)
    program = environment / "bin" / source.version
    shutil.copyfile(source.program, program)
    program.chmod(0o755)
    for name in ("python", "python3"):
        (environment / "bin" / name).symlink_to(source.version)
    for library in source.libraries:
        shutil.copy(library, environment / "lib", follow_symlinks=False)
    stdlib = environment / "lib" / source.version
    left_out = shutil.ignore_patterns(*LEFT_OUT, *LEFT_OUT_FILES)
    shutil.copytree(source.stdlib, stdlib, symlinks=True, ignore=left_out)
    (stdlib / "site-packages").mkdir()
    for path in stdlib.glob("_sysconfigdata*.py"):
        path.write_text(path.read_text("utf-8").replace(str(source.prefix), ENVIRONMENT), "utf-8")


def fill(root: Path, source: Source, wheels: Path) -> None:
    """Install the server, lay `rootfs` over everything, make the user and give it its folders."""
    say("installing the inference server")
    conf = root / "etc/ld.so.conf.d/minimal.conf"
    conf.write_text(f"{ENVIRONMENT}/lib\n", "utf-8")
    run_inside(root, "ldconfig")
    python = f"{ENVIRONMENT}/bin/python"
    shutil.copytree(wheels, root / "mnt/wheels")
    shutil.copy(HERE / "server.txt", root / "mnt/wheels")
    run_inside(root, python, "-m", "ensurepip", "--default-pip")
    pip = (python, "-m", "pip", "-qq", "--no-cache-dir", "--disable-pip-version-check")
    install = ("install", "--no-compile", "--no-index", "--no-deps", "--find-links=/mnt/wheels")
    run_inside(root, *pip, *install, "-r", "/mnt/wheels/server.txt")
    run_inside(root, *pip, "check")
    shutil.rmtree(root / "mnt/wheels")
    # Times are made equal below, so bytecode that is checked by time would be made anew at every start.
    library = f"{ENVIRONMENT}/lib/{source.version}"
    how = ("--invalidation-mode", "unchecked-hash")
    for cached in inside(root, ENVIRONMENT).rglob("__pycache__"):
        shutil.rmtree(cached)
    run_inside(root, python, "-m", "compileall", "-qq", *how, library)

    lay_over(HERE / "rootfs", root)
    run_inside(root, "useradd", "--create-home", USER)
    for name in MADE:
        (root / name).mkdir(parents=True)
    (root / "var/azureml-app").chmod(0o775)
    for pattern in REMOVED:
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    (root / "var/log/nginx").mkdir()
    run_inside(root, "chown", "-R", f"{USER}:{USER}", *(f"/{name}" for name in OWNED))


def lay_over(folder: Path, root: Path) -> None:
    """Copy files into the root filesystem, with modes that no umask has changed."""
    for path in sorted(folder.rglob("*")):
        to = root / path.relative_to(folder)
        if path.is_dir():
            to.mkdir(exist_ok=True)
        else:
            shutil.copyfile(path, to)
            to.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def inside(root: Path, path: str) -> Path:
    """Return where a path of the image lies."""
    return root / path.removeprefix("/")


def write_archive(root: Path, inputs: str, output: Path) -> None:
    """Write the root filesystem as an image of one layer, as `docker save` would."""
    layer = output.with_name("layer.tar")
    with tarfile.open(layer, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in walk(root):
            entry = archive.gettarinfo(path, str(path.relative_to(root)))
            entry.mtime, entry.uname, entry.gname = EPOCH, "", ""
            with path.open("rb") if entry.isreg() else BytesIO() as content:
                archive.addfile(entry, content)
    with layer.open("rb") as content:
        diff_id = hashlib.file_digest(content, "sha256").hexdigest()
    config = json.dumps(describe(diff_id, inputs), sort_keys=True).encode()
    names = {"Config": f"{hashlib.sha256(config).hexdigest()}.json", "Layers": [f"{diff_id}/layer.tar"]}
    manifest = json.dumps([{**names, "RepoTags": [TAG]}], sort_keys=True).encode()
    with tarfile.open(output, "w", format=tarfile.PAX_FORMAT) as archive, layer.open("rb") as content:
        for name, data in (("manifest.json", manifest), (str(names["Config"]), config)):
            archive.addfile(plain(name, len(data)), BytesIO(data))
        archive.addfile(plain(names["Layers"][0], layer.stat().st_size), content)
    layer.unlink()


def plain(name: str, size: int) -> tarfile.TarInfo:
    """Return the header of a file that is the same whoever writes it."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime = size, EPOCH
    return entry


def describe(diff_id: str, inputs: str) -> dict[str, Any]:
    """Return the image's configuration."""
    created = datetime.fromtimestamp(EPOCH, UTC).isoformat()
    comment = f"inputs sha256:{inputs}"
    return {
        "architecture": run(["dpkg", "--print-architecture"]).strip(),
        "os": "linux",
        "created": created,
        "config": CONFIG,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
        "history": [{"created": created, "created_by": "scripts/make-test-base", "comment": comment}],
    }


def walk(root: Path) -> Iterator[Path]:
    """Return what the layer holds, sorted: no devices, and nothing of the folders that are mounted over."""
    for path in sorted(root.iterdir()):
        if path.is_symlink() or not path.is_dir():
            yield path
            continue
        yield path
        if path.name not in {"dev", "proc", "sys", "tmp"}:
            yield from sorted(path.rglob("*"))


def child_env() -> dict[str, str]:
    """Return this environment without what would lead a child astray."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
    return {**kept, "SOURCE_DATE_EPOCH": str(EPOCH), "LC_ALL": "C.UTF-8"}


def inside_env() -> dict[str, str]:
    """Return what a program of the image sees: nothing of this environment."""
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "SOURCE_DATE_EPOCH": str(EPOCH), "PYTHONHASHSEED": "0", "HOME": "/root"}


def run(argv: Sequence[str | Path], env: dict[str, str] | None = None) -> str:
    """Return what a child prints.

    :raises Unable: if it fails; shows the end of what it said.
    """
    ended = subprocess.run(argv, check=False, env=env or child_env(), capture_output=True, text=True)
    if ended.returncode != 0:
        said = "\n".join((ended.stdout + ended.stderr).splitlines()[-15:])
        raise Unable(f"`{' '.join(map(str, argv[:4]))}` exited with {ended.returncode}\n{said}")
    return ended.stdout


def run_inside(root: Path, *argv: str) -> None:
    """Run a program of the image."""
    run(["chroot", root, *argv], inside_env())


def say(text: str) -> None:
    """Tell who waits."""
    print(f"make-test-base: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
