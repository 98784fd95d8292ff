"""Pure: the programs in a bundle's ``bin`` folder.

A launcher holds no path. It is a shell script and a Python program at once: the
shell part finds the target's Python, the Python part finds the bundle relative
to itself. It runs after any move, in a folder with spaces, at any length of
path, and does not need PYTHONPATH.

Specs: entry points (PyPA); console scripts. A script of a wheel's ``scripts``
scheme that starts with ``#!python`` is kept as it is under ``libexec`` and run
from a launcher, since nothing may stand before its ``from __future__`` lines.
"""

from __future__ import annotations

import re

from bundler.archive.entry_points import EntryPoint

__all__ = ["LAUNCHER_FORMAT", "entry_point_launcher", "is_python_script", "script_launcher"]

LAUNCHER_FORMAT = 1
"""To be raised with any change of the text below: it is part of a layer's key."""

# In the shell, `'''':` is `:`, which does nothing, and what follows runs up to
# `exec`. In Python all of it is one string.
_TEMPLATE = """\
#!/bin/sh
'''':
# Written by bundler. Runs on Python {python}, the first of: $BUNDLER_PYTHON, one
# beside this file, one on PATH.
self=$0
while [ -L "$self" ]; do
  link=$(readlink -- "$self")
  case $link in /*) self=$link ;; *) self=$(dirname -- "$self")/$link ;; esac
done
here=$(CDPATH= cd -- "$(dirname -- "$self")" && pwd -P) || exit 127
if [ -n "${{BUNDLER_PYTHON:-}}" ]; then exec "$BUNDLER_PYTHON" "$here/${{self##*/}}" "$@"; fi
for python in "$here/python{python}" "$here/python" python{python} python3 python; do
  if "$python" -c 'import sys; sys.exit(sys.version_info[:2] != {release})' 2>/dev/null; then
    exec "$python" "$here/${{self##*/}}" "$@"
  fi
done
echo "${{self##*/}}: Python {python} was not found; put it on PATH or set BUNDLER_PYTHON" >&2
exit 127
'''
import os
import sys

if sys.version_info[:2] != {release}:
    sys.exit("%s: made for Python {python}, this is %d.%d" % ((sys.argv[0],) + sys.version_info[:2]))
root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
site_packages = os.path.join(root, "lib", "python{python}", "site-packages")
# The bundle comes first, in the order its own .pth files make, whatever
# PYTHONPATH says; the folder of this file is not a place for modules.
del sys.path[0]
import site

before = list(sys.path)
site.addsitedir(site_packages)
added = [path for path in sys.path if path not in before]
sys.path[:] = [site_packages] + [path for path in added if path != site_packages] + [
    path for path in before if path != site_packages
]
{run}
"""

_SHEBANG = re.compile(rb"#!(?:[^\n]*/)?pythonw?(?:[0-9.]*)?(?:\s|$)|#!/usr/bin/env pythonw?[0-9.]*(?:\s|$)")


def entry_point_launcher(entry_point: EntryPoint, release: tuple[int, int]) -> bytes:
    """Return the program that calls an entry point of the group ``console_scripts`` or ``gui_scripts``."""
    top = entry_point.attribute.partition(".")[0]
    return _fill(
        f"from {entry_point.module} import {top}\n\nsys.exit({entry_point.attribute}())",
        release,
    )


def script_launcher(name: str, release: tuple[int, int]) -> bytes:
    """Return the program that runs ``libexec/<name>``, a Python script a wheel brought."""
    return _fill(
        f'import runpy\n\nrunpy.run_path(os.path.join(root, "libexec", {name!r}), run_name="__main__")',
        release,
    )


def is_python_script(first_bytes: bytes) -> bool:
    """Return whether an installer is to point this script at its own Python.

    The binary distribution format says so of ``#!python`` and ``#!pythonw``
    alone; a script that names some other Python of the build machine would not
    run anywhere else, so it counts too.
    """
    return _SHEBANG.match(first_bytes) is not None


def _fill(run: str, release: tuple[int, int]) -> bytes:
    python = "{}.{}".format(*release)
    return _TEMPLATE.format(python=python, release=release, run=run).encode()
