"""Compare the verdicts of pip, uv, pex and bundler with the behavior of a mounted bundle.

The real tools install each case for the target Python. For the column "in the container", pip installs the
case into a directory, which is mounted by PYTHONPATH over an environment with the Azure ML inference server;
then the modules that each of its workers imports are imported, and the module of the case. Writes a Markdown
table to stdout and the progress to stderr. Requires the dependencies of bundler and an index; all tools use
pip's index settings.
"""
# ruff: noqa: INP001, T201

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.wheels import make_wheel  # noqa: E402

from bundler.system.environ import read_host_environment  # noqa: E402
from bundler.system.process import Completed, run_process  # noqa: E402
from bundler.target.interpreter import Interpreter, find_interpreter  # noqa: E402

PIP = "24.0"  # the last for Python 3.7
SERVER = "azureml-inference-server-http==0.8.4.2"  # the last for Python 3.7
BOOT = "import azureml_inference_server_http.server.entry"
COLUMNS = ("in the container", "pip check", "uv pip check", "pex build", "bundler")
SECONDS, SHOWN = 30, 110
ERROR = r"^(\w+\.)*\w*(Error|Exception)\b"
Argv = Sequence[str | Path]


@dataclass(frozen=True, slots=True)
class Case:
    """One bundle to compare."""

    id: str
    requires: str
    check: str  # Python that the container runs after the imports of the server
    why: str  # the reason of the result in the container
    title: str = ""  # in the table; default: requires
    base: str = ""  # further requirements that the image contains
    large: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict of one tool."""

    ok: bool
    line: str = ""
    exit_code: int = 0
    seconds: float = 0

    def cell(self) -> str:
        """Return the verdict as a cell of the table."""
        text = "passes" if self.ok else "fails"
        return f"{text}: {self.line}".replace("|", "\\|") if self.line else text


GCS = "protobuf==3.20.3 google-cloud-storage==2.10.0"
TWINS = "opencv-python==4.5.5.64 opencv-python-headless==4.5.5.64"
OPENS = "import pathlib; open(pathlib.Path('main.py'))"
ON_PATH = "import case_script, shutil; assert shutil.which('case-script'), 'case-script is not on PATH'"
CASES = (
    Case("enum34", "enum34==1.1.10", "import enum", "hides the stdlib's: Python fails at `import re`"),
    Case("typing", "typing==3.7.4.3", "import typing", "hides the stdlib's"),
    Case("dataclasses", "dataclasses==0.6", "import dataclasses", "uses a name of typing that 3.7 lacks"),
    Case("pathlib", "pathlib==1.0.1", OPENS, "hides the stdlib's: open() does not take its Path"),
    Case("asyncio", "asyncio==3.4.3", "import asyncio", "hides the stdlib's: `async` is a keyword"),
    Case("pydantic-2", "pydantic==2.5.3", "import pydantic", "the server needs pydantic<1.11"),
    Case("twins", TWINS, "import cv2", "each overwrites the other's files; needs libGL or not, by luck"),
    Case("gcs", GCS, "import google.cloud.storage", "works: the directories merge without the nspkg.pth"),
    Case("gcs-over", GCS, "import google.cloud.storage", "works: Python looks again as sys.path grows",
         "the same, over google-api-core with an nspkg.pth", "google-api-core==1.34.0"),
    Case("undeclared", "case-undeclared", "import case_undeclared", "missing", "an undeclared import"),
    Case("pth", "case-pth", "import case_pth", "a mount processes no .pth", "a .pth adds paths (pywin32)"),
    Case("nspkg", "case-ns-a case-ns-b", "import case_ns.a, case_ns.b", "works", "two with nspkg.pth"),
    Case("nspkg-over", "case-ns-b", "import case_ns.b", "works", "one of them over the other", "case-ns-a"),
    Case("init-over", "case-ns-c", "import case_ns.c", "pth first", "a regular package over it", "case-ns-a"),
    Case("declare", "case-pr-a case-pr-b", "import case_pr.a, case_pr.b", "works", "two by pkg_resources"),
    Case("script", "case-script", ON_PATH, "bin/ is not on PATH", "a wheel that is all console script"),
    Case("segfault", "case-segfault", "import case_segfault", "the worker dies", "a module that segfaults"),
    Case("hang", "case-hang", "import case_hang", "the worker never answers", "a module that hangs"),
    Case("exit", "case-exit", "import case_exit", "the worker ends", "a module that calls sys.exit(0)"),
    Case("osexit", "case-osexit", "import case_osexit", "the worker ends", "a module that calls os._exit(0)"),
    Case("socket", "case-socket", "import case_socket", "no network", "a module that opens a socket"),
    Case("cp38", "case-cp38", "import case_cp38", "3.7 ignores it", "a cp38 .so in a cp37 wheel"),
    Case("cp38-late", "case-cp38p", "import case_cp38p._speed", "as above", "the same, imported late"),
    Case("glibc", "case-glibc", "import case_glibc", "no image has it", "a .so that needs GLIBC_9.2.5"),
    Case("glibc-late", "case-glibcp", "import case_glibcp._speed", "as above", "the same, imported late"),
    Case("torch", "torch==1.13.1", "import torch", "works: its libraries find each other", large=True),
    Case("tensorflow", "tensorflow-cpu==2.11.0", "import tensorflow", "works: the same", large=True),
)  # fmt: skip
NSPKG = (  # the file that setuptools writes, for Python 3
    "import sys, os, importlib.util; p = os.path.join(sys._getframe(1).f_locals['sitedir'], *('case_ns',));"
    "m = sys.modules.setdefault('case_ns', importlib.util.module_from_spec("
    "importlib.machinery.PathFinder.find_spec('case_ns', [os.path.dirname(p)])));"
    "mp = m.__dict__.setdefault('__path__',[]);(p not in mp) and mp.append(p)\n"
)
DECLARE = "__import__('pkg_resources').declare_namespace(__name__)\n"
LOCAL: Mapping[str, Mapping[str, str]] = {
    "undeclared": {"case_undeclared.py": "import case_nobody_requires_me\n"},
    "segfault": {"case_segfault.py": "import ctypes\nctypes.string_at(0)\n"},
    "hang": {"case_hang.py": "import time\ntime.sleep(1e6)\n"},
    "exit": {"case_exit.py": "import sys\nsys.exit(0)\n"},
    "osexit": {"case_osexit.py": "import os\nos._exit(0)\n"},
    "socket": {"case_socket.py": "import socket\nsocket.create_connection(('127.0.0.1', 9), timeout=5)\n"},
    "script": {"case_script.py": "def main():\n    pass\n"},
    "pth": {"case_pth.pth": "case_sub\n", "case_pth.py": "import case_impl\n", "case_sub/case_impl.py": ""},
    "ns-a": {"case_ns/a.py": "", "case_ns_a-1.0-py3.7-nspkg.pth": NSPKG},
    "ns-b": {"case_ns/b.py": "", "case_ns_b-1.0-py3.7-nspkg.pth": NSPKG},
    "ns-c": {"case_ns/c.py": "", "case_ns/__init__.py": ""},
    "pr-a": {"case_pr/a.py": "", "case_pr/__init__.py": DECLARE},
    "pr-b": {"case_pr/b.py": "", "case_pr/__init__.py": DECLARE},
}


def make_local(links: Path, stdlib: Iterable[Path]) -> None:
    """Write the wheels of the local cases to ``links``; their shared objects are copies from the stdlib."""
    for name, modules in LOCAL.items():
        points = "[console_scripts]\ncase-script = case_script:main\n" * (name == "script")
        make_wheel(links, f"case-{name}", "1.0", modules, entry_points=points)
    old = min(path for folder in stdlib for path in folder.glob("*.so")).read_bytes()
    new = old.replace(b"\0GLIBC_2.2.5\0", b"\0GLIBC_9.2.5\0")  # a version that does not exist
    for name, path, content in (
        ("cp38", "case_cp38.cpython-38", old), ("cp38p", "case_cp38p/_speed.cpython-38", old),
        ("glibc", "case_glibc.cpython-37m", new), ("glibcp", "case_glibcp/_speed.cpython-37m", new),
    ):  # fmt: skip
        late = {f"case_{name}/__init__.py": b"def f():\n    from . import _speed\n"} if "/" in path else {}
        files = {f"{path}-x86_64-linux-gnu.so": content, **late}
        make_wheel(links, f"case-{name}", "1.0", files, tag="cp37-cp37m-linux_x86_64", purelib=False)


class Bench:
    """The installed tools and the environments."""

    def __init__(self, python: Interpreter, work: Path) -> None:
        self.python, self.work, self.links = python.python, work, work / "links"
        dropped = ("PYTHON", "VIRTUAL_ENV", "UV_", "PEX_", "CONDA")
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        self.env |= {"UV_CACHE_DIR": f"{work}/uv-cache", "PEX_ROOT": f"{work}/pex-root"}
        make_local(self.links, python.stdlib)
        self.run([self.python, "-I", "-m", "venv", work / "pip"])
        self.pip = [f"{work}/pip/bin/python", "-m", "pip", "--disable-pip-version-check"]
        self.run([*self.pip, "install", "-q", f"pip=={PIP}"])
        self.uv = [self.venv("tool-uv", "uv", python=sys.executable), "-m", "uv", "pip"]
        self.pex = [self.venv("tool-pex", "pex", python=sys.executable), "-m", "pex"]
        # uv does not read pip's index settings.
        settings = self.run([*self.pip, "config", "list"]).stdout.decode()
        self.uv_index = ["--index-strategy", "unsafe-best-match", "-f", str(self.links)]
        for name, value in re.findall(r"(?m)^\S+\.(index-url|extra-index-url|find-links)=(.*)$", settings):
            self.uv_index += [f"--{name}={url}" for url in str(ast.literal_eval(value)).split()]

    def run(self, argv: Argv, seconds: int = 1800, cwd: Path | None = None, **env: str) -> Completed:
        """Run a child in the user's environment, without the variables that change its Python."""
        return run_process(argv, env=self.env | env, cwd=cwd or self.work, timeout=seconds)

    def venv(self, name: str, *requires: str, python: str = "") -> str:
        """Return the Python of an environment without pip, creating it at the first call."""
        inside = f"{self.work}/{name}/bin/python"
        if not Path(inside).exists():
            self.run([python or self.python, "-I", "-m", "venv", "--without-pip", self.work / name])
            install = [*self.pip, "--python", inside, "install", "-q", "-f", str(self.links), *requires]
            if requires and (done := self.run(install)).returncode:
                print(f"cannot install {' '.join(requires)}: {reason(done)}", file=sys.stderr)
        return inside


def reason(done: Completed, pattern: str = r"\S") -> str:
    """Return the signal that ended a child, or its last matching line, without directories."""
    if done.timed_out or done.returncode < 0:
        return "hangs" if done.timed_out else signal.Signals(-done.returncode).name
    lines = [line.strip() for line in f"{done.stdout.decode()}\n{done.stderr}".splitlines() if line.strip()]
    line = next((line for line in reversed(lines) if re.search(pattern, line)), lines[-1] if lines else "")
    return re.sub(r"(?<![\w:/.])/(?:[^\s/'\":]+/)+", "", line)[:SHOWN]


def ask_container(bench: Bench, case: Case, folder: Path) -> Verdict:
    """Install and mount the case; import the server and the module from a script elsewhere."""
    target, boot = folder / "bundle", folder / "bin" / "boot.py"
    install = [*bench.pip, "install", "-q", "--target", str(target), "-f", str(bench.links)]
    if (done := bench.run([*install, *case.requires.split()])).returncode:
        return Verdict(ok=False, line=f"cannot install: {reason(done)}", exit_code=done.returncode)
    boot.parent.mkdir()
    (folder / "main.py").write_text("def init(): pass\ndef run(data): return data\n")
    boot.write_text(f"{BOOT}\nprint('\\nbooted', flush=True)\n{case.check}\nprint('\\nreached the end')\n")
    python = bench.venv(f"base-{case.base}", SERVER, *case.base.split())
    done = bench.run([python, "-B", boot], SECONDS, folder, PYTHONPATH=f"{target}:", AML_APP_ROOT=str(folder))
    if b"\nreached the end" in done.stdout:
        return Verdict(ok=True)
    line = reason(done, ERROR) if done.returncode else "ends with 0 before the import is done"
    line = line if b"\nbooted" in done.stdout else f"the server: {line}"
    return Verdict(ok=False, line=line, exit_code=done.returncode)


def ask_pip(bench: Bench, case: Case, folder: Path) -> Verdict:
    """Install into a clean environment and run ``pip check``."""
    pip = [*bench.pip, "--python", bench.venv(f"{folder.name}/pip")]
    return _check(bench, [*pip, "install", "-q", "-f", bench.links, *case.requires.split()], [*pip, "check"])


def ask_uv(bench: Bench, case: Case, folder: Path) -> Verdict:
    """Install into a clean environment and run ``uv pip check``."""
    at = ["--python", bench.venv(f"{folder.name}/uv")]
    install = [*bench.uv, "install", *at, *bench.uv_index, *case.requires.split()]
    return _check(bench, install, [*bench.uv, "check", *at])


def _check(bench: Bench, install: Argv, check: Argv) -> Verdict:
    if (done := bench.run(install)).returncode:
        return Verdict(ok=False, line=f"cannot install: {reason(done)}", exit_code=done.returncode)
    done = bench.run(check)
    return Verdict(not done.returncode, reason(done, "require|has") * bool(done.returncode), done.returncode)


def ask_pex(bench: Bench, case: Case, folder: Path) -> Verdict:
    """Build a pex, which is the verdict; add the result of ``--validate-entry-point`` for the module."""
    build = [*bench.pex, *case.requires.split(), "--python", str(bench.python), "--pip-version", PIP]
    build += ["--use-pip-config", "-f", str(bench.links), "-o", str(folder / "case.pex")]
    if (done := bench.run(build)).returncode:
        return Verdict(ok=False, line=reason(done), exit_code=done.returncode)
    module = case.check.replace(",", " ").replace(";", " ").split()[1]
    done = bench.run([*build, "-e", module, "--validate-entry-point"], 2 * SECONDS)
    validated = f"fails: {reason(done, ERROR)}" if done.returncode else "passes"
    return Verdict(ok=True, line=f"(validated: {validated})")


def ask_bundler(bench: Bench, case: Case, folder: Path) -> Verdict:
    """Capture the profile of the base, as in the image, and build for it."""
    bundler: list[str | Path] = [sys.executable, "-m", "bundler"]
    base = bench.venv(f"base-{case.base}", SERVER, *case.base.split())
    (folder / "base.json").write_bytes(bench.run([*bundler, "profile", "--python", base], cwd=ROOT).stdout)
    argv = [*bundler, "build", *case.requires.split(), "--json", "--base", folder / "base.json"]
    argv += ["--format", "dir", "--python", bench.python, "-o", folder, "-f", bench.links]
    done = bench.run([*argv, "--store", bench.work / "store"], cwd=ROOT)
    error = json.loads(done.stdout or b"{}").get("error", {})
    findings = error.get("facts", {}).get("findings", ())
    errors = [finding for finding in findings if finding["severity"] == "error"]
    codes = " ".join(sorted({finding["code"] for finding in errors}))
    line = errors[0]["message"] if errors else error.get("message", "")
    return Verdict(not done.returncode, " ".join(filter(None, (codes, line[:SHOWN]))), done.returncode)


ASK = dict(zip(COLUMNS, (ask_container, ask_pip, ask_uv, ask_pex, ask_bundler), strict=True))


def measure(bench: Bench, case: Case) -> dict[str, Verdict]:
    """Return the verdict of each column about a case."""
    (folder := bench.work / case.id).mkdir()
    verdicts = {}
    for name, ask in ASK.items():
        start = time.monotonic()
        verdict = ask(bench, case, folder)
        verdicts[name] = replace(verdict, seconds=round(time.monotonic() - start, 1))
        print(f"{case.id:12} {name:16} {verdicts[name].seconds:6.1f} s  {verdict.cell()}", file=sys.stderr)
    return verdicts


def table(measured: Mapping[Case, Mapping[str, Verdict]]) -> str:
    """Return the Markdown table; verdicts that differ from the container are bold."""
    rows = [("case", *COLUMNS), ("---",) * (len(COLUMNS) + 1)]
    agree = dict.fromkeys(COLUMNS, 0)
    for case, verdicts in measured.items():
        right = {name: verdict.ok == verdicts[COLUMNS[0]].ok for name, verdict in verdicts.items()}
        agree = {name: count + right[name] for name, count in agree.items()}
        cells = (v.cell() if right[name] else f"**{v.cell()}**" for name, v in verdicts.items())
        rows.append((case.title or case.requires, *cells))
    rows.append(("agree", *(f"{count} of {len(measured)}" for count in agree.values())))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Measure the selected cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--python", default="3.7", help="test this target Python, a version or a path [default: 3.7]"
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="CASE",
        choices=[case.id for case in CASES],
        help="measure this case only",
    )
    parser.add_argument("--skip-large", action="store_true", help="omit torch and tensorflow")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all verdicts to this file")
    given = parser.parse_args()
    cases = [case for case in CASES if not (case.large and given.skip_large)]
    with tempfile.TemporaryDirectory(prefix="cases-") as folder:
        work = Path(folder).resolve()
        bench = Bench(find_interpreter(given.python, read_host_environment(), work), work)
        measured = {case: measure(bench, case) for case in cases if case.id in (given.only or [case.id])}
    if given.json:
        rows = [{**asdict(case), "verdicts": verdicts} for case, verdicts in measured.items()]
        given.json.write_text(json.dumps(rows, indent=2, default=asdict) + "\n")
    print(table(measured))


if __name__ == "__main__":
    main()
