"""Describe the target Python to uv, with the glibc of the target; runs in the target Python.

Started as ``python -I describe_python.py REFUSING GLIBC MACHINE ARGUMENT...`` with the arguments that uv
gives to a Python, which end with ``-c CODE``: the code prints the version, markers and platform of its
Python. uv takes ``sys.executable`` for the Python that runs build backends: here it is the program
REFUSING. MACHINE is that of a target on another platform, else empty. Standard library only, syntax of
Python 3.7.
"""

import os
import platform
import sys
import sysconfig


def main():
    """Run the code of uv."""
    refusing, glibc, machine = sys.argv[1:4]
    code = sys.argv[sys.argv.index("-c") + 1]
    confstr = os.confstr

    def limited(name):
        return "glibc " + glibc if name == "CS_GNU_LIBC_VERSION" else confstr(name)

    os.confstr = limited
    if machine:
        platform.machine = lambda: machine
        sysconfig.get_platform = lambda: "linux-" + machine
    sys.executable = sys._base_executable = refusing  # noqa: SLF001 - uv reads both
    sys.argv[:] = ["-c"]
    exec(code, {"__name__": "__main__"})  # code of uv itself


if __name__ == "__main__":
    main()
