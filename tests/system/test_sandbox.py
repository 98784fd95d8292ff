"""The sandbox under attack, as root and as another user; its limits, its exit codes, its end."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support.attacks import ATTACKS, LEFT_BEHIND, host_places, runner
from support.cli import BundlerCli, locked
from support.localindex import LocalIndex
from support.wheels import make_wheel

from bundler.system.environ import read_host_environment
from bundler.system.sandbox import CHILD, Places, Sandbox, find_sandbox, program_places

# Asked without any code of ours, so that a broken sandbox is not a skipped test.
USER_NAMESPACES = (
    subprocess.run(
        [sys.executable, "-c", f"import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare({0x70020000}) != 0)"],
        check=False,
    ).returncode
    == 0
)
LANDLOCK = ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1)
"""The version of Landlock, or -1."""
needs_namespaces = pytest.mark.skipif(not USER_NAMESPACES, reason="no namespaces are permitted here")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
needs_x86 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the attacks use the numbers of x86-64")
FULL = ["--net", "--pid", "--root", "--filter"]
SYSTEM_PYTHON = next(
    (path for path in ("/usr/bin/python3", "/usr/local/bin/python3") if os.access(path, os.X_OK)), None
)
# Imports all that the script needs first: the other user may not read this Python.
BECOME = """
import _signal, ctypes, os, resource, sys, time
uid, path = int(sys.argv[1]), sys.argv[2]
if uid:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE, as it is after an exec
sys.argv[:] = sys.argv[2:]
exec(compile(open(path).read(), path, "exec"), {"__name__": "__main__", "__file__": path})
"""


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that every user can read: those of pytest are private."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def run(
    options: Sequence[str | Path],
    program: Sequence[str | Path],
    *,
    uid: int = 0,
    cwd: Path | None = None,
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run a program in the sandbox, as another user if ``uid`` is not zero."""
    start: list[str | Path] = [sys.executable, "-I", "-S", CHILD]
    if uid:
        folder = cwd or Path("/")
        for script in CHILD.parent.glob("sandbox_*.py"):
            shutil.copy(script, folder / script.name)
        start = [sys.executable, "-I", "-S", "-c", BECOME, str(uid), folder / CHILD.name]
    return subprocess.run(
        [*start, *options, "--", *program],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def python_places() -> list[str | Path]:
    options: list[str | Path] = []
    for path in program_places(Path(sys.executable)):
        options += ["--visible", path]
    return options


# --- attacks ----------------------------------------------------------------


@pytest.mark.attack("sandbox", count=len(ATTACKS))
@needs_x86
@needs_namespaces
@pytest.mark.parametrize("uid", [0, pytest.param(12345, marks=needs_root)])
@pytest.mark.parametrize("in_memory", [True, False], ids=["memory", "disk"])
def test_every_attack_is_refused(shared: Path, tmp_path: Path, uid: int, in_memory: bool) -> None:
    python = SYSTEM_PYTHON if uid else sys.executable
    if python is None:
        pytest.skip("no Python that another user can run")
    visible, work = shared / "visible", shared / "work"
    visible.mkdir()
    work.mkdir()
    work.chmod(0o777)
    with host_places(tmp_path, visible) as places:
        (visible / "attack.py").write_text(runner(places))
        options = [
            *FULL,
            *python_places(),
            "--visible",
            visible,
            "--empty" if in_memory else "--writable",
            work,
        ]
        ended = run(options, [python, "-I", visible / "attack.py"], uid=uid, cwd=work)
    answers = dict(map(json.loads, ended.stdout.splitlines()))
    allowed = set() if in_memory else {"scratch_is_bounded"}  # there it is counted, see below

    assert {name: text for name, text in answers.items() if text and name not in allowed} == {}, ended.stderr
    assert answers.keys() == ATTACKS.keys(), ended.stderr
    assert [path for path in LEFT_BEHIND if path.exists()] == []


@needs_x86
@needs_namespaces
def test_the_attacks_are_real(shared: Path, tmp_path: Path) -> None:
    """Without a restriction most of those that change nothing succeed, so a refusal is the sandbox's."""
    harmless = {
        "ptrace",
        "kill_init",
        "vm_read",
        "devices",
        "homes",
        "host_processes",
        "signal_host",
        "unix_path",
    }
    harmless |= {
        "unix_visible",
        "unix_abstract",
        "unix_by_c",
        "tcp",
        "tcp_by_c",
        "read_host_file",
        "list_store",
    }
    harmless -= {"ptrace", "kill_init", "vm_read"}
    with host_places(tmp_path, shared) as places:
        (shared / "attack.py").write_text(
            runner(places).replace("attacks.items()", f"[(n, attacks[n]) for n in {sorted(harmless)!r}]")
        )
        ended = subprocess.run(
            [sys.executable, "-I", shared / "attack.py"],
            cwd=shared,
            capture_output=True,
            text=True,
            check=True,
        )

    assert {name for name, text in map(json.loads, ended.stdout.splitlines()) if not text} == set()


@pytest.mark.attack("sandbox")
@needs_namespaces
def test_a_program_for_another_machine_is_killed(tmp_path: Path) -> None:
    """The numbers of 32-bit calls are others, so the filter refuses them all."""
    code = (
        "import ctypes, mmap\nm = mmap.mmap(-1, 4096, prot=7)\n"
        "m.write(b'\\xb8\\x14\\0\\0\\0\\xcd\\x80\\xc3')\n"  # mov eax, getpid; int 0x80; ret
        "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()"
    )
    ended = run([*FULL, *python_places()], [sys.executable, "-I", "-c", code])

    assert ended.returncode == -signal.SIGSYS


@pytest.mark.attack("sandbox")
@needs_namespaces
def test_the_mounts_belong_to_another_user_namespace(tmp_path: Path) -> None:
    """So they are locked: even with all capabilities of its own, a program cannot change them."""
    argv = [sys.executable, "-I", "-S", str(CHILD), *FULL, "--writable", str(tmp_path), "--"]
    child = subprocess.Popen([*argv, "/bin/sh", "-c", f"echo > {tmp_path}/started; sleep 60"])
    try:
        while not (tmp_path / "started").exists():
            time.sleep(0.01)
        first_process = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().strip()
        program = Path(f"/proc/{first_process}/task/{first_process}/children").read_text().strip()
        users = [str(Path(f"/proc/{pid}/ns/user").readlink()) for pid in ("self", first_process, program)]
        mounts = [str(Path(f"/proc/{pid}/ns/mnt").readlink()) for pid in (first_process, program)]
    finally:
        child.kill()
        child.wait()

    assert len(set(users)) == 3
    assert len(set(mounts)) == 1


# --- limits -----------------------------------------------------------------


def first(text: str) -> str:
    return text.splitlines()[0] if text else ""


@pytest.mark.attack("sandbox")
@needs_namespaces
@pytest.mark.parametrize("uid", [0, pytest.param(12345, marks=needs_root)])
def test_a_fork_bomb_is_bounded(shared: Path, uid: int) -> None:
    shared.chmod(0o777)
    mark = f"bomb-{os.getpid()}"
    bomb = f"f() {{ while :; do sh -c 'sleep 60; : {mark}' & done; }}; f; wait"
    started = time.monotonic()
    ended = run([*FULL, "--processes", "100"], ["/bin/sh", "-c", bomb], uid=uid, cwd=shared, timeout=100)

    # Linux 6.14 refuses the forks, and the shell gives up; before it, all are killed.
    assert ended.returncode != 0
    assert "Cannot fork" in ended.stderr or "more than 100 processes; the program was killed" in ended.stderr
    assert time.monotonic() - started < 60
    assert _running(mark) == []


@pytest.mark.attack("sandbox")
@needs_namespaces
def test_processes_are_counted_where_the_kernel_has_no_limit_for_a_namespace(tmp_path: Path) -> None:
    ended = run(
        ["--net", "--processes", "20"], ["/bin/sh", "-c", "for i in $(seq 30); do sleep 60 & done; wait"]
    )

    assert (ended.returncode, first(ended.stderr)) == (
        124,
        "sandbox: more than 20 processes; the program was killed",
    )


@pytest.mark.attack("sandbox")
@needs_namespaces
@pytest.mark.parametrize("processes", [1, 4])
def test_memory_is_bounded_in_total(processes: int) -> None:
    each = (160 << 20) // processes
    code = f"import os, time\nfor _ in range({processes - 1}):\n    if not os.fork(): break\nx = bytearray(b'x') * {each}\ntime.sleep(60)"
    options = [*FULL, *python_places(), "--memory", str(100 << 20)]
    ended = run(options, [sys.executable, "-I", "-S", "-c", code])

    assert (ended.returncode, first(ended.stderr)) == (
        124,
        f"sandbox: more than {100 << 20} bytes of memory; the program was killed",
    )


@pytest.mark.attack("sandbox")
@needs_namespaces
def test_what_is_written_is_bounded_in_memory_and_on_the_disk(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "disk").mkdir()
    options: list[str | Path] = [
        *FULL,
        "--scratch",
        str(16 << 20),
        "--empty",
        tmp_path / "memory",
        "--writable",
        tmp_path / "disk",
    ]
    fill = "for i in 1 2 3 4; do head -c 8M /dev/zero > {}/$i || exit 3; done; sleep 60"
    for place in ("/tmp", "/dev/shm", tmp_path / "memory"):
        ended = run(options, ["/bin/sh", "-c", fill.format(place)])
        assert (ended.returncode, "No space left" in ended.stderr) == (3, True), place
    ended = run(options, ["/bin/sh", "-c", fill.format(tmp_path / "disk")])
    assert (ended.returncode, first(ended.stderr)) == (
        124,
        f"sandbox: more than {16 << 20} bytes written; the program was killed",
    )
    ended = run(options, ["/bin/sh", "-c", f"head -c 17M /dev/zero > {tmp_path}/disk/1 || exit 3"])
    assert ended.returncode != 0


@pytest.mark.attack("sandbox")
@pytest.mark.parametrize(
    "options",
    [
        pytest.param(FULL, marks=needs_namespaces),
        pytest.param(["--net"], marks=needs_namespaces),
        ["--filter"],
        [],
    ],
    ids=lambda options: " ".join(options) or "nothing",
)
@pytest.mark.parametrize("code", ["sleep 60", "kill -STOP $$", "trap '' TERM INT HUP; sleep 60 & wait"])
def test_time_is_bounded(options: list[str], code: str) -> None:
    started = time.monotonic()
    ended = run([*options, "--seconds", "1"], ["/bin/sh", "-c", code])

    assert (ended.returncode, first(ended.stderr)) == (
        124,
        "sandbox: more than 1 seconds; the program was killed",
    )
    assert time.monotonic() - started < 20


@pytest.mark.attack("sandbox")
@needs_namespaces
def test_files_in_memory_are_counted(tmp_path: Path) -> None:
    code = "import os\ntry:\n    for i in range(300000): os.close(os.open('/tmp/%d' % i, os.O_CREAT))\nexcept OSError as e: raise SystemExit(e.errno)"
    ended = run([*FULL, *python_places()], [sys.executable, "-I", "-S", "-c", code])

    assert ended.returncode == 28  # ENOSPC


# --- how it ends ------------------------------------------------------------


def _running(mark: str) -> list[str]:
    """Return the command lines of this host with a mark, after a moment for the kernel to end them."""
    found: list[str] = []
    for _ in range(50):
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                text = path.read_bytes().decode("utf-8", "replace")
            except OSError:
                continue
            if mark in text and "sandbox_child" not in text:
                found.append(text)
        if not found:
            break
        time.sleep(0.1)
    return found


@pytest.mark.attack("sandbox")
@pytest.mark.parametrize(
    "options",
    [
        pytest.param(FULL, marks=needs_namespaces),
        pytest.param(["--net"], marks=needs_namespaces),
        ["--filter"],
        [],
    ],
    ids=lambda options: " ".join(options) or "nothing",
)
def test_a_daemon_ends_with_the_program(options: list[str]) -> None:
    mark = f"daemon-{os.getpid()}"
    daemon = f"(setsid sh -c 'sleep 99; : {mark}' >/dev/null 2>&1 &) ; sleep 0.3; exit 4"
    ended = run(options, ["/bin/sh", "-c", daemon])

    assert (ended.returncode, _running(mark)) == (4, [])


@pytest.mark.attack("sandbox")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("options", [pytest.param(FULL, marks=needs_namespaces), []], ids=["full", "nothing"])
def test_all_end_with_the_process_that_started_them(options: list[str], number: int, tmp_path: Path) -> None:
    mark = f"orphan-{os.getpid()}"
    command = [sys.executable, "-I", "-S", str(CHILD), *options, "--", "/bin/sh", "-c", f"sleep 99; : {mark}"]
    starter = f"import subprocess\nsubprocess.Popen({command!r}).wait()"
    parent = subprocess.Popen([sys.executable, "-I", "-c", starter])
    for _ in range(500):
        if any(mark in text for text in _children_of_sandboxes(mark)):
            break
        time.sleep(0.02)
    else:
        pytest.fail("the program did not start")
    os.kill(parent.pid, number)
    parent.wait()

    assert _running(mark) == []


def _children_of_sandboxes(mark: str) -> list[str]:
    texts = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if text.startswith("/bin/sh") and mark in text:
            texts.append(text)
    return texts


@pytest.mark.attack("sandbox")
@needs_namespaces
def test_a_signal_to_all_processes_reaches_only_those_of_the_sandbox() -> None:
    code = "import os, subprocess as s; child = s.Popen(['/bin/sleep', '99']); os.kill(-1, 9); os._exit(-child.wait())"
    ended = run([*FULL, *python_places()], [sys.executable, "-I", "-c", code])

    assert ended.returncode == signal.SIGKILL


@pytest.mark.attack("sandbox")
def test_a_signal_to_all_processes_is_refused_without_a_process_namespace() -> None:
    # Signal 0 tests the permission alone: the test must not end the processes of its user.
    ended = run(["--filter"], [sys.executable, "-I", "-c", "import os; os.kill(-1, 0)"])

    assert "PermissionError: [Errno 1]" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "stderr"),
    [
        pytest.param(["--", "/bin/sh", "-c", "exit 7"], 7, "", id="the-programs-code"),
        pytest.param(["--", "/nowhere/x"], 126, "sandbox: cannot start /nowhere/x: ", id="no-program"),
        pytest.param(["/bin/sh"], 2, "usage: ", id="no-dashes"),
        pytest.param(["--"], 2, "usage: ", id="nothing"),
        pytest.param(["--net", "--"], 2, "usage: ", id="nothing-isolated"),
        pytest.param(["--memory", "x", "--", "/bin/true"], 2, "usage: ", id="not-a-number"),
        pytest.param([], 2, "usage: ", id="no-arguments"),
    ],
)
def test_exit_codes(arguments: list[str], code: int, stderr: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-I", "-S", CHILD, *arguments], check=False, capture_output=True, text=True
    )

    assert (ended.returncode, ended.stderr.count("\n") <= 1) == (code, True)
    assert ended.stderr.startswith(stderr)


@pytest.mark.attack("sandbox")
@needs_root
@needs_namespaces
@pytest.mark.parametrize("uid", [0, 12345])
@pytest.mark.parametrize("options", [FULL, ["--net"]], ids=["full", "net"])
def test_the_user_stays_and_the_network_goes(uid: int, options: list[str], shared: Path) -> None:
    shared.chmod(0o777)
    ended = run(options, ["/bin/sh", "-c", "id -u; id -g; cat /proc/net/route"], uid=uid, cwd=shared)

    assert (ended.returncode, ended.stderr) == (0, "")
    # The routing table is its heading, or nothing at all.
    user, group, *routes = ended.stdout.splitlines()
    assert (user, group, routes[1:]) == (str(uid), str(uid), [])


@needs_root
@needs_namespaces
def test_root_without_user_namespaces_has_the_same_sandbox() -> None:
    """Where they are disabled, root enters the others directly, and gives up its capabilities."""
    inner = (
        "import ctypes, os\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "assert libc.unshare(0x10000000) == 0\n"
        "for name in ('setgroups', 'uid_map', 'gid_map'):\n"
        "    open('/proc/self/' + name, 'w').write('deny' if name == 'setgroups' else '0 0 1')\n"
        "open('/proc/sys/user/max_user_namespaces', 'w').write('0')\n"
        f"os.execv({sys.executable!r}, {[sys.executable, '-I', '-S', str(CHILD), *FULL, '--', '/bin/sh', '-c', 'grep CapEff /proc/self/status; ls /root 2>&1']!r})\n"
    )
    ended = subprocess.run([sys.executable, "-I", "-c", inner], check=False, capture_output=True, text=True)

    assert ended.returncode != 125, ended.stderr
    assert ended.stdout.splitlines()[0].split()[1] == "0" * 16
    assert "No such file" in ended.stdout


@needs_root
@needs_namespaces
def test_a_refused_namespace_is_reported() -> None:
    """Inside a user namespace whose own limit is zero, no further one can be made."""
    inner = (
        "import ctypes, os\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "assert libc.unshare(0x10000000) == 0\n"
        "for name in ('net', 'user'):\n"
        "    with open(f'/proc/sys/user/max_{name}_namespaces', 'w') as stream: stream.write('0')\n"
        f"os.execv({sys.executable!r}, {[sys.executable, '-I', '-S', str(CHILD), '--net', '--', '/bin/true']!r})\n"
    )
    ended = subprocess.run([sys.executable, "-I", "-c", inner], check=False, capture_output=True, text=True)

    assert (ended.returncode, ended.stderr.count("\n")) == (125, 1)
    assert ended.stderr.startswith("sandbox: no namespace: ")


# --- the choice -------------------------------------------------------------


def test_the_strictest_sandbox_is_found(tmp_path: Path) -> None:
    found = find_sandbox(read_host_environment(), tmp_path)

    assert found.system_calls is (os.uname().machine in ("x86_64", "aarch64"))
    if USER_NAMESPACES:
        assert found == Sandbox(network="namespace", processes=True, read_only=True, system_calls=True)
        assert list(found.missing()) == []


@pytest.mark.attack("sandbox")
def test_without_namespaces_the_filter_blocks_the_network(tmp_path: Path) -> None:
    """As in a container with the default profile of Docker: the filter refuses what that one does, and more."""
    code = (
        "import pathlib\nfrom bundler.system.environ import read_host_environment\n"
        "from bundler.system.sandbox import find_sandbox\n"
        f"print(find_sandbox(read_host_environment(), pathlib.Path({str(tmp_path)!r})).to_json())"
    )
    ended = run(["--filter"], [sys.executable, "-I", "-c", code])
    sandbox = Sandbox(network="system-calls", read_only=LANDLOCK > 0, system_calls=True)

    assert ended.stdout == f"{sandbox.to_json()}\n", ended.stderr


@pytest.mark.attack("sandbox")
@pytest.mark.skipif(LANDLOCK < 1, reason="a kernel without Landlock")
def test_a_build_without_namespaces_notes_what_is_missing(
    index: LocalIndex, bundler_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    """The whole command in a container that permits no namespace."""
    outside = tmp_path / "outside"
    tries = f"try: open({str(outside)!r}, 'w').close()\nexcept OSError: pass\n"
    make_wheel(index.folder, "small", "1.0", {"small.py": tries})
    arguments = locked(bundler_cli, "small", "--name", "app", "--json")
    command = [sys.executable, "-I", "-m", "bundler", "build", *arguments]
    ended = subprocess.run(
        [sys.executable, "-I", "-S", CHILD, "--filter", "--", *command],
        env=bundler_cli.env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    found = Sandbox(network="system-calls", read_only=True, system_calls=True)

    assert ended.returncode == 0, ended.stderr
    for sentence in found.missing():
        assert f"sandbox of the imports: {sentence}" in ended.stderr
    manifest = json.loads(Path(json.loads(ended.stdout)["result"]["manifest"]).read_text())
    assert manifest["host"]["sandbox"] == found.to_json()
    assert not outside.exists()


@pytest.mark.attack("sandbox")
@pytest.mark.skipif(LANDLOCK < 1, reason="a kernel without Landlock")
@pytest.mark.parametrize("uid", [0, pytest.param(12345, marks=needs_root)])
def test_without_namespaces_landlock_refuses_files(shared: Path, uid: int) -> None:
    for name in ("work", "visible", "other"):
        (shared / name).mkdir()
        (shared / name).chmod(0o777)
        (shared / name / "x").write_text(name)
        (shared / name / "x").chmod(0o666)
    script = (
        f"cd {shared}; cat work/x visible/x; cat other/x; echo y > work/y; echo y > visible/y; echo y > visible/x; "
        "echo y > /tmp/y; echo y > /dev/null && echo null"
    )
    options: list[str | Path] = [
        "--landlock",
        "--filter",
        "--writable",
        shared / "work",
        "--visible",
        shared / "visible",
    ]
    ended = run(options, ["/bin/sh", "-c", script], uid=uid, cwd=shared)

    assert ended.stdout == "workvisiblenull\n", ended.stderr
    assert ended.stderr.count("Permission denied") == 4, ended.stderr
    assert [str(path.relative_to(shared)) for path in shared.glob("*/y")] == ["work/y"]
    assert (shared / "visible" / "x").read_text() == "visible"


@pytest.mark.attack("sandbox")
@pytest.mark.skipif(LANDLOCK < 6, reason="Landlock has no scopes before version 6")
def test_without_namespaces_landlock_refuses_signals_to_others() -> None:
    code = f"import os; os.kill({os.getpid()}, 0)"
    options: list[str | Path] = ["--landlock", "--filter", *python_places()]

    assert "PermissionError" in run(options, [sys.executable, "-I", "-c", code]).stderr


@pytest.mark.attack("sandbox")
@needs_x86
@pytest.mark.parametrize(
    "name",
    [
        "tcp",
        "tcp_by_c",
        "vsock",
        "packet",
        "capabilities",
        "unshare_user",
        "ptrace",
        "keyctl",
        "bpf",
        "memfd_exec",
    ],
)
def test_without_namespaces_the_kernel_and_the_network_are_out_of_reach(
    shared: Path, tmp_path: Path, name: str
) -> None:
    with host_places(tmp_path, shared) as places:
        program = places.prelude() + ATTACKS[name]
        ended = run(["--filter"], [sys.executable, "-I", "-c", program], cwd=shared)

    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.attack("sandbox")
@pytest.mark.parametrize("name", ["socket", "visible_socket", "abstract"])
def test_without_namespaces_unix_sockets_are_out_of_reach(shared: Path, tmp_path: Path, name: str) -> None:
    code = (
        "import socket\na, b = socket.socketpair()\na.send(b'x')\nsocket.socket(socket.AF_UNIX).connect({!r})"
    )
    with host_places(tmp_path, shared) as places:
        ended = run(["--filter"], [sys.executable, "-I", "-c", code.format(getattr(places, name))])

    assert ended.stderr.endswith("OSError: [Errno 101] Network is unreachable\n")


def test_what_a_sandbox_lacks_is_named() -> None:
    assert [
        len(list(sandbox.missing()))
        for sandbox in (Sandbox(), Sandbox(network="system-calls", system_calls=True))
    ] == [4, 2]


@needs_namespaces
def test_places_are_shown_through_links(tmp_path: Path) -> None:
    """A path of a place, and each link on its way, is the same inside."""
    real, link, secret = tmp_path / "real", tmp_path / "link", tmp_path / "secret"
    (real / "deep").mkdir(parents=True)
    (real / "deep" / "x").write_text("x")
    secret.mkdir()
    link.symlink_to(os.path.relpath(real, tmp_path))
    sandbox = Sandbox(network="namespace", processes=True, read_only=True, system_calls=True)
    argv = sandbox.argv(
        ["/bin/sh", "-c", f"cat {link}/deep/x; ls {tmp_path}"],
        Places(visible=[link / "deep", tmp_path / "missing"]),
    )
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert ended.stdout.split() == ["x", "link", "real"] or ended.stdout.split() == ["xlink", "real"]
