"""Print the version, ABI, platform and markers of the target Python as a JSON object.

Started as ``python -I -S -B probe.py``: without site-packages, the user's site
directory and the working directory. Standard library only, syntax of Python 3.7.
``bundler.target.interpreter`` creates a ``Target`` from the object.
"""

import json
import os
import pkgutil
import platform
import struct
import sys
import sysconfig
from importlib.util import MAGIC_NUMBER


def libc():
    """Return the name and version of the C library, by confstr(3); empty if it is not glibc."""
    try:
        name, version = os.confstr("CS_GNU_LIBC_VERSION").split()
    except (AttributeError, OSError, ValueError):
        name, version = "", ""
    return [name, version]


def full_version():
    """Return the version in the format of ``implementation_version`` (PEP 508)."""
    info = sys.version_info
    text = "{}.{}.{}".format(info.major, info.minor, info.micro)
    if info.releaselevel != "final":
        text += info.releaselevel[0] + str(info.serial)
    return text


def stdlib_modules():
    """Return the top-level modules of the standard library; with -I -S, sys.path has no other ones."""
    names = set(sys.builtin_module_names) | {module.name for module in pkgutil.iter_modules(sys.path)}
    return sorted(names | {"__main__"})


def main():
    """Print the facts."""
    # Not `platform.uname()`: in 3.7 it starts a shell for the name of the processor, which no marker has.
    system = os.uname()
    json.dump(
        {
            "implementation": sys.implementation.name,
            "version": full_version(),
            "executable": sys.executable,
            "base_prefix": sys.base_prefix,
            "paths": sys.path,
            "soabi": sysconfig.get_config_var("SOABI") or "",
            "abiflags": getattr(sys, "abiflags", ""),
            "debug": hasattr(sys, "gettotalrefcount"),
            "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
            "bits": struct.calcsize("P") * 8,
            "platform": sysconfig.get_platform(),
            "macos": platform.mac_ver()[0],
            "libc": libc(),
            "magic": MAGIC_NUMBER.hex(),
            "stdlib_modules": stdlib_modules(),
            "stdlib": sorted({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}),
            "markers": {
                "implementation_name": sys.implementation.name,
                "implementation_version": full_version(),
                "os_name": os.name,
                "platform_machine": system.machine,
                "platform_python_implementation": platform.python_implementation(),
                "platform_release": system.release,
                "platform_system": system.sysname,
                "platform_version": system.version,
                "python_full_version": platform.python_version(),
                "python_version": ".".join(platform.python_version_tuple()[:2]),
                "sys_platform": sys.platform,
            },
        },
        sys.stdout,
        sort_keys=True,
    )


main()
