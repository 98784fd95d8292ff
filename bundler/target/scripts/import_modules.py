"""Import modules, each in a child process, and report the results; runs in the target Python.

Started as ``python -I -B import_modules.py`` in an empty, writable working
directory, or with ``-s`` instead of ``-I`` if PYTHONPATH must have an effect.
Standard library only, syntax of Python 3.7; needs Linux (fork, waitid). Read by
``bundler.checks.import_runner``.

Protocol. One JSON object on stdin::

    {"modules": ["a", "b.c"],       each is imported once
     "timeout": 60,                 seconds that one import may take
     "jobs": 2,                     how many are imported at a time
     "block_sockets": false,        whether the socket module refuses the network
     "allowed_roots": ["/venv"],    every entry of sys.path must lie in one of these
     "own_roots": ["/scratch"],     where a module may write; an attempt elsewhere is reported
     "memory": 8589934592,          bytes of data one import may have
     "file_size": 1073741824,       bytes of a file it may write
     "script": null}                or a script to run in place of an import, as the server would

A script is ``{"path": "/app/code/score.py", "append": ["/app", "/app/code"], "call":
"init", "env": {"AML_APP_ROOT": "/app"}, "cwd": "/app"}``; its answer has the module
``"<script>"``, and ``"calling": true`` if it was its function that failed.

stdout has one JSON object per line, in ASCII, flushed when an import ends. Lines that
are not objects were printed before this script (by ``.pth`` files) and are ignored. If
an entry of sys.path is outside of ``allowed_roots``, no module is imported and the only
line is ``{"foreign_paths": [...]}``. Otherwise there is one line per module, in any order::

    {"module": "a",
     "ended": "ok" | "raised" | "exited" | "crashed" | "timed-out",
     "code": 0,                     exited: the exit code, or what SystemExit holds, as text
     "signal": "SIGSEGV",           crashed
     "exception": "ImportError",    raised: its type's name
     "message": "ImportError: x",   raised: the last line of format_exception_only
     "text": "...",                 raised: its text and those of the errors it replaces, 4096 characters each
     "missing": "c",                raised: the module named by the first ModuleNotFoundError, or null
     "through": ["a", "b"],         raised: the modules of the request whose code was running, outermost first
     "loaded": ["a", "b.c"],        ok: the modules of the request that are imported now
     "mapped": ["/x/y.so"],         ok: the shared objects that the process has mapped
     "network": ["host:443"],       the endpoints it tried to reach, in order, each once
     "writes": ["/etc/x"],          the paths outside of its own folders it opened to write, made or removed
     "stderr": "..."}               the last 4 KiB of its standard error

A module is only "ok" if its import returned: one that ends its own process is
"exited", with any exit code. The exit code of the runner is 0 after a complete report.

An imported module cannot disturb the protocol: its process has one pipe to the runner,
and /dev/null as stdin and stdout. The runner waits for the process, not for the end of
its pipes, which a daemon started by the module may keep open.

This script imports no submodule of a standard library package, except for json (so no
``importlib.util``): a forked child would inherit it, and hide that a module uses it
without importing it.
"""

import sys

if not sys.flags.isolated:
    # The directory of a program such as the server's, instead of that of this script. It must be replaced,
    # not removed: a namespace package created by a .pth file searches its parts again only after sys.path
    # has changed since its creation.
    sys.path[0] = sys.executable.rpartition("/")[0]

import importlib
import io
import json
import os
import resource
import select
import signal
import time
import traceback
from contextlib import suppress

try:
    import ctypes
except ImportError:  # a Python that was built without libffi
    ctypes = None

PR_SET_PDEATHSIG = 1
CHUNK = 1 << 16
STDERR_KEPT = 4096
RESULT_KEPT = 1 << 21
READS_AT_END = 64
SCRIPT = "<script>"

# The functions that the child needs after the import, bound here: the module may patch os and json, as
# gevent does.
write, close, leave, getpid = os.write, os.close, os._exit, os.getpid


def load(name):
    """Run a script of this directory, and return its global names."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
    with io.open(path, encoding="utf-8") as file:
        code = compile(file.read(), path, "exec")
    values = {"__name__": name}
    exec(code, values)
    return values


WATCH, OUTCOME = load("import_watch.py"), load("import_outcome.py")
send, Watch = WATCH["send"], WATCH["Watch"]
describe, succeed = OUTCOME["describe"], OUTCOME["succeed"]


def attempt(module, modules):
    """Import ``module`` and return the result.

    :param modules: the modules of the request.
    """
    try:
        importlib.import_module(module)
    except SystemExit as error:
        code = error.code or 0
        return {"ended": "exited", "code": code if isinstance(code, int) else str(code)[:200]}
    except BaseException as error:
        try:
            return describe(error, modules)
        except BaseException:  # an exception that cannot be shown
            return {"ended": "raised", "exception": type(error).__name__, "message": type(error).__name__}
    return succeed(modules)


def run_script(script):
    """Run a script as the inference server runs an entry script, and call its function.

    Its traceback goes to standard error, as in the log of the server.
    """
    import importlib.util  # noqa: PLC0415 - the server loads it, too

    os.environ.update(script["env"])
    os.chdir(script["cwd"])
    sys.path.extend(script["append"])
    try:
        spec = importlib.util.spec_from_file_location("entry_module", script["path"])
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except SystemExit as error:
        traceback.print_exc()
        return {"ended": "exited", "code": str(error.code)[:200]}
    except BaseException as error:
        traceback.print_exc()
        return describe(error)
    try:
        getattr(module, script["call"])()
    except SystemExit as error:
        traceback.print_exc()
        return {"ended": "exited", "code": str(error.code)[:200], "calling": True}
    except BaseException as error:
        traceback.print_exc()
        return dict(describe(error), calling=True)
    return {"ended": "ok"}


def set_limits(request):
    """Set the resource limits of an import; lower limits that already exist remain."""
    seconds = int(request["timeout"]) + 1
    limits = [
        # Zero would still start a `|program` of core_pattern, as root on the host; one does not (core(5)).
        (resource.RLIMIT_CORE, 1),
        (resource.RLIMIT_DATA, request["memory"]),
        (resource.RLIMIT_FSIZE, request["file_size"]),
        (resource.RLIMIT_CPU, seconds * (os.cpu_count() or 1)),  # the threads of a library count together
    ]
    for which, wanted in limits:
        hard = resource.getrlimit(which)[1]
        with suppress(ValueError, OSError):
            limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(which, (limit, hard))


def be_child(module, folder, pipe, token, said, unneeded, request):
    """Turn the forked process into one that imports ``module``, and end it."""
    if ctypes is not None and hasattr(ctypes.CDLL(None), "prctl"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(said, 2)
    for descriptor in [said, *unneeded]:
        close(descriptor)
    os.chdir(folder)
    sys.argv[:] = ["-c"]
    pid = getpid()
    set_limits(request)
    Watch(pipe, token, request).install()
    if module == SCRIPT:
        result = run_script(request["script"])
    else:
        result = attempt(module, frozenset(request["modules"]))
    # A module that forks may come back twice; only the process we know speaks.
    if getpid() == pid:
        with suppress(BaseException):
            sys.stderr.flush()  # before 3.9 it is buffered
        send(pipe, dict(result, token=token))
    leave(0)


class Child:
    """A running import."""

    def __init__(self, module, folder, deadline, unneeded, request):
        self.module = module
        self.deadline = deadline
        self.timed_out = False
        self.result = b""
        self.stderr = b""
        self.token = os.urandom(16).hex()  # a module that writes to all its descriptors sends no result
        self.pipe, pipe = os.pipe()
        self.said, said = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                be_child(module, folder, pipe, self.token, said, [*unneeded, self.pipe, self.said], request)
            except BaseException:  # no result: whatever the runner does, it does not count as imported
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                leave(1)
        close(pipe)
        close(said)
        self.open = {self.pipe, self.said}
        for descriptor in self.open:
            os.set_blocking(descriptor, False)

    def read(self, descriptor):
        """Read at most CHUNK available bytes; return whether there may be more."""
        try:
            piece = os.read(descriptor, CHUNK)
        except BlockingIOError:
            return False
        if not piece:
            self.open.discard(descriptor)
        elif descriptor == self.said:
            self.stderr = (self.stderr + piece)[-STDERR_KEPT:]
        elif len(self.result) < RESULT_KEPT:
            self.result += piece
        return bool(piece)

    def has_ended(self):
        """Return whether the child itself has ended; it stays a zombie, so that its id stays its own."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def kill(self):
        """Kill the child and the other processes of its group."""
        for kill in (os.killpg, os.kill):
            with suppress(ProcessLookupError, PermissionError):
                kill(self.pid, signal.SIGKILL)

    def finish(self):
        """Kill and reap the child, and return the result of its module."""
        self.kill()
        _, status = os.waitpid(self.pid, 0)
        for descriptor in list(self.open):
            for _ in range(READS_AT_END):  # a daemon may go on writing for ever
                if not self.read(descriptor):
                    break
        close(self.pipe)
        close(self.said)
        answer = {
            "module": self.module,
            "network": [],
            "writes": [],
            "stderr": self.stderr.decode("utf-8", "replace"),
        }
        result = None
        for line in self.lines():
            if "tried" in line:
                answer["network"].append(line["tried"])
            elif "changed" in line:
                answer["writes"].append(line["changed"])
            elif "ended" in line:
                result = line
        answer.update(result or self.ending(status))
        return answer

    def ending(self, status):
        """Return the result of a process that ended without sending one."""
        if self.timed_out:
            return {"ended": "timed-out"}
        if os.WIFSIGNALED(status):
            try:
                return {"ended": "crashed", "signal": signal.Signals(os.WTERMSIG(status)).name}
            except ValueError:  # a real-time signal
                return {"ended": "crashed", "signal": "signal {}".format(os.WTERMSIG(status))}
        return {"ended": "exited", "code": os.WEXITSTATUS(status)}

    def lines(self):
        """Yield the objects with the token of this child: the module may write to the pipe, too."""
        for line in self.result.split(b"\n"):
            try:
                value = json.loads(line.decode("utf-8"))
            except ValueError:
                continue
            if isinstance(value, dict) and value.pop("token", None) == self.token:
                yield value


class Runner:
    """Imports modules in parallel child processes."""

    def __init__(self, request, protocol):
        self.request = request
        self.protocol = protocol
        self.base = os.getcwd()
        self.running = []
        self.wake, wake = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self.own = [protocol, self.wake, wake]

    def run(self):
        """Import all modules of the request, and run its script."""
        modules = list(self.request["modules"])
        if self.request["script"]:
            modules.append(SCRIPT)
        waiting = list(enumerate(modules))[::-1]
        while waiting or self.running:
            while waiting and len(self.running) < self.request["jobs"]:
                self.start(*waiting.pop())
            self.listen()
            for child in list(self.running):
                child.timed_out = not child.has_ended() and time.monotonic() >= child.deadline
                if child.timed_out or child.has_ended():
                    self.running.remove(child)
                    send(self.protocol, child.finish())

    def start(self, number, module):
        """Start the import of ``module`` in a new directory."""
        folder = os.path.join(self.base, str(number))
        os.mkdir(folder)
        unneeded = self.own + [end for child in self.running for end in (child.pipe, child.said)]
        deadline = time.monotonic() + self.request["timeout"]
        self.running.append(Child(module, folder, deadline, unneeded, self.request))

    def listen(self):
        """Wait until a child writes or ends, or until the next deadline."""
        rest = max(0, min(child.deadline for child in self.running) - time.monotonic())
        owner = {descriptor: child for child in self.running for descriptor in child.open}
        for descriptor in select.select([self.wake, *owner], [], [], rest)[0]:
            if descriptor == self.wake:
                os.read(self.wake, CHUNK)
            else:
                owner[descriptor].read(descriptor)


def foreign_paths(roots):
    """Return the existing entries of sys.path that are outside of all ``roots``."""
    real = [os.path.realpath(root) for root in roots]

    def is_inside(entry):
        path = os.path.realpath(entry)
        return any(path == root or path.startswith(os.path.join(root, "")) for root in real)

    return [str(entry) for entry in sys.path if os.path.exists(entry or ".") and not is_inside(entry)]


def main():
    """Process the request on stdin."""
    request = json.loads(sys.stdin.buffer.read().decode("utf-8"))
    protocol = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)  # the children inherit both
    os.dup2(null, 1)
    close(null)
    write(protocol, b"\n")  # a .pth file may have left half a line
    foreign = foreign_paths(request["allowed_roots"])
    if foreign:
        send(protocol, {"foreign_paths": foreign})
        return
    Runner(request, protocol).run()


if __name__ == "__main__":
    main()
