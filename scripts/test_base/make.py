"""Build a stand-in for a prebuilt inference image of Azure ML, as an archive for `docker load`.

Debian's packages (runit, nginx) are installed from apt's own sources, Python is a copy of the host's,
and the inference server is installed from the index that pip is configured for. The files of `rootfs`
are copied last. An existing output that was built from the same inputs is not built again.
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
EPOCH = 315532800  # 1980-01-01, the earliest time in a zip
TAG = "bundler-test-base:py37"
ENVIRONMENT = "/azureml-envs/minimal"
USER = "dockeruser"
NEEDED = ("mmdebstrap", "dpkg", "apt-config", "ldd", "chroot")
PACKAGES = ("runit", "nginx", "libstdc++6")
# Merge /usr at the start: the package usrmerge, which does it later, depends on all of Perl.
HOOKS = Path("/usr/share/mmdebstrap/hooks/merged-usr")

# Directories of the image, and those that belong to its user.
MADE = ("opt/miniconda", "var/azureml-app", "var/azureml-server", "var/azureml-logger", "var/azureml-util")
OWNED = ("var/runit", "var/log", "var/lib/nginx", "run", "opt/miniconda", "var/azureml-app")

UNPACKED_NEVER = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
# Files that differ between hosts or between runs.
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
# Parts of Python that a server does not need, and the distributions installed on the host.
LEFT_OUT = ("__pycache__", "site-packages", "test", "tests", "idle_test", "idlelib", "tkinter", "turtledemo")
LEFT_OUT_FILES = ("config-3*", "_tkinter*.so", "_ctypes_test*.so", "_testcapi*.so")

# Settings of apt for the connection to a mirror.
REACHED_BY = re.compile(r"Acquire::(https?|Retries|Check-Valid-Until|Check-Date|ForceIPv[46])\b.*")
# Variables of an active Python, conda or virtual environment do not reach child processes.
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


class Unable(Exception):  # noqa: N818  (its text is printed for the user)
    """The image cannot be built: a missing program, or a command that failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The Python to copy."""

    program: Path
    prefix: Path
    stdlib: Path
    libraries: tuple[Path, ...]
    """Its own shared objects (`libpython`), in the directory above the standard library."""

    @property
    def version(self) -> str:
        """Return the name of the standard library's directory, "python3.7"."""
        return self.stdlib.name


def main() -> int:
    """Parse the command line, and build the archive unless it is up to date."""
    parser = argparse.ArgumentParser(prog="make-test-base", description=__doc__)
    parser.add_argument("output", type=Path, help="write this archive")
    parser.add_argument(
        "--python", default="3.7", help="copy this Python, a version or a path (default: %(default)s)"
    )
    arguments = parser.parse_args()
    try:
        make(arguments.output.absolute(), arguments.python)
    except (BundlerError, Unable) as error:
        print(f"make-test-base: error: {error}", file=sys.stderr)
        return 1
    return 0


def make(output: Path, wanted: str) -> None:
    """Write the archive, or keep it if it was built from the same inputs."""
    check_machine()
    with tempfile.TemporaryDirectory() as probed:
        source = read_source(find_interpreter(wanted, read_host_environment(), Path(probed)).python)
    release = read_release()
    inputs = digest_inputs(source, release)
    if read_inputs(output) == inputs:
        say(f"{output.name} already exists, built from the same inputs")
    else:
        build(output, source, release, inputs)
    say(f"{output.name}: {output.stat().st_size / 1e6:.0f} MB, `docker load` names it {TAG}")


def build(output: Path, source: Source, release: dict[str, str], inputs: str) -> None:
    """Build the image, and write its archive."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".make-test-base-") as folder:
        scratch = Path(folder)
        scratch.chmod(0o755)  # apt downloads as its own user, `_apt`
        root = scratch / "root"
        with ThreadPoolExecutor() as pool:
            wheels = pool.submit(build_wheels, source, scratch)
            pool.submit(bootstrap, source, release, root, PACKAGES).result()
            copy_python(source, root)
            fill(root, source, wheels.result())
        say("writing the archive")
        write_archive(root, inputs, scratch / "archive.tar")
        (scratch / "archive.tar").replace(output)


def check_machine() -> None:
    """Check that this host can build the image.

    :raises Unable: with all problems, if there are any.
    """
    problems = []
    if os.geteuid() != 0:
        problems.append("root is required, to create a root file system with the owners of its files")
    if not Path("/etc/debian_version").exists():
        problems.append("Debian is required (tested: 12): its packages and libraries are copied")
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if absent:
        problems.append(f"not on PATH: {', '.join(absent)} (apt-get install -y mmdebstrap)")
    if problems:
        raise Unable("; ".join(problems))


def read_source(program: Path) -> Source:
    """Query the paths of a Python's parts."""
    code = "import sys, sysconfig; print(sys.base_prefix); print(sysconfig.get_path('stdlib'))"
    prefix, stdlib = map(Path, run([program, "-I", "-c", code]).splitlines())
    libraries = sorted(path for path in (prefix / "lib").glob("libpython*.so*"))
    return Source(program=program, prefix=prefix, stdlib=stdlib, libraries=tuple(libraries))


def read_release() -> dict[str, str]:
    """Return the fields of /etc/os-release."""
    lines = Path("/etc/os-release").read_text("utf-8").splitlines()
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {name: value.strip('"') for name, value in pairs}


def digest_inputs(source: Source, release: dict[str, str]) -> str:
    """Return the digest of all inputs of the image, except the versions of Debian's packages."""
    digest = hashlib.sha256(f"{release['VERSION_CODENAME']} {source.prefix}".encode())
    own = sorted(path for path in HERE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    for path in (*own, source.program.resolve(), *source.libraries):
        content = path.read_bytes()
        digest.update(f"\0{path.name} {path.stat().st_mode & 0o100} {len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def read_inputs(output: Path) -> str | None:
    """Return the digest of the inputs that an archive was built from; None without a readable archive."""
    try:
        with tarfile.open(output) as archive:
            (manifest,) = json.load(member(archive, "manifest.json"))
            comment = json.load(member(archive, manifest["Config"]))["history"][0]["comment"]
            return str(comment).removeprefix("inputs sha256:")
    except (OSError, tarfile.TarError, ValueError, LookupError):
        return None


def member(archive: tarfile.TarFile, name: str) -> Any:
    """Open one of the first members, without reading to the end of the archive."""
    for entry in archive:
        if entry.name == name:
            return archive.extractfile(entry)
    raise KeyError(name)


def build_wheels(source: Source, scratch: Path) -> Path:
    """Download the server and its dependencies as wheels, and build those that have none."""
    say("downloading the inference server")
    wheels = scratch / "wheels"
    run([source.program, "-I", "-m", "venv", scratch / "venv"])
    pip = [str(scratch / "venv/bin/python"), "-m", "pip", "-qq", "--disable-pip-version-check"]
    # By PEP 517, pip fetches the tools of a build; the environment of `venv` contains no `wheel`.
    run([*pip, "wheel", "--use-pep517", "--no-deps", "--wheel-dir", wheels, "-r", HERE / "server.txt"])
    return wheels


def bootstrap(source: Source, release: dict[str, str], root: Path, packages: Sequence[str]) -> None:
    """Unpack and configure Debian's packages, these and those that Python is linked with."""
    say("unpacking Debian's packages")
    codename = release["VERSION_CODENAME"]
    packages = sorted({*packages, *owners(needed_libraries(source))})
    options = [f"--hook-dir={HOOKS}", *(f"--dpkgopt=path-exclude={pattern}" for pattern in UNPACKED_NEVER)]
    settings = run(["apt-config", "dump"]).splitlines()
    options += [f"--aptopt={line}" for line in settings if REACHED_BY.match(line)]
    options += ["--quiet", "--mode=root", "--variant=minbase", "--format=directory"]
    include = f"--include={','.join(packages)}"
    run(["mmdebstrap", *options, include, codename, root, *apt_sources(codename)])


def apt_sources(codename: str) -> list[Path]:
    """Return apt's source lists that name this release of Debian."""
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
        raise Unable(f"no source list in /etc/apt names `{codename}`")
    return found


def kept_objects(source: Source) -> Iterator[Path]:
    """Yield the program and the shared objects of the image."""
    yield source.program
    yield from source.libraries
    for path in sorted((source.stdlib / "lib-dynload").glob("*.so")):
        if not any(path.match(pattern) for pattern in LEFT_OUT_FILES):
            yield path


def needed_libraries(source: Source) -> list[Path]:
    """Return the host's libraries that this Python is linked with."""
    found = set()
    for line in run(["ldd", *kept_objects(source)]).splitlines():
        _, arrow, rest = line.partition(" => ")
        path = Path(rest.partition(" (")[0].strip())
        if arrow and path.is_absolute() and not path.is_relative_to(source.prefix):
            found.add(path)
    return sorted(found)


def owners(libraries: Sequence[Path]) -> Iterator[str]:
    """Yield the Debian packages that own these files.

    :raises Unable: if a file is not part of a package; it would be missing in the image.
    """
    for library in libraries:
        # /lib is a link to /usr/lib; dpkg lists a file under the path in its package.
        names = {str(library), str(library).removeprefix("/usr"), f"/usr{library}", str(library.resolve())}
        argv = ["dpkg", "-S", *sorted(names)]
        ended = subprocess.run(
            argv, capture_output=True, text=True, check=False
        )  # 1 if any of the paths is unknown
        if not ended.stdout:
            raise Unable(f"{library}, a library of this Python, is not part of a Debian package")
        yield ended.stdout.partition(":")[0]


def copy_python(source: Source, root: Path) -> None:
    """Copy Python to its place in the images, without the distributions installed on the host."""
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
    conf = root / "etc/ld.so.conf.d/minimal.conf"
    conf.write_text(f"{ENVIRONMENT}/lib\n", "utf-8")
    run_inside(root, "ldconfig")


def fill(root: Path, source: Source, wheels: Path) -> None:
    """Install the server, copy `rootfs`, create the user and its directories."""
    say("installing the inference server")
    python = f"{ENVIRONMENT}/bin/python"
    shutil.copytree(wheels, root / "mnt/wheels")
    shutil.copy(HERE / "server.txt", root / "mnt/wheels")
    run_inside(root, python, "-m", "ensurepip", "--default-pip")
    pip = (python, "-m", "pip", "-qq", "--no-cache-dir", "--disable-pip-version-check")
    install = ("install", "--no-compile", "--no-index", "--no-deps", "--find-links=/mnt/wheels")
    run_inside(root, *pip, *install, "-r", "/mnt/wheels/server.txt")
    run_inside(root, *pip, "check")
    shutil.rmtree(root / "mnt/wheels")
    # All times become equal below: timestamp-based bytecode would be compiled again at every start.
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
    """Copy files into the root file system, with modes that do not depend on the umask."""
    for path in sorted(folder.rglob("*")):
        to = root / path.relative_to(folder)
        if path.is_dir():
            to.mkdir(exist_ok=True)
        else:
            shutil.copyfile(path, to)
            to.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def inside(root: Path, path: str) -> Path:
    """Return the path on the host of a path in the image."""
    return root / path.removeprefix("/")


def write_archive(root: Path, inputs: str, output: Path) -> None:
    """Write the root file system as an image of one layer, in the format of `docker save`."""
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
    """Return a reproducible header of a file: no owner names, a fixed time."""
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
    """Yield the paths of the layer, sorted, without the contents of /dev, /proc, /sys and /tmp."""
    for path in sorted(root.iterdir()):
        if path.is_symlink() or not path.is_dir():
            yield path
            continue
        yield path
        if path.name not in {"dev", "proc", "sys", "tmp"}:
            yield from sorted(path.rglob("*"))


def child_env() -> dict[str, str]:
    """Return this environment without the variables that change the Python of a child."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
    return {**kept, "SOURCE_DATE_EPOCH": str(EPOCH), "LC_ALL": "C.UTF-8"}


def inside_env() -> dict[str, str]:
    """Return the environment of a program of the image, which contains nothing of this one."""
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "SOURCE_DATE_EPOCH": str(EPOCH), "PYTHONHASHSEED": "0", "HOME": "/root"}


def run(argv: Sequence[str | Path], env: dict[str, str] | None = None) -> str:
    """Return the stdout of a child.

    :raises Unable: if it fails, with the last lines of its output.
    """
    ended = subprocess.run(argv, check=False, env=env or child_env(), capture_output=True, text=True)
    if ended.returncode != 0:
        last_lines = "\n".join((ended.stdout + ended.stderr).splitlines()[-15:])
        raise Unable(f"`{' '.join(map(str, argv[:4]))}` exited with {ended.returncode}\n{last_lines}")
    return ended.stdout


def run_inside(root: Path, *argv: str) -> None:
    """Run a program of the image."""
    run(["chroot", root, *argv], inside_env())


def say(text: str) -> None:
    """Report progress on stderr."""
    print(f"make-test-base: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
