"""Run the target's pip, and each program of Python that it starts in a sandbox; runs in the target Python.

Started as ``python -I run_pip.py GUARD PIP ARGUMENT...``. PIP is the unpacked ``pip``
package. Standard library only, syntax of Python 3.7.

pip starts build backends and metadata hooks (PEP 517) as ``PYTHON _in_process.py HOOK
DIRECTORY``, and itself, to install the requirements of a build, as ``PYTHON
__pip-runner__.py``. Here the second is started through this script again, and everything
else but a few programs of the system is foreign code: it gets a sandbox, and an
environment without index settings, proxies and the user's variables. The programs of the
system, such as ``git`` and ``lsb_release``, get no setting of an index.

pip itself, which runs outside of the sandbox, is restricted by ``restrict_pip.py``. With the
variable BUILD_REQUIRES, a directory, the requirements of a build are resolved first, and then
fetched by the digests of this resolution, which are written there.

GUARD is a JSON file::

    {"command": ["/usr/bin/python3", "-I", "-S", "sandbox_child.py", "--net"],
     "places": true,                whether the sandbox has a root directory of its own
     "visible": ["/usr/lib/x"],     the directories that every hook may read
     "empty": ["/scratch/notes"],   the directories that are empty for every hook
     "home": "/scratch/home"}       HOME and TMPDIR of a hook, empty, too
"""

import json
import os
import resource
import runpy
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
try:
    import restrict_pip  # the file beside this one, in the installation of bundler
finally:
    del sys.path[0]
    sys.dont_write_bytecode = writes_bytecode

try:
    import ctypes
except ImportError:  # a Python that was built without libffi
    ctypes = None

PR_SET_PDEATHSIG, SIGKILL = 1, 9
MEMORY = 4 << 30
"""Bytes of data of pip itself, which collects the output of hooks."""
PASSED_ON = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "NO_COLOR",
    "SOURCE_DATE_EPOCH",
    "CFLAGS",
    "CXXFLAGS",
    "DIST_EXTRA_CONFIG",
    "PYTHONHASHSEED",
    "PYTHONNOUSERSITE",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONPATH",  # of the build environment: pip itself gets none
)
PREFIXES_PASSED_ON = ("PEP517_", "_PYPROJECT_HOOKS_")
NETWORK_PROGRAMS = ("git", "hg", "svn", "bzr", "keyring")
PROGRAMS = (*NETWORK_PROGRAMS, "lsb_release", "uname", "rustc", "oslevel")
"""Programs of the system that pip starts by their name; every other one runs in the sandbox."""
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
RUNNER = "__pip-runner__.py"
BUILD_REQUIRES = "BUNDLER_BUILD_REQUIRES"
SECONDS, BUILD_SECONDS = 600, 3000
"""Limits of a hook: one that describes the project, and one that compiles it; pip itself has an hour."""


def without_secrets(program, environ):
    """Return the environment of a program of the system: without indexes, and proxies it does not need."""
    private = ("PIP_", "NETRC", *(() if os.path.basename(program) in NETWORK_PROGRAMS else PROXIES))
    return {name: value for name, value in environ.items() if not name.upper().startswith(private)}


def is_inside(path, folder):
    """Return whether a path is below a directory, links resolved."""
    return os.path.realpath(path).startswith(os.path.join(os.path.realpath(folder), ""))


def hook_folders(arguments):
    """Return the directories that a hook writes to: pip names them in the input of the hook."""
    control = arguments[-1]
    folders = [control]
    try:
        with open(os.path.join(control, "input.json"), encoding="utf-8") as stream:
            given = json.load(stream)["kwargs"]
    except (OSError, ValueError, KeyError):
        return []
    return folders + [given[name] for name in ("metadata_directory", "wheel_directory") if given.get(name)]


def sandboxed(guard, arguments, cwd, environ):
    """Return the command that runs a program in the sandbox, and its environment."""
    cwd = os.path.abspath(cwd or os.getcwd())
    own = os.environ["TMPDIR"]
    env = {
        name: value
        for name, value in environ.items()
        if name in PASSED_ON or name.startswith(PREFIXES_PASSED_ON)
    }
    env.update(HOME=guard["home"], TMPDIR=guard["home"], TEMP=guard["home"], TMP=guard["home"])
    command = list(guard["command"])
    if guard["places"]:
        # A source of the user is not in the directory of this run: it stays read-only.
        written = [path for path in (cwd, *hook_folders(arguments)) if is_inside(path, own)]
        # pip-build-env-x/site; the environment is beside it.
        read = [os.path.dirname(path) for path in env.get("PYTHONPATH", "").split(os.pathsep) if path]
        places = {
            "--visible": [*guard["visible"], *read, cwd],
            "--writable": written,
            "--empty": [*guard["empty"], guard["home"]],
        }
        for option, paths in places.items():
            for path in paths:
                if path not in written or option == "--writable":
                    command += [option, path]
    limit = BUILD_SECONDS if "".join(arguments[-2:-1]).startswith("build_") else SECONDS
    return [*command, "--seconds", str(limit), "--", *arguments], env


def not_names(requirements):
    """Return the requirements of a build that are not names: pip would send a URL to its host."""
    return [text for text in requirements if not isinstance(text, str) or set(text) & set("@/")]


def inspect_hook(arguments):
    """Return a fault of the answer of a hook, or None: pip moves the file that it names, wherever that is."""
    name, control = arguments[-2:]
    try:
        folders = hook_folders(arguments)[1:]
        answer = os.path.join(control, "output.json")
        if os.path.islink(answer):
            return "a link as its answer"
        with open(answer, encoding="utf-8") as stream:
            value = json.load(stream).get("return_val")
    except (OSError, ValueError, AttributeError):
        return None  # pip reports it
    if name.startswith("get_requires"):
        urls = not_names(value or [])
        return "a requirement that is not a name: {}".format(urls[0]) if urls else None
    if isinstance(value, str):
        if os.path.basename(value) != value or value in (".", ".."):
            return "a path outside of its directory: {}".format(value)
        for path in [os.path.join(folder, value) for folder in folders]:
            inside = [
                os.path.join(root, each) for root, below, files in os.walk(path) for each in below + files
            ]
            if any(os.path.islink(each) for each in [path, *inside]):
                return "a symbolic link: {}".format(value)
    return None


def without_urls(arguments, environ):
    """Move the URLs of indexes, which may hold passwords, from the arguments to the environment."""
    kept, env, extra = [], dict(environ), []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            kept += [argument, *rest]
        elif argument == "-i":
            env["PIP_INDEX_URL"] = next(rest)
        elif argument == "--extra-index-url":
            extra.append(next(rest))
        else:
            kept.append(argument)
    if "PIP_INDEX_URL" in env:
        env["PIP_EXTRA_INDEX_URL"] = " ".join(extra)
    return kept, env


def is_of_system(program):
    """Return whether pip starts a program as itself, and not for a project."""
    name = os.path.basename(program)
    return name in PROGRAMS or name.startswith("ld-musl-")  # the loader, which prints its version


def guarded(guard_file, pip):
    """Return a class for subprocess.Popen that starts foreign programs in the sandbox."""
    with open(guard_file, encoding="utf-8") as stream:
        guard = json.load(stream)
    runner = os.path.realpath(os.path.join(pip, RUNNER))

    class Popen(subprocess.Popen):
        def __init__(self, args, *rest, **options):
            self.hook = None
            # Python's `platform` starts `uname -p` through a shell.
            given = args.split() if isinstance(args, (str, bytes)) else args
            arguments = [os.fsdecode(argument) for argument in given]
            environ = options.get("env") or os.environ
            if is_of_system(arguments[0]):
                options["env"] = without_secrets(arguments[0], environ)
            elif len(arguments) > 1 and os.path.realpath(arguments[1]) == runner:
                urls = not_names(arguments[arguments.index("--") :])
                if urls:
                    restrict_pip.refuse("requirement of a build", "`{}` is not a name".format(urls[0]))
                arguments, env = without_urls(arguments, environ)
                args = [arguments[0], "-I", os.path.abspath(__file__), guard_file, *arguments[1:]]
                options["env"] = dict(env, PIP_USE_PEP517="1")  # the other way runs setup.py without a hook
            else:
                self.hook = arguments
                args, options["env"] = sandboxed(guard, arguments, options.get("cwd"), environ)
            super().__init__(args, *rest, **options)

        def wait(self, timeout=None):
            code = super().wait(timeout)
            hook, self.hook = self.hook, None
            fault = inspect_hook(hook) if hook and code == 0 else None
            if fault is not None:
                print("ERROR: a build backend returned " + fault, file=sys.stderr)
                self.returncode = code = 1
            return code

    return Popen


def fix_requirements(guard_file, folder):
    """Resolve the requirements of a build, and replace them by the resolved files, by digest."""
    number, report = tempfile.mkstemp(suffix=".json", dir=folder)
    os.close(number)
    # -I: see `Popen`.
    command = [sys.executable, "-I", os.path.abspath(__file__), guard_file, *sys.argv]
    at = command.index("--")
    command[at:at] = ["--dry-run", "--report", report]
    code = subprocess.call(command, env=dict(os.environ, **{BUILD_REQUIRES: ""}))
    if code != 0:
        sys.exit(code)
    with open(report, encoding="utf-8") as stream:
        items = json.load(stream)["install"]
    lines = [
        "{name}=={version} --hash=sha256:{sha256}\n".format(
            sha256=item["download_info"]["archive_info"]["hashes"]["sha256"], **item["metadata"]
        )
        for item in items
    ]
    with open(report + ".txt", "w", encoding="utf-8") as stream:
        stream.writelines(lines)
    sys.argv[sys.argv.index("--") :] = ["--no-deps", "--require-hashes", "-r", report + ".txt"]


def main():
    """Run pip in this process."""
    guard, pip = sys.argv[1:3]
    if ctypes is not None and hasattr(ctypes.CDLL(None), "prctl"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    for kind, limit in ((resource.RLIMIT_DATA, MEMORY), (resource.RLIMIT_FSIZE, restrict_pip.FILE)):
        hard = resource.getrlimit(kind)[1]
        if hard == resource.RLIM_INFINITY or hard > limit:
            resource.setrlimit(kind, (limit, hard))
    is_runner = os.path.basename(pip) == RUNNER
    package = os.path.dirname(pip) if is_runner else pip
    sys.argv[:] = sys.argv[2:]
    if is_runner and os.environ.get(BUILD_REQUIRES):
        fix_requirements(guard, os.environ[BUILD_REQUIRES])
    subprocess.Popen = guarded(guard, package)
    restrict_pip.restrict(package)
    runpy.run_path(pip, run_name="__main__")


if __name__ == "__main__":
    main()
