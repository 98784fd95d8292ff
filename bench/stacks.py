"""Compare the verdicts of bundler about stacks with the imports of the unpacked bundles.

For each stack of `stacks.toml`: build it, unpack the bundle with tar, and import what its user imports in a
fresh process that has PATH, HOME and PYTHONPATH, over the base that the stack names. If bundler refuses the
stack, pip installs the same lock into a directory, and the imports run there. A refusal is false if they
succeed, an acceptance is false if they fail. Results are kept in the directory `--work`, by the text of the
stack and the digest of bundler's sources, so that a run that was ended goes on where it was.
"""
# ruff: noqa: INP001, T201

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts"), str(ROOT / "tests")]

from stack_list import Base, Result, Results, Stack, StackList, Truth, Verdict, read_list  # noqa: E402
from stack_page import page  # noqa: E402
from support.wheels import make_wheel  # noqa: E402
from test_base import make as test_base  # noqa: E402

from bundler import __version__  # noqa: E402
from bundler.errors import BundlerError  # noqa: E402
from bundler.system.environ import read_host_environment  # noqa: E402
from bundler.target.interpreter import find_interpreter  # noqa: E402

PIP = "24.0"  # the last for Python 3.7
BUILD_SECONDS, IMPORT_SECONDS = 3600, 300
NETWORK_ERROR = 9  # the exit code of bundler: no verdict
NOT_ENTERED = 99  # the exit code of the script below if it cannot mount
SIGNALED = 128  # a shell adds the number of the signal
SHOWN = 300
END = "all imports succeeded"
SYSTEM_PATH = "PATH=/usr/local/bin:/usr/bin:/bin"  # a container has one, and decord reads it
ERROR = re.compile(r"(\w+\.)*\w*(Error|Exception|Warning)\b")
# Variables of an active environment do not reach the tools.
DROPPED = ("PYTHON", "CONDA", "VIRTUAL_ENV", "LD_", "BUNDLER_")
# Run a program in a root filesystem: $1 is mounted at /mnt of $2. The mounts end with their namespace.
ENTER = """
mount --bind "$1" "$2/mnt" && mount -t proc proc "$2/proc" && mount --rbind /dev "$2/dev" || exit 99
root=$2; shift 2; exec chroot "$root" "$@"
"""


@dataclass(frozen=True, slots=True)
class Entered:
    """A base that is ready: the option for bundler, and its Python."""

    option: tuple[str, ...]
    python: str
    root: Path | None = None


class StackError(Exception):
    """A stack cannot be measured: a missing interpreter or program, or no network."""


def version_of_sources() -> str:
    """Return the version of bundler and the digest of its sources."""
    content = hashlib.sha256()
    for path in sorted((ROOT / "bundler").rglob("*")):
        if path.suffix in {".py", ".toml", ".json"}:
            content.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return f"{__version__}, sources {content.hexdigest()[:12]}"


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the signal that ended a child, or the last line of its output that names an error."""
    if done.returncode < 0 or done.returncode > SIGNALED:
        return signal.Signals(-done.returncode if done.returncode < 0 else done.returncode - SIGNALED).name
    lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
    line = next((line for line in reversed(lines) if ERROR.match(line)), lines[-1] if lines else "")
    return re.sub(r"(?<![\w:/.])/(?:[^\s/'\":]+/)+", "", line)[:SHOWN]


class Bench:
    """The tools, the bases and the directories of a run."""

    def __init__(self, work: Path, store: Path, given: StackList) -> None:
        self.work, self.store, self.given = work, store, given
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
        self.env["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
        self.version = version_of_sources()
        self._pythons: dict[str, str] = {}
        work.mkdir(parents=True, exist_ok=True)

    def run(self, *argv: object, seconds: int = BUILD_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run a tool in the user's environment; a timeout is an error of the stack's measurement."""
        try:
            return subprocess.run(
                [str(part) for part in argv],
                env=self.env,
                cwd=self.work,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise StackError(f"`{argv[0]}` did not end within {seconds} s") from error

    def require(self, *argv: object) -> str:
        """Run a tool that must succeed, and return its output."""
        done = self.run(*argv)
        if done.returncode:
            raise StackError(f"`{' '.join(map(str, argv[:5]))}` failed: {last_line(done)}")
        return done.stdout

    def interpreter(self, version: str) -> str:
        """Return the path of a Python on this host."""
        if version not in self._pythons:
            with tempfile.TemporaryDirectory() as scratch:
                try:
                    found = find_interpreter(version, read_host_environment(), Path(scratch))
                except BundlerError as error:
                    raise StackError(str(error)) from error
            self._pythons[version] = str(found.python)
        return self._pythons[version]

    def venv(self, name: str, version: str, *requires: str, pip: bool = False) -> Path:
        """Return the Python of a virtual environment with these distributions, created at the first call."""
        folder = self.work / f"{name}-{version}"
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            options = () if pip else ("--without-pip",)
            self.require(self.interpreter(version), "-I", "-m", "venv", *options, folder)
            if pip:
                self.require(folder / "bin/python", "-m", "pip", "install", "-q", *requires)
            elif requires:
                at = ("--python", folder / "bin/python")
                self.require(*self.pip(version), *at, "install", "-q", *requires)
            (folder / "done").touch()
        return folder / "bin/python"

    def pip(self, version: str) -> tuple[object, ...]:
        """Return the command of a pip that runs on this Python."""
        return (self.venv("pip", version, f"pip=={PIP}", pip=True), "-m", "pip")

    def links(self, stack: Stack) -> tuple[str, ...]:
        """Return the option for a stack that requires wheels of the list, which are made at every call."""
        wheels = [wheel for wheel in self.given.wheel if wheel.name in stack.requires]
        if not wheels:
            return ()
        folder = self.work / "links"
        for wheel in wheels:
            files: dict[str, str | bytes] = dict(wheel.files)
            for path, symbol_version in wheel.objects.items():
                files[path] = self._shared_object(stack.python, symbol_version)
            short = stack.python.replace(".", "")
            tag = f"cp{short}-cp{short}m-linux_x86_64" if wheel.objects else "py3-none-any"
            pure = not wheel.objects
            make_wheel(folder, wheel.name, "1.0", files, tag=tag, purelib=pure)
        return ("-f", str(folder))

    def _shared_object(self, version: str, symbol_version: str) -> bytes:
        """Return a shared object of the standard library, in which a symbol version is replaced."""
        code = "import _struct, pathlib; print(pathlib.Path(_struct.__file__).parent)"
        folder = Path(self.require(self.interpreter(version), "-I", "-c", code).strip())
        needed = b"\0GLIBC_2.2.5\0"
        contents = (path.read_bytes() for path in sorted(folder.glob("*.so")))
        content = next(content for content in contents if needed in content)
        return content.replace(needed, f"\0{symbol_version}\0".encode()) if symbol_version else content

    def enter(self, stack: Stack) -> Entered:
        """Return the base of a stack, created at the first call."""
        if not stack.base:
            return Entered((), str(self.venv("empty", stack.python)))
        base = self.given.bases[stack.base]
        if base.packages:
            root = self._root_filesystem(base, stack.python)
            return Entered(("--base", str(root)), f"{test_base.ENVIRONMENT}/bin/python", root)
        python = self.venv(f"base-{base.name}", stack.python, *base.requires)
        profile = python.with_name("profile.json")
        profile.write_text(self.require(*BUNDLER, "profile", "--python", python), "utf-8")
        return Entered(("--base", str(profile)), str(python))

    def _root_filesystem(self, base: Base, version: str) -> Path:
        """Return a root filesystem of Debian with a copy of this Python."""
        root = self.work / f"root-{base.name}-{version}"
        stamp = root.with_suffix(f"{root.suffix}.done")
        if not stamp.exists():
            shutil.rmtree(root, ignore_errors=True)
            try:
                test_base.check_machine()
                source = test_base.read_source(Path(self.interpreter(version)))
                test_base.bootstrap(source, test_base.read_release(), root, base.packages)
                test_base.copy_python(source, root)
            except test_base.Unable as error:
                raise StackError(str(error)) from error
            stamp.touch()
        return root


BUNDLER = (sys.executable, "-m", "bundler")


def measure(bench: Bench, stack: Stack, results: Results) -> Result:
    """Build a stack, import its modules, and remove the files of both."""
    base = bench.enter(stack)
    with tempfile.TemporaryDirectory(dir=bench.work, prefix="stack-") as name:
        folder = Path(name)
        wanted = write_inputs(bench, stack, folder)
        verdict, bundle = build(bench, stack, base, wanted, folder)
        if bundle:
            tree = folder / "tree"
            tree.mkdir()
            bench.require("tar", "-xzf", bundle, "-C", tree, "--strip-components=1")
            bundle.unlink()
            truth = import_all(bench, stack, base, tree, f"lib/python{stack.python}/site-packages")
        else:
            truth = truth_by_pip(bench, stack, base, wanted, results)
    return Result(verdict, truth, f"{datetime.now(UTC):%Y-%m-%d}")


def write_inputs(bench: Bench, stack: Stack, folder: Path) -> list[str]:
    """Write the files that bundler reads, and return its arguments."""
    if stack.conda:
        (folder / "env.yml").write_text(stack.conda, "utf-8")
        return ["-r", str(folder / "env.yml")]
    if not stack.frozen:
        return [*stack.requires, *bench.links(stack)]
    report, frozen = folder / "report.json", folder / "requirements.txt"
    dry_run = ("install", "-q", "--dry-run", "--ignore-installed", "--report", report)
    bench.require(*bench.pip(stack.python), *dry_run, *stack.requires)
    chosen = (item["metadata"] for item in json.loads(report.read_text("utf-8"))["install"])
    lines = sorted(f"{item['name']}=={item['version']}\n" for item in chosen)
    frozen.write_text("".join(lines), "utf-8")
    return ["-r", str(frozen)]


def build(
    bench: Bench, stack: Stack, base: Entered, wanted: Sequence[str], folder: Path
) -> tuple[Verdict, Path | None]:
    """Return the verdict of bundler, and the bundle if it accepts the stack.

    :raises StackError: if the index cannot be reached, or bundler ends without a result.
    """
    options = [*base.option, *stack.options]
    if stack.entry:
        code = folder / "code"
        code.mkdir()
        functions = "def init():\n    pass\n\n\ndef run(data):\n    return data\n"
        (code / "score.py").write_text(f"{stack.check}\n\n\n{functions}", "utf-8")
        options += ["--source-dir", str(code), "--entry-script", "score.py"]
    start = time.monotonic()
    where = ("--python", bench.interpreter(stack.python), "--store", bench.store, "-o", folder / "dist")
    done = bench.run(*BUNDLER, "build", *wanted, *options, *where, "--json", "--name", "stack")
    seconds = round(time.monotonic() - start, 1)
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        raise StackError(f"bundler ended with {done.returncode}: {last_line(done)}") from error
    if done.returncode == NETWORK_ERROR:
        raise StackError(answer["error"]["message"])
    if answer["ok"]:
        findings = answer["result"]["verification"]["findings"]
        codes = sorted({item["code"] for item in findings if item["severity"] == "warning"})
        verdict = Verdict(accepted=True, exit_code=0, codes=tuple(codes), seconds=seconds)
        return verdict, Path(answer["result"]["path"])
    failure = answer["error"]
    errors = [item for item in failure.get("facts", {}).get("findings", ()) if item["severity"] == "error"]
    lines = [f"{item['code']}  {item['message']}" for item in errors]
    lines = lines or [failure["message"], *failure.get("evidence", ())]
    verdict = Verdict(
        accepted=False,
        exit_code=done.returncode,
        codes=tuple(sorted({item["code"] for item in errors})),
        messages=tuple(line[:SHOWN] for line in lines[:9]),
        seconds=seconds,
    )
    return verdict, None


def truth_by_pip(bench: Bench, stack: Stack, base: Entered, wanted: Sequence[str], results: Results) -> Truth:
    """Install the lock of a stack that bundler refuses with pip, and import its modules from there."""
    with tempfile.TemporaryDirectory(dir=bench.work, prefix="pip-") as name:
        folder = Path(name)
        pins = locked(bench, stack, wanted, folder / "pylock.toml") or stack.requires
        key = bench.given.key(stack, pins)
        if key in results.truths:
            return results.truths[key]
        tree, requirements = folder / "tree", folder / "requirements.txt"
        requirements.write_text("".join(f"{line}\n" for line in pins), "utf-8")
        tree.mkdir()
        options = (*bench.links(stack), *(("--prefer-binary",) if pins is stack.requires else ("--no-deps",)))
        install = ("install", "-q", "--no-compile", "--target", tree, "-r", requirements)
        done = bench.run(*bench.pip(stack.python), *install, *options)
        if done.returncode:
            return Truth(works=False, tree="pip", line=f"pip: {last_line(done)}")
        truth = msgspec.structs.replace(import_all(bench, stack, base, tree, "."), tree="pip")
        results.truths[key] = truth
        return truth


def locked(bench: Bench, stack: Stack, wanted: Sequence[str], lock: Path) -> tuple[str, ...]:
    """Return the distributions that bundler chooses, as pip's lines with digests; none if it cannot."""
    where = ("--python", bench.interpreter(stack.python), "--store", bench.store, "-o", lock)
    if bench.run(*BUNDLER, "lock", *wanted, *where).returncode:
        return ()
    lines = []
    for package in tomllib.loads(lock.read_text("utf-8"))["packages"]:
        files = [*package.get("wheels", ()), *filter(None, [package.get("sdist"), package.get("archive")])]
        hashes = " ".join(f"--hash=sha256:{item['hashes']['sha256']}" for item in files)
        lines.append(f"{package['name']}=={package['version']} {hashes}")
    return tuple(lines)


def import_all(bench: Bench, stack: Stack, base: Entered, tree: Path, site: str) -> Truth:
    """Run the imports in a fresh process: of its environment, only PYTHONPATH concerns Python."""
    with tempfile.TemporaryDirectory(dir=bench.work, prefix="run-") as scratch:
        script = Path(scratch, "user.py")
        check = bench.given.bases[stack.base].check if stack.base else ""
        script.write_text(f"{check}\n{stack.check}\nprint('\\n{END}')\n", "utf-8")
        place: tuple[object, ...] = ()
        env, program = (f"PYTHONPATH={tree / site}", f"HOME={scratch}"), str(script)
        if base.root:
            (tree / ".main").mkdir()
            shutil.copy(script, tree / ".main")
            place = ("unshare", "--mount", "--pid", "--fork", "sh", "-c", ENTER, "enter", tree, base.root)
            env, program = ("PYTHONPATH=/mnt/" + site, "HOME=/tmp"), "/mnt/.main/user.py"
        argv = (*place, "/usr/bin/env", "-i", SYSTEM_PATH, *env, base.python, "-B", program)
        try:
            done = bench.run(*argv, seconds=IMPORT_SECONDS)
        except StackError:
            return Truth(works=False, tree="bundle", line=f"does not end within {IMPORT_SECONDS} s")
    if base.root and done.returncode == NOT_ENTERED:
        raise StackError(f"cannot enter {base.root}: {last_line(done)}")
    if done.stdout.endswith(f"\n{END}\n") and not done.returncode:
        return Truth(works=True, tree="bundle")
    line = last_line(done) if done.returncode else "ends with 0 before the imports are done"
    return Truth(works=False, tree="bundle", line=line)


def describe(stack: Stack, result: Result) -> str:
    """Return the result in one line."""
    verdict, truth = result.verdict, result.truth
    words = ["accepted" if verdict.accepted else f"refused ({' '.join(verdict.codes) or verdict.exit_code})"]
    words += ["imports" if truth.works else f"fails: {truth.line}"]
    if not result.right:
        words.append("FALSE ACCEPTANCE" if verdict.accepted else "FALSE REFUSAL")
    if truth.works == bool(stack.fails):
        words.append("UNEXPECTED: the list expects otherwise")
    return f"{verdict.seconds:6.1f} s  {stack.name:28} {stack.python:5} {'; '.join(words)}"


class OtherTools:
    """The verdicts of pip check, uv pip check and pex about the same requirements."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        own = f"{sys.version_info.major}.{sys.version_info.minor}"
        self.uv = (bench.venv("uv", own, "uv", pip=True), "-m", "uv", "pip")
        self.pex = (bench.venv("pex", own, "pex", pip=True), "-m", "pex")

    def judge(self, stack: Stack) -> dict[str, Verdict]:
        """Return the verdict of each tool: to install or build, and to check."""
        bench, python = self.bench, self.bench.interpreter(stack.python)
        verdicts = {}
        with tempfile.TemporaryDirectory(dir=bench.work, prefix="tools-") as name:
            folder = Path(name)
            bench.require(python, "-I", "-m", "venv", "--without-pip", folder / "venv")
            at = ("--python", folder / "venv/bin/python")
            links = bench.links(stack)
            install = (*bench.pip(stack.python), *at, "install", "-q", *stack.requires, *links)
            pip_check = (install, (*bench.pip(stack.python), *at, "check"))
            uv_check = (install, (*self.uv, "check", *at))
            where = ("--python", python, "--pip-version", PIP, "--use-pip-config", "-o", folder / "stack.pex")
            pex = ((*self.pex, *stack.requires, *links, *where),)
            commands = {"pip check": pip_check, "uv pip check": uv_check, "pex build": pex}
            for tool, steps in commands.items():
                verdicts[tool] = self._run(steps)
        return verdicts

    def _run(self, steps: Sequence[Sequence[object]]) -> Verdict:
        for argv in steps:
            done = self.bench.run(*argv)
            if done.returncode:
                return Verdict(accepted=False, exit_code=done.returncode, messages=(last_line(done),))
        return Verdict(accepted=True, exit_code=0)


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="stacks", description=__doc__)
    add = parser.add_argument
    add("--list", type=Path, default=HERE / "stacks.toml", metavar="FILE", help="read this list of stacks")
    add("--work", type=Path, default=ROOT / "build/stacks", metavar="DIR", help="keep results and bases here")
    add("--store", type=Path, metavar="DIR", help="use this store of bundler [default: in --work]")
    add("--small", action="store_true", help="measure the small stacks only")
    add("--only", action="append", metavar="NAME", help="measure this stack only")
    add("--again", action="store_true", help="measure stacks that have a result, too")
    add("--compare", action="store_true", help="collect the verdicts of pip, uv and pex, too")
    add("--page", type=Path, metavar="FILE", help="write the results as a page")
    return parser.parse_args()


class Run:
    """The stacks that the options select, and the results, which are written after each stack."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.given = options, read_list(options.list)
        work = options.work.absolute()
        self.bench = Bench(work, (options.store or work / "store").absolute(), self.given)
        self.kept = work / "results.json"
        self.lock = (work / "lock").open("w", encoding="utf-8")
        fcntl.flock(self.lock, fcntl.LOCK_EX)  # a second run waits
        self.results = Results()
        if self.kept.exists():
            self.results = msgspec.json.decode(self.kept.read_bytes(), type=Results)
        self.tools = OtherTools(self.bench) if options.compare else None

    def selected(self) -> list[Stack]:
        """Return the stacks to measure, big ones last."""
        only, small = self.options.only, self.options.small
        return [
            stack
            for stack in self.given.stack
            if (not only or stack.name in only) and (not small or stack.size == "small")
        ]

    def key(self, stack: Stack) -> str:
        """Return the digest that a result is stored by."""
        return self.given.key(stack, self.bench.version)

    def measure(self, stack: Stack) -> None:
        """Measure a stack unless its results exist.

        :raises StackError: if it cannot be measured.
        """
        results, key, again = self.results, self.key(stack), self.options.again
        if again or key not in results.results:
            results.results[key] = measure(self.bench, stack, results)
            self.write()
        key = self.given.key(stack)
        if self.tools and (again or key not in results.tools):
            results.tools[key] = self.tools.judge(stack)
            self.write()

    def write(self) -> None:
        """Replace the file of results."""
        new = self.kept.with_suffix(".new")
        new.write_bytes(msgspec.json.format(msgspec.json.encode(self.results), indent=1))
        new.replace(self.kept)

    def measured(self) -> dict[Stack, Result]:
        """Return the results of this version of bundler."""
        keys = {stack: self.key(stack) for stack in self.given.stack}
        return {
            stack: self.results.results[key] for stack, key in keys.items() if key in self.results.results
        }

    def compared(self) -> dict[Stack, dict[str, Verdict]]:
        """Return the verdicts of the other tools."""
        keys = {stack: self.given.key(stack) for stack in self.given.stack}
        return {stack: self.results.tools[key] for stack, key in keys.items() if key in self.results.tools}


def main() -> int:
    """Measure the selected stacks one after the other, and write the page."""
    run = Run(arguments())
    selected, unmeasured = run.selected(), 0
    for stack in selected:
        try:
            run.measure(stack)
        except (StackError, OSError) as error:
            print(f"not measured: {stack.name}: {error}", file=sys.stderr, flush=True)
            unmeasured += 1
        else:
            print(describe(stack, run.measured()[stack]), flush=True)
    measured = run.measured()
    false = [stack for stack in selected if stack in measured and not measured[stack].right]
    if run.options.page:
        run.options.page.write_text(page(run.given, measured, run.compared(), run.bench.version), "utf-8")
    counts = f"{len(false)} false, {unmeasured} not measured"
    print(f"{len(selected) - len(false) - unmeasured} of {len(selected)} verdicts are right, {counts}")
    # A host of CI may lack a Python of the list.
    incomplete = bool(unmeasured) and not run.options.small
    return int(incomplete or any(not stack.note for stack in false))


if __name__ == "__main__":
    sys.exit(main())
