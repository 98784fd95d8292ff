"""Describe the ending of an import; runs in the target Python.

Loaded by ``import_modules.py`` beside it, as ``import_watch.py`` is. Standard library only,
syntax of Python 3.7. The docstring of ``import_modules.py`` defines the results.
"""

import io
import os
import sys
import traceback
from contextlib import suppress

TEXT_KEPT = 4096
CHAIN_KEPT = 10
MAPPED_KEPT = 4096

open_file = io.open  # bound here, since the module may patch it


def chain(error):
    """Yield ``error`` and the errors that it replaces.

    An ImportError without a name ("please install x") replaces the one that was being
    handled; any other error in an ``except ImportError`` block is an error of its own.
    """
    for _ in range(CHAIN_KEPT):
        yield error
        replaces = isinstance(error, ImportError) and error.name is None and not error.__suppress_context__
        error = error.__cause__ or (error.__context__ if replaces else None)
        if error is None:
            return


def running(errors, modules):
    """Return those of ``modules`` whose top level the tracebacks of errors pass through, outermost first."""
    found = []
    for error in errors:
        trace = error.__traceback__
        while trace is not None:
            name = trace.tb_frame.f_globals.get("__name__")
            if trace.tb_frame.f_code.co_name == "<module>" and name in modules and name not in found:
                found.append(name)
            trace = trace.tb_next
    return found


def mapped():
    """Return the paths of the shared objects that this process has mapped (proc(5), /proc/pid/maps)."""
    with suppress(OSError), open_file("/proc/self/maps", "rb") as stream:
        # Address, permissions, offset, device, inode, path; the path of an anonymous mapping is empty.
        paths = {line.split(None, 5)[5].rstrip(b"\n") for line in stream if line.count(b"/")}
        return sorted(os.fsdecode(path) for path in paths if b".so" in path)[:MAPPED_KEPT]
    return []


def describe(error, modules=()):
    """Return the result of an import that raised an exception."""
    errors = list(chain(error))
    texts = ["".join(traceback.format_exception_only(type(link), link)).strip() for link in errors]
    lines = [line.strip() for line in texts[0].splitlines() if line.strip()] or [type(error).__name__]
    missing = [str(link.name) for link in errors if isinstance(link, ModuleNotFoundError) and link.name]
    return {
        "ended": "raised",
        "exception": type(error).__name__,
        "message": lines[-1][:TEXT_KEPT],
        "text": "\n".join(text[:TEXT_KEPT] for text in texts),
        "missing": missing[0] if missing else None,
        "through": running(errors, modules),
    }


def succeed(modules):
    """Return the result of an import that succeeded.

    :param modules: the modules of the request.
    """
    loaded = [name for name in modules if sys.modules.get(name) is not None]
    return {"ended": "ok", "loaded": sorted(loaded), "mapped": mapped()}
