"""Run the target's pip, and each program of Python that it starts in a sandbox; runs in the target Python.

Started as ``python -I run_pip.py GUARD PIP ARGUMENT...``. PIP is the unpacked ``pip``
package. Standard library only, syntax of Python 3.7.

pip starts build backends and metadata hooks (PEP 517) as ``sys.executable
_in_process.py HOOK DIRECTORY``, and itself, to install the requirements of a build,
as ``sys.executable __pip-runner__.py``. Here the second is started through this
script again, and everything else of ``sys.executable`` is foreign code: it gets a
sandbox, and an environment without index settings, proxies and the user's variables.
Other programs, such as ``git`` and ``lsb_release``, get no setting of an index.

GUARD is a JSON file::

    {"command": ["/usr/bin/python3", "-I", "-S", "sandbox_child.py", "--net"],
     "places": true,                whether the sandbox has a root directory of its own
     "visible": ["/usr/lib/x"],     the directories that every hook may read
     "empty": ["/scratch/notes"],   the directories that are empty for every hook
     "home": "/scratch/home"}       HOME and TMPDIR of a hook, empty, too
"""

import email.parser
import json
import os
import re
import resource
import runpy
import subprocess
import sys

try:
    import ctypes
except ImportError:  # a Python that was built without libffi
    ctypes = None

PR_SET_PDEATHSIG, SIGKILL = 1, 9
MEMORY = 4 << 30
"""Bytes of data of pip itself, which collects the output of hooks."""
FILE = 8 << 30
"""Bytes of one file of pip: a wheel has no more, and the response of an index may have no end."""
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
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
DIRECT = re.compile(r"\s*[\w.-]+\s*(?:\[[^\]]*\])?\s*@\s*(?P<url>\S+)")
"""A dependency by URL (PEP 508)."""
RUNNER = "__pip-runner__.py"
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
    limit = BUILD_SECONDS if arguments[-2].startswith("build_") else SECONDS
    return [*command, "--seconds", str(limit), "--", *arguments], env


def inspect_hook(arguments):
    """Return a fault of the answer of a hook, or None: pip moves the file that it names, wherever that is.

    A requirement of a build is a name, not a URL: pip would send it to the host of the URL.
    """
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
        urls = [text for text in value or [] if not isinstance(text, str) or set(text) & set("@/")]
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
        if name.startswith("prepare_metadata") and "--no-deps" not in sys.argv:
            return url_dependency(os.path.join(folders[0], value, "METADATA"))
    return None


def url_dependency(path):
    """Return a fault of METADATA, or None: pip would fetch the URL of a dependency."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            metadata = email.parser.HeaderParser().parse(stream)
    except OSError:
        return None  # pip reports it
    for text in metadata.get_all("Requires-Dist", []):
        match = DIRECT.match(text)
        if match and match.group("url") not in required_words(sys.argv):
            return "a dependency with a URL, which the requirements must name: {}".format(
                " ".join(text.split())
            )
    return None


def required_words(arguments):
    """Return the words of the requirements and constraints files of a command."""
    words = set()
    rest = iter(arguments)
    for argument in rest:
        if argument in ("-r", "-c"):
            with open(next(rest), encoding="utf-8") as stream:
                words.update(stream.read().split())
    return words


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


def guarded(guard_file, pip):
    """Return a class for subprocess.Popen that starts programs of Python in the sandbox."""
    with open(guard_file, encoding="utf-8") as stream:
        guard = json.load(stream)
    runner = os.path.join(pip, RUNNER)

    class Popen(subprocess.Popen):
        def __init__(self, args, *rest, **options):
            self.hook = None
            if not isinstance(args, (str, bytes)) and os.fspath(args[0]) == sys.executable:
                arguments = [os.fspath(argument) for argument in args]
                environ = options.get("env") or os.environ
                if os.path.realpath(arguments[1]) == os.path.realpath(runner):
                    arguments, env = without_urls(arguments, environ)
                    args = [sys.executable, "-I", os.path.abspath(__file__), guard_file, *arguments[1:]]
                    env["PIP_USE_PEP517"] = "1"  # the other way runs setup.py without a hook
                else:
                    self.hook = arguments
                    args, env = sandboxed(guard, arguments, options.get("cwd"), environ)
                options["env"] = env
            else:
                program = args if isinstance(args, (str, bytes)) else args[0]
                options["env"] = without_secrets(os.fsdecode(program), options.get("env") or os.environ)
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


def main():
    """Run pip in this process."""
    guard, pip = sys.argv[1:3]
    if ctypes is not None and hasattr(ctypes.CDLL(None), "prctl"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    for kind, limit in ((resource.RLIMIT_DATA, MEMORY), (resource.RLIMIT_FSIZE, FILE)):
        hard = resource.getrlimit(kind)[1]
        if hard == resource.RLIM_INFINITY or hard > limit:
            resource.setrlimit(kind, (limit, hard))
    package = os.path.dirname(pip) if os.path.basename(pip) == RUNNER else pip
    subprocess.Popen = guarded(guard, package)
    sys.argv[:] = sys.argv[2:]
    runpy.run_path(pip, run_name="__main__")


if __name__ == "__main__":
    main()
