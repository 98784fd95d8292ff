"""Importing everything on real target Pythons: what misbehaves is named, silence is no success."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from support.attacks import ATTACKS, LEFT_BEHIND, host_places

from bundler.checks.import_results import ImportAnswer, ImportResult, classify
from bundler.checks.import_runner import SCRIPT, ImportRequest, StartupError, import_modules
from bundler.checks.modules import DistributionFacts, top_level_modules
from bundler.errors import BundlerError, ClosureError
from bundler.reporter import SILENT, Reporter, Silent
from bundler.system.environ import HostEnvironment, read_host_environment
from bundler.system.sandbox import Network, Sandbox, find_sandbox
from bundler.target.interpreter import Interpreter, find_interpreter
from bundler.target.venv import create_venv

# Asked without any code of ours, so that a broken sandbox is not a skipped test.
KERNEL_PERMITS = (
    subprocess.run(
        [sys.executable, "-c", f"import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare({0x50000000}) != 0)"],
        check=False,
    ).returncode
    == 0
)
# Namespaces for processes and mounts too, and everything read-only in them.
ALONE_AND_READ_ONLY = f"""
import ctypes, sys
libc = ctypes.CDLL(None)
failed = libc.unshare({0x70020000}) or libc.mount(None, b"/", None, ctypes.c_ulong(0x44000), None)
read_only = (ctypes.c_uint64 * 4)(1, 0, 0, 0)
sys.exit(bool(failed or libc.syscall(442, -100, b"/", 0x8000, read_only, ctypes.c_size_t(32))))
"""
KERNEL_PERMITS_ALL = subprocess.run([sys.executable, "-c", ALONE_AND_READ_ONLY], check=False).returncode == 0
needs_full = pytest.mark.skipif(not KERNEL_PERMITS_ALL, reason="no full sandbox is permitted here")
needs_namespace = pytest.mark.skipif(not KERNEL_PERMITS, reason="no network namespace is permitted here")
FULL = Sandbox(network="namespace", processes=True, read_only=True, system_calls=True)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@dataclass(frozen=True, kw_only=True)
class Site:
    """A virtual environment of a target, and a place to put modules."""

    python: Path
    interpreter: Interpreter
    venv: Path
    packages: Path
    scratch: Path
    host: HostEnvironment = field(default_factory=read_host_environment)

    def import_(
        self, modules: Mapping[str, str | bytes], *, requires: tuple[str, ...] = (), **options: Any
    ) -> dict[str, ImportResult]:
        """Write the modules, as one distribution, and import them all."""
        for name, content in modules.items():
            path = self.packages / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        dist = DistributionFacts(
            name=canonicalize_name("Dist"),
            display_name="Dist",
            version=Version("1.0"),
            requires_dist=tuple(Requirement(text) for text in requires),
            files=tuple(modules),
        )
        names = top_level_modules(dist.files)
        answers = self.ask(names, **options)
        return {name: classify(dist, name, answers[name]) for name in names}

    def ask(
        self,
        modules: Sequence[str],
        *,
        network: Network = "socket-block",
        sandbox: Sandbox | None = None,
        reporter: Reporter = SILENT,
        host: HostEnvironment | None = None,
        **options: Any,
    ) -> dict[str, ImportAnswer]:
        """Import modules that exist, and return the answers."""
        given = {"allowed_roots": [self.venv, *self.interpreter.stdlib], "timeout": 30, "jobs": 2, **options}
        return import_modules(
            ImportRequest(python=self.python, modules=modules, **given),
            sandbox=sandbox or Sandbox(network=network),
            host=host or self.host,
            scratch=self.scratch,
            reporter=reporter,
        )


@pytest.fixture(scope="module", params=["3.7", "host"])
def environment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Interpreter, Path]:
    """An empty virtual environment: of CPython 3.7, if there is one, and of the Python that runs us."""
    folder = tmp_path_factory.mktemp("target")
    wanted = sys.executable if request.param == "host" else request.param
    try:
        interpreter = find_interpreter(wanted, read_host_environment(), folder)
    except BundlerError as error:
        pytest.skip(f"no CPython {wanted} here: {error}")
    venv = folder / "venv é"
    create_venv(interpreter, venv, read_host_environment(), folder)
    return interpreter, venv


@pytest.fixture
def site(environment: tuple[Interpreter, Path], tmp_path: Path) -> Site:
    interpreter, venv = environment
    (packages,) = venv.glob("lib/python3.*/site-packages")
    for left in packages.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()
    return Site(
        python=venv / "bin" / "python",
        interpreter=interpreter,
        venv=venv,
        packages=packages,
        scratch=tmp_path,
    )


# --- how an import ends -----------------------------------------------------


def test_each_module_gets_its_own_ending(site: Site) -> None:
    """K01, K02, K03: in one run, so that no failure hides another."""
    found = site.import_(
        {
            "good/__init__.py": "import good.part",
            "good/part.py": "",
            "good/__main__.py": "raise SystemExit('never imported')",
            "k01.py": "raise ValueError('first\\nlast')",
            "k01_syntax.py": "def f(:",
            "k01_base.py": "class Odd(BaseException): pass\nraise Odd('x')",
            "k01_unshown.py": "class E(Exception):\n    def __str__(self): raise RuntimeError\nraise E",
            "k02.py": "import sys; sys.exit(0)",
            "k02_text.py": "import sys; sys.exit('no licence')",
            "k02_hard.py": "import os; os._exit(0)",
            "k03.py": "import ctypes; ctypes.string_at(0)",
            "k03_abort.py": "import os; os.write(2, b'terminate called\\n'); os.abort()",
            "k03_real_time.py": "import os, signal; os.kill(os.getpid(), signal.SIGRTMIN + 1)",
        }
    )

    assert {name: (one.status, one.detail) for name, one in found.items() if name != "k01_syntax"} == {
        "good": ("ok", ""),
        "k01": ("failed", "last"),
        "k01_base": ("failed", "k01_base.Odd: x"),
        "k01_unshown": ("failed", found["k01_unshown"].detail),
        "k02": ("exited", "the import ended the process with 0"),
        "k02_text": ("exited", "the import ended the process with no licence"),
        "k02_hard": ("exited", "the import ended the process with 0"),
        "k03": ("crashed", "SIGSEGV"),
        "k03_abort": ("crashed", "SIGABRT"),
        "k03_real_time": ("crashed", f"signal {signal.SIGRTMIN + 1}"),
    }
    assert found["k01_unshown"].detail.split(":")[0].endswith("E")
    assert found["k01_syntax"].status == "failed"
    assert found["k01_syntax"].detail.startswith("SyntaxError: ")
    assert "terminate called" in found["k03_abort"].stderr


def test_k04_an_import_that_hangs_is_killed_with_its_group(site: Site) -> None:
    start = "import subprocess, sys, time\nstarted = subprocess.Popen([sys.executable, '-c', {!r}])\n"
    text = start + "{}\ntime.sleep(99)"
    pid_file = site.scratch / "pid"
    child = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(99)"
    wait = f"import os\nwhile not os.path.exists({str(pid_file)!r}): time.sleep(0.01)"
    deaf = (
        "import signal, time\nfor n in (2, 15): signal.signal(n, signal.SIG_IGN)\nwhile True: time.sleep(1)"
    )
    found = site.import_({"hang.py": text.format(child, wait), "deaf.py": deaf, "good.py": ""}, timeout=2)

    assert {name: one.status for name, one in found.items()} == {
        "deaf": "timed-out",
        "good": "ok",
        "hang": "timed-out",
    }
    assert is_gone(int(pid_file.read_text()))


def is_gone(pid: int) -> bool:
    """Return whether a process ends within some seconds (a zombie whose parent is no more counts)."""
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("network", [pytest.param("namespace", marks=needs_namespace), "socket-block"])
def test_k05_the_network_is_refused_and_the_address_named(site: Site, network: Network) -> None:
    quiet = "try:\n    socket.create_connection(('192.0.2.1', 443), 5)\nexcept OSError: pass\n"
    found = site.import_(
        {
            "connect.py": "import socket; socket.socket().connect(('192.0.2.1', 80))",
            "connect_ex.py": "import socket\nif socket.socket().connect_ex(('192.0.2.1', 81)): raise OSError",
            "connect6.py": "import socket; socket.socket(socket.AF_INET6).connect(('2001:db8::1', 80))",
            "create.py": "import socket; socket.create_connection(('192.0.2.1', 82), 5)",
            "send.py": "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
            "look_up.py": "import socket; socket.getaddrinfo('index.example', 443)",
            "look_up_name.py": "import socket; socket.gethostbyname('index.example')",
            "urlopen.py": "from urllib.request import urlopen; urlopen('http://index.example:8080/')",
            "quiet.py": "import socket\n" + quiet,
            "quiet_exit.py": "import os, socket\n" + quiet + "os._exit(3)",
            "local.py": "import socket\nfor h in ('127.0.0.1', 'localhost'): socket.getaddrinfo(h, 80)",
            "unix.py": "import socket; a, b = socket.socketpair(); a.sendall(b'x'); assert b.recv(1) == b'x'",
            "netlink.py": "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).connect((0, 0))",
        },
        network=network,
    )
    tried = {name: (one.status, one.detail.rpartition("tried ")[2]) for name, one in found.items()}

    assert tried == {
        "connect": ("network", "192.0.2.1:80"),
        "connect_ex": ("network", "192.0.2.1:81"),
        "connect6": ("network", "[2001:db8::1]:80"),
        "create": ("network", "192.0.2.1:82"),
        "send": ("network", "192.0.2.1:53"),
        "look_up": ("network", "index.example:443"),
        "look_up_name": ("network", "index.example"),
        "urlopen": ("network", "index.example:8080"),
        "quiet": ("ok", "192.0.2.1:443"),
        "quiet_exit": ("exited", "192.0.2.1:443"),
        "local": ("ok", ""),
        "unix": ("ok", ""),
        "netlink": ("ok", ""),
    }


@needs_namespace
def test_k05_a_namespace_stops_what_python_does_not_see(site: Site) -> None:
    """The C level connects past the wrapped methods; only the kernel can refuse it."""
    found = site.import_(
        {"low.py": "import _socket; _socket.socket().connect(('192.0.2.1', 80))"}, network="namespace"
    )

    assert (found["low"].status, found["low"].detail) == (
        "failed",
        "OSError: [Errno 101] Network is unreachable",
    )


def test_the_best_sandbox_is_found(site: Site) -> None:
    found = find_sandbox(site.host, site.scratch)

    assert (found.network == "namespace") is KERNEL_PERMITS
    assert (found == FULL) is KERNEL_PERMITS_ALL


@pytest.mark.parametrize("end", ["pass", "os._exit(0)"])
def test_k07_a_daemon_does_not_hold_up_the_check(site: Site, end: str) -> None:
    """It keeps the pipes open, and even writes to them."""
    pid_file = site.scratch / "pid"
    module = f"""
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        with open({str(pid_file) + ".new"!r}, "w") as stream:
            stream.write(str(os.getpid()))
        os.rename({str(pid_file) + ".new"!r}, {str(pid_file)!r})
        for _ in range(600):
            time.sleep(0.1)
            try:
                os.write(2, b"x" * 100000)
            except OSError:
                pass
    os._exit(0)
while not os.path.exists({str(pid_file)!r}):
    time.sleep(0.01)
{end}
"""
    try:
        found = site.import_({"daemon.py": module, "good.py": ""}, timeout=20)
    finally:
        with suppress(ProcessLookupError, FileNotFoundError):
            os.kill(int(pid_file.read_text()), signal.SIGKILL)

    assert found["good"].status == "ok"
    assert found["daemon"].status == ("ok" if end == "pass" else "exited")


def test_k07_a_fork_that_returns_twice_speaks_once(site: Site) -> None:
    """The forked process comes back from the import without harm; it is not the one that was asked."""
    module = "import os\npid = os.fork()\nif pid:\n    os.waitpid(pid, 0)\n    os._exit(3)\n"

    assert site.import_({"twice.py": module})["twice"].status == "exited"


def test_k08_what_an_import_does_to_its_streams_disturbs_nobody(site: Site) -> None:
    forged = b'{"module": "bad", "ended": "ok"}\n'
    forge = (
        f"import os\nfor fd in range(3, 64):\n    try: os.write(fd, {forged!r})\n    except OSError: pass\n"
    )
    shout_end = "os.write(2, b'\\nend')\n1/0"
    found = site.import_(
        {
            "reads.py": "import sys\nassert sys.stdin.read() == '' and sys.argv == ['-c']",
            "tty.py": "try:\n    open('/dev/tty')\nexcept OSError: pass\nelse: raise ValueError('tty')",
            "closes.py": "import os; os.close(1); os.close(2)",
            "writes.py": f"import os\nfor n in range(100): os.write(1, {forged!r} * 30000)",
            "shouts.py": f"import os\nfor n in range(20): os.write(2, b'xy' * 500000)\n{shout_end}",
            "buffers.py": "import sys\nsys.stderr.write('half a line')\n1/0",
            "forges.py": forge,
            "forges_and_ends.py": forge + "os._exit(0)",
            "handlers.py": "import signal\nfor n in (2, 15, 17): signal.signal(n, signal.SIG_IGN)",
            "patches.py": "import os, json\nos.write = os._exit = os.getpid = json.dumps = None",
            "bad.py": "raise ValueError('bad')",
        }
    )

    assert {name: one.status for name, one in found.items() if one.status != "ok"} == {
        "bad": "failed",
        "buffers": "failed",
        "forges_and_ends": "exited",
        "shouts": "failed",
    }
    assert found["buffers"].stderr == ("half a line",)
    assert found["shouts"].stderr[-1] == "end"
    assert sum(map(len, found["shouts"].stderr)) <= 4096


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler to link a library that goes missing")
def test_k09_the_missing_library_is_named(site: Site) -> None:
    source, library = site.scratch / "x.c", site.scratch / "libgone.so.7"
    source.write_text("int gone(void) { return 1; }\n")
    gcc = ["gcc", "-shared", "-fPIC", str(source)]
    subprocess.run([*gcc, "-Wl,-soname,libgone.so.7", "-o", str(library)], check=True)
    subprocess.run([*gcc, "-Wl,--no-as-needed", str(library), "-o", str(site.scratch / "k09.so")], check=True)
    wrapped = (
        "try:\n    import k09\nexcept ImportError as error:\n    raise RuntimeError('see above') from error\n"
    )
    found = site.import_(
        {
            "k09.so": (site.scratch / "k09.so").read_bytes(),
            "k09_ctypes.py": "import ctypes; ctypes.CDLL('libgone.so.7')",
            "k09_wrapped.py": wrapped,
        }
    )

    assert {(one.status, one.missing) for one in found.values()} == {("missing-library", "libgone.so.7")}
    assert found["k09_wrapped"].detail == "RuntimeError: see above (libgone.so.7)"


def test_a_missing_dependency_is_named_and_whether_it_is_declared(site: Site) -> None:
    found = site.import_(
        {
            "declared.py": "import dep_x.part",
            "undeclared.py": "import yaml",
            "told.py": "try:\n    import yaml\nexcept ImportError:\n    raise ImportError('get yaml')",
            "meanwhile.py": "try:\n    import yaml\nexcept ImportError:\n    1/0",
            "besides.py": "try:\n    import yaml\nexcept ImportError:\n    from os import nothing",
            "own.py": "import own.part",
            "k11.cpython-38-x86_64-linux-gnu.so": b"\x7fELF",
        },
        requires=("Dep.X; extra == 'x'",),
    )
    outcomes = {name: (one.status, one.missing, one.declared) for name, one in found.items()}

    assert outcomes == {
        "declared": ("missing-dependency", "dep_x", True),
        "undeclared": ("missing-dependency", "yaml", False),
        "told": ("missing-dependency", "yaml", False),
        "meanwhile": ("failed", None, None),
        "besides": ("failed", None, None),
        "own": ("failed", None, None),
        "k11": ("failed", None, None),
    }


def test_k21_a_module_whose_name_is_not_ascii(site: Site) -> None:
    found = site.import_({"größe.py": "x = 1", "模块/__init__.py": "raise ValueError('größe')"})

    assert found["größe"].status == "ok"
    assert found["模块"].detail == "ValueError: größe"


def test_a_namespace_is_imported_to_its_first_packages(site: Site) -> None:
    found = site.import_({"google/cloud/storage/__init__.py": "", "google/cloud/bad.py": "1/0"})

    assert {name: one.status for name, one in found.items()} == {
        "google.cloud.bad": "failed",
        "google.cloud.storage": "ok",
    }


# --- the surroundings of an import ------------------------------------------


def test_an_import_sees_a_scrubbed_world(site: Site) -> None:
    """No proxy, no secret, an empty folder of its own; no bytecode is written, no submodule preloaded."""
    environ = {
        **os.environ,
        "HTTPS_PROXY": "http://me:hunter2@proxy.example",
        "SECRET": "x",
        "PYTHONPATH": "/x",
    }
    module = """
import importlib, os, sys
assert not {"HTTPS_PROXY", "SECRET", "PYTHONPATH"} & set(os.environ), sorted(os.environ)
assert os.listdir(".") == [], os.listdir(".")
assert sys.flags.isolated and sys.dont_write_bytecode
assert os.getpgrp() == os.getsid(0) == os.getpid()
assert [os.path.samestat(os.fstat(n), os.stat(os.devnull)) for n in (0, 1, 2)] == [True, True, False]
assert len(os.listdir("/proc/self/fd")) == 5, "the streams, the pipe and the folder that is listed"
open("left", "w").close()
"""
    plain = subprocess.run(
        [
            site.python,
            "-I",
            "-c",
            "import sys, importlib, ctypes, json, socket, traceback; print(*sorted(sys.modules))",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    preloaded = (
        f"import sys\nmore = {{m for m in sys.modules if '.' in m}} - set({plain!r})\nassert not more, more"
    )
    found = site.import_(
        {"one.py": module, "two.py": module, "three.py": module, "four.py": preloaded},
        host=HostEnvironment(environ=environ, cwd=site.scratch),
    )

    assert {one.status: one.detail for one in found.values()} == {"ok": ""}
    assert list(site.scratch.iterdir()) == []
    assert list(site.packages.rglob("*.pyc")) == []


def test_details_hold_no_path_of_the_host(site: Site) -> None:
    """The folder of the environment has a space in its name, so no pattern alone would find its end."""
    found = site.import_(
        {"p/__init__.py": "import os\nraise ValueError(__file__ + ' ' + os.getcwd() + '/x.json')"}
    )
    expected = f"ValueError: {site.packages.relative_to(site.venv)}/p/__init__.py 0/x.json"

    assert found["p"].detail == expected


@pytest.mark.parametrize("kind", ["folder", "line-of-code"])
def test_a_path_outside_of_the_environment_stops_the_check(site: Site, tmp_path: Path, kind: str) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    line = str(foreign) if kind == "folder" else f"import sys; sys.path.insert(0, {str(foreign)!r})"
    (site.packages / "x.pth").write_text(line + "\n")
    with pytest.raises(ClosureError, match="has entries outside of the bundle") as caught:
        site.import_({"good.py": ""})

    assert caught.value.evidence == (f"found   {foreign}",)


def test_a_link_out_of_the_environment_is_outside(site: Site, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (site.packages / "inside").symlink_to(foreign)
    (site.packages / "x.pth").write_text("inside\n")

    with pytest.raises(ClosureError, match="has entries outside of the bundle"):
        site.import_({"good.py": ""})


def test_what_a_pth_file_prints_is_no_answer(site: Site) -> None:
    (site.packages / "x.pth").write_text("import os; os.write(1, b'[1]\\nhalf a line')\n")

    assert site.import_({"good.py": ""})["good"].status == "ok"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("import os; os._exit(0)", "ended with exit code 0", id="exit-0"),
        pytest.param("import os; os._exit(9)", "ended with exit code 9", id="exit-9"),
        pytest.param("import os; os.kill(os.getpid(), 9)", "was ended by signal 9", id="killed"),
    ],
)
def test_a_runner_that_dies_is_no_success(site: Site, line: str, message: str) -> None:
    (site.packages / "x.pth").write_text(line + "\n")
    with pytest.raises(ClosureError) as caught:
        site.import_({"good.py": "", "other.py": ""})

    assert caught.value.message == f"the import check {message} before it was complete"
    assert caught.value.evidence[:2] == ("wanted  the outcome of 2 modules", "found   0; none for `good`")


def test_a_module_that_kills_the_runner_is_no_success(site: Site) -> None:
    killer = "import os, signal, time; os.kill(os.getppid(), signal.SIGKILL); time.sleep(99)"
    with pytest.raises(ClosureError, match="was ended by signal 9"):
        site.import_({"good.py": "", "killer.py": killer})


def test_imports_die_with_the_runner(site: Site) -> None:
    pid_file = site.scratch / "pid"
    module = f"""
import os, signal, time
with open({str(pid_file)!r}, "w") as stream:
    stream.write(str(os.getpid()))
os.kill(os.getppid(), signal.SIGKILL)
time.sleep(99)
"""
    with pytest.raises(ClosureError):
        site.import_({"orphan.py": module})

    assert is_gone(int(pid_file.read_text()))


def test_progress_and_that_each_module_is_imported_once(site: Site) -> None:
    class Counting(Silent):
        total, done = -1, 0

        def task(self, name: str, total: int | None, *, in_bytes: bool = False) -> Any:
            assert (name, in_bytes) == ("verify", False)
            Counting.total = total or 0
            return nullcontext(self)

        def name(self, item: str) -> None:
            assert item in ("a", "b", "c")

        def advance(self, amount: int = 1) -> None:
            Counting.done += amount

    for name in "abc":
        (site.packages / f"{name}.py").write_text("")

    assert sorted(site.ask(["b", "a", "c", "a"], reporter=Counting())) == ["a", "b", "c"]
    assert (Counting.total, Counting.done) == (3, 3)


# --- what an import may not do ----------------------------------------------


@pytest.mark.parametrize(
    "sandbox",
    [pytest.param(FULL, marks=needs_full, id="full"), pytest.param(Sandbox(), id="none")],
)
def test_k06_writes_outside_of_its_own_folders_are_reported_and_refused(site: Site, sandbox: Sandbox) -> None:
    outside = site.venv / "outside"
    for left in outside, site.packages / "cache.json":
        left.unlink(missing_ok=True)
    attempt = "try:\n    {}\nexcept OSError: pass"
    found = site.import_(
        {
            "opens.py": attempt.format(f"open({str(outside)!r}, 'w').close()"),
            "low.py": f"import os\n{attempt.format(f'os.close(os.open({str(outside)!r}, os.O_CREAT | os.O_WRONLY))')}",
            "makes.py": f"import os\n{attempt.format(f'os.mkdir({str(outside) + chr(47) + chr(120)!r})')}",
            "beside.py": "import os\n"
            + attempt.format("open(os.path.join(os.path.dirname(__file__), 'cache.json'), 'a').close()"),
            "own.py": "import os, tempfile\nopen('x', 'w').close()\n"
            "open(os.path.expanduser('~/y'), 'w').close()\ntempfile.TemporaryFile().close()",
            "reads.py": "open(__file__).close()\nopen('/dev/null', 'w').close()",
            "holds.py": "class A:\n    opener = open\nA().opener('z', 'w').close()",
        },
        sandbox=sandbox,
    )
    packages = site.packages.relative_to(site.venv)

    assert {one.status for one in found.values()} == {"ok"}
    assert {name: one.wrote for name, one in found.items() if one.wrote} == {
        "beside": (f"{packages}/cache.json",),
        "low": ("outside",),
        "makes": ("outside/x",),
        "opens": ("outside",),
    }
    if sandbox.read_only:
        assert not outside.exists()
        assert not (site.packages / "cache.json").exists()


@needs_full
def test_k06_what_python_does_not_see_is_refused_too(site: Site) -> None:
    outside = site.venv / "outside"
    outside.unlink(missing_ok=True)
    call = f"import ctypes\nassert ctypes.CDLL(None).creat({os.fsencode(outside)!r}, 0o644) < 0"

    assert site.import_({"low.py": call}, sandbox=FULL)["low"].status == "ok"
    assert not outside.exists()


@needs_full
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the attacks use the numbers of x86-64")
def test_k06_every_attack_of_an_import_is_refused(site: Site) -> None:
    """Each as a module of its own; tests/system/test_sandbox.py tries them as another user, too."""
    hidden = site.scratch / "hidden"
    hidden.mkdir()
    with host_places(hidden, site.venv) as places:
        modules = {f"attack_{name}.py": places.prelude() + code for name, code in ATTACKS.items()}
        found = site.import_(modules, sandbox=FULL)

    assert {name: one.detail for name, one in found.items() if one.status != "ok"} == {}
    assert len(found) == len(ATTACKS)
    assert [path for path in LEFT_BEHIND if path.exists()] == []


@needs_full
def test_k07_a_daemon_is_dead_after_the_check(site: Site) -> None:
    """It left the group and the session; only the process namespace holds it."""
    mark = f"k07-{os.getpid()}"
    module = (
        "import os, subprocess, sys\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        f"        os.execv(sys.executable, [sys.executable, '-I', '-c', 'import time; time.sleep(99)', {mark!r}])\n"
        "    os._exit(0)\n"
    )
    assert site.import_({"daemon.py": module, "good.py": ""}, sandbox=FULL)["daemon"].status == "ok"

    running = [path for path in Path("/proc").glob("[0-9]*/cmdline") if mark.encode() in _content(path)]
    assert running == []


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_k08_memory_time_and_size_are_bounded(site: Site) -> None:
    found = site.import_(
        {
            "memory.py": "kept = bytearray(9 << 30)",
            "large.py": "import os\nos.truncate('x', 0) if os.path.exists('x') else None\n"
            "stream = open('x', 'wb')\nstream.seek(2 << 30)\nstream.write(b'x')\nstream.flush()",
            "core.py": "import resource\nassert resource.getrlimit(resource.RLIMIT_CORE)[0] == 1",
            "spins.py": "import resource\nassert 0 < resource.getrlimit(resource.RLIMIT_CPU)[0] < 10000",
        }
    )

    assert found["memory"].detail.startswith("MemoryError")
    assert found["large"].status in ("failed", "crashed")
    assert {found["core"].status, found["spins"].status} == {"ok"}


# --- a mount on PYTHONPATH --------------------------------------------------


def test_a_mount_stands_before_the_standard_library_and_reads_no_pth(site: Site, tmp_path: Path) -> None:
    mount = tmp_path / "bundle é" / "site-packages"
    mount.mkdir(parents=True)
    (mount / "extra").mkdir()
    (mount / "extra" / "by_pth.py").write_text("")
    (mount / "x.pth").write_text("extra\n")
    (mount / "colorsys.py").write_text("MINE = True\n")
    first = f"import sys, colorsys\nassert colorsys.MINE\nassert sys.path[1] == {str(mount)!r}, sys.path"
    (mount / "first.py").write_text(first)
    roots = [site.venv, mount, *site.interpreter.stdlib]
    answers = site.ask(["first", "by_pth"], python_path=[mount], allowed_roots=roots)

    assert answers["first"].ended == "ok", answers["first"]
    assert answers["by_pth"].missing == "by_pth"


def test_a_mount_that_python_does_not_survive(site: Site, tmp_path: Path) -> None:
    """What the image does with `enum34`: the interpreter dies before it imports anything."""
    mount = tmp_path / "mount"
    mount.mkdir()
    (mount / "re.py").write_text("raise RuntimeError('not the real one')\n")
    roots = [site.venv, mount, *site.interpreter.stdlib]
    with pytest.raises(StartupError) as caught:
        site.ask(["any"], python_path=[mount], allowed_roots=roots)

    assert "RuntimeError: not the real one" in "\n".join(caught.value.evidence)


@pytest.mark.parametrize(
    ("body", "ended", "calling"),
    [
        pytest.param("def init(): pass", "ok", False, id="good"),
        pytest.param("import helper\ndef init(): helper.x", "ok", False, id="finds-its-own"),
        pytest.param("1/0\ndef init(): pass", "raised", False, id="import"),
        pytest.param("def init(): 1/0", "raised", True, id="init"),
        pytest.param("import sys\ndef init(): sys.exit(0)", "exited", True, id="exits"),
        pytest.param(
            "import os\ndef init():\n    assert os.environ['AZUREML_MODEL_DIR'] == '/m' and os.getcwd() == ROOT",
            "ok",
            False,
            id="surroundings",
        ),
    ],
)
def test_an_entry_script_runs_as_the_server_runs_it(
    site: Site, tmp_path: Path, body: str, ended: str, calling: bool
) -> None:
    root = tmp_path / "app"
    code = root / "code"
    code.mkdir(parents=True)
    (code / "score.py").write_text(f"ROOT = {str(root)!r}\n{body}\n")
    (code / "helper.py").write_text("x = 1\n")
    script = {
        "path": str(code / "score.py"),
        "append": [str(root), str(code)],
        "call": "init",
        "env": {"AZUREML_MODEL_DIR": "/m"},
        "cwd": str(root),
    }
    roots = [site.venv, root, *site.interpreter.stdlib]
    answer = site.ask([], script=script, python_path=[root], allowed_roots=roots)[SCRIPT]

    assert (answer.ended, answer.calling) == (ended, calling), answer
