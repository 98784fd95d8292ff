"""Virtual environments as pip and setuptools leave them."""

from __future__ import annotations

import subprocess
from pathlib import Path

NSPKG = (
    "import sys, types, os;has_mfs = sys.version_info > (3, 5);"
    "p = os.path.join(sys._getframe(1).f_locals['sitedir'], *('{0}',));"
    "importlib = has_mfs and __import__('importlib.util');has_mfs and __import__('importlib.machinery');"
    "m = has_mfs and sys.modules.setdefault('{0}', importlib.util.module_from_spec("
    "importlib.machinery.PathFinder.find_spec('{0}', [os.path.dirname(p)])));"
    "m = m or sys.modules.setdefault('{0}', types.ModuleType('{0}'));"
    "mp = (m or []) and m.__dict__.setdefault('__path__',[]);(p not in mp) and mp.append(p)\n"
)
"""What setuptools writes since 2016."""
OLD_NSPKG = (
    "import sys,types,os; p = os.path.join(sys._getframe(1).f_locals['sitedir'], *('{0}',)); "
    "ie = os.path.exists(os.path.join(p,'__init__.py')); "
    "m = not ie and sys.modules.setdefault('{0}', types.ModuleType('{0}')); "
    "mp = (m or []) and m.__dict__.setdefault('__path__',[]); (p not in mp) and mp.append(p)\n"
)
"""What it wrote before."""


def make_venv(python: Path, folder: Path) -> tuple[Path, Path]:
    """Return the Python and the site-packages of an empty environment."""
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True, capture_output=True)
    (site,) = folder.glob("lib/python3*/site-packages")
    return folder / "bin" / "python", site
