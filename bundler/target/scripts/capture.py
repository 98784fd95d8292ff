"""Run on the target, alone: say what a base has, as one JSON object on stdout.

    python3.7 capture.py > base.json              the profile of this Python
    python3.7 capture.py --check manifest.json    does this Python meet a bundle?

Standard library only, syntax of Python 3.7, no other file beside it. The check
prints one line for each expectation and ends with 0, or with 10 if one is not
met; with 3 if the manifest cannot be read. Read by ``bundler.base_image.profile``; the format is
described there.
"""

import sys

# The folder of this script is the first place modules come from, and it may
# hold anything; only isolated and safe-path starts leave it out.
if not sys.flags.isolated and not getattr(sys.flags, "safe_path", False):
    del sys.path[0]

import csv
import io
import json
import os
import platform
import re
import struct
import subprocess
import sysconfig
from importlib.util import MAGIC_NUMBER

NAME = re.compile(r"(?i)^lib[^/]*\.so(\.[^/]*)?$")
ELF_LIMIT = 64 << 20


def libc():
    """Return the C library and its version, as confstr tells."""
    try:
        name, version = os.confstr("CS_GNU_LIBC_VERSION").split()
    except (AttributeError, OSError, ValueError):
        name, version = "", ""
    return [name, version]


def full_version():
    """Return the version as PEP 508 spells implementation_version."""
    info = sys.version_info
    text = "{}.{}.{}".format(info.major, info.minor, info.micro)
    if info.releaselevel != "final":
        text += info.releaselevel[0] + str(info.serial)
    return text


def python_facts():
    """Return what the probe says of a Python, but for the folders of the machine."""
    return {
        "implementation": sys.implementation.name,
        "version": full_version(),
        "executable": sys.executable,
        "prefix": sys.prefix,
        "soabi": sysconfig.get_config_var("SOABI") or "",
        "abiflags": getattr(sys, "abiflags", ""),
        "debug": hasattr(sys, "gettotalrefcount"),
        "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "bits": struct.calcsize("P") * 8,
        "platform": sysconfig.get_platform(),
        "macos": platform.mac_ver()[0],
        "libc": libc(),
        "magic": MAGIC_NUMBER.hex(),
        "markers": {
            "implementation_name": sys.implementation.name,
            "implementation_version": full_version(),
            "os_name": os.name,
            "platform_machine": platform.machine(),
            "platform_python_implementation": platform.python_implementation(),
            "platform_release": platform.release(),
            "platform_system": platform.system(),
            "platform_version": platform.version(),
            "python_full_version": platform.python_version(),
            "python_version": ".".join(platform.python_version_tuple()[:2]),
            "sys_platform": sys.platform,
        },
    }


# Shared libraries.


def own_folders():
    """Return the folders the images search before the system's, first one first."""
    folders = []
    azure = os.environ.get("AZUREML_CONDA_ENVIRONMENT_PATH")
    if azure:
        folders.append(os.path.join(azure, "lib"))
    folders += [one for one in os.environ.get("LD_LIBRARY_PATH", "").split(":") if one]
    folders.append(os.path.join(sys.prefix, "lib"))
    folders.append(os.path.join(sys.base_prefix, "lib"))
    return folders


def system_folders():
    """Return the system's library folders."""
    folders = ["/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib"]
    multiarch = sysconfig.get_config_var("MULTIARCH") or platform.machine() + "-linux-gnu"
    return [*folders, "/lib/" + multiarch, "/usr/lib/" + multiarch]


def listed(folder):
    """Return the names in a folder, sorted; none if it cannot be read."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def ldconfig():
    """Return the system's libraries as the loader's cache has them, name to path; empty without a cache."""
    for program in ("/sbin/ldconfig", "/usr/sbin/ldconfig"):
        try:
            text = subprocess.check_output(
                [program, "-p"], env={"LC_ALL": "C"}, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
            ).decode("utf-8", "replace")
        except (OSError, subprocess.CalledProcessError):
            continue
        found = {}
        for name, flags, path in re.findall(r"(?m)^\s+(\S+) \(([^)]*)\) => (\S+)$", text):
            if "x86-64" in flags or platform.machine() != "x86_64" or struct.calcsize("P") == 4:
                found.setdefault(name, path)
        return found
    return {}


def libraries_in(folders):
    """Return the shared libraries in some folders, name to path; the first of a name counts."""
    paths = {}
    for folder in folders:
        for name in listed(folder):
            if NAME.match(name) and os.path.exists(os.path.join(folder, name)):
                paths.setdefault(name, os.path.join(folder, name))
    return paths


def libraries():
    """Return the names of the shared libraries, and the path of the C++ library or None."""
    paths = dict(ldconfig() or libraries_in(system_folders()), **libraries_in(own_folders()))
    return sorted(paths), paths.get("libstdc++.so.6")


def symbol_versions(path):
    """Return the newest versions of the two families of symbols that the C++ library defines."""
    try:
        with open(path, "rb") as stream:
            content = stream.read(ELF_LIMIT)
    except (OSError, TypeError):
        return {}
    found = {}
    for family in ("GLIBCXX", "CXXABI"):
        versions = re.findall(family.encode() + rb"_(\d+(?:\.\d+)+)\0", content)
        if versions:
            found[family] = max((one.decode() for one in versions), key=numbers)
    return found


# Distributions.


def read(*parts):
    """Return a file as text; empty if there is none."""
    try:
        with open(os.path.join(*parts), "rb") as stream:
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return ""


def headers(text):
    """Return the fields of a METADATA or PKG-INFO, each with all its values."""
    fields = {}
    last = None
    for line in text.splitlines():
        if not line.strip():
            break
        if line[0] in " \t" and last:
            last[-1] += " " + line.strip()
            continue
        key, _, value = line.partition(":")
        last = fields.setdefault(key.strip().lower(), [])
        last.append(value.strip())
    return fields


def egg_requires(text):
    """Return requires.txt of an egg-info as Requires-Dist (the conversion importlib.metadata does)."""
    requires = []
    extra = marker = ""
    for line in (one.strip() for one in text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            extra, _, marker = line[1:-1].partition(":")
        elif line and not line.startswith("#"):
            conditions = ["(" + marker + ")"] if marker and extra else [marker] if marker else []
            if extra:
                conditions.append('extra == "{}"'.format(extra))
            space = " " if "@" in line else ""
            requires.append(line + (space + "; " + " and ".join(conditions) if conditions else ""))
    return requires


def record_paths(text):
    """Return the first column of a RECORD."""
    try:
        return [row[0] for row in csv.reader(io.StringIO(text)) if row]
    except csv.Error:
        return []


def tops(paths):
    """Return the top-level import names and the .pth files among installed paths."""
    names = set()
    pths = False
    for path in paths:
        first, _, rest = path.replace("\\", "/").partition("/")
        pths = pths or (not rest and first.endswith(".pth"))
        if not rest:
            stem = first.split(".")[0]
            first = stem if first.endswith((".py", ".so", ".pyd", ".pyc")) else ""
        if first.isidentifier() and first != "__pycache__":
            names.add(first)
    return sorted(names), pths


def described(folder, entry):
    """Return one installed distribution, or None if the entry is none."""
    path = os.path.join(folder, entry)
    egg = entry.endswith(".egg-info")
    inside = [] if egg and os.path.isfile(path) else ["PKG-INFO" if egg else "METADATA"]
    fields = headers(read(path, *inside))
    stem = entry.rpartition(".")[0]
    name = fields.get("name", [stem.split("-")[0]])[0]
    version = fields.get("version", [""])[0]
    if not name or not version:
        return None
    installed = record_paths(read(path, "RECORD"))
    if not installed:
        installed = [
            line[3:] for line in read(path, "installed-files.txt").splitlines() if line.startswith("../")
        ]
    names, pth = tops(installed)
    if not names:
        names = sorted(line.strip() for line in read(path, "top_level.txt").splitlines() if line.strip())
    return {
        "name": re.sub(r"[-_.]+", "-", name).lower(),
        "version": version,
        "requires": fields.get("requires-dist") or egg_requires(read(path, "requires.txt")),
        "top_level": names,
        "pth": pth or os.path.isfile(os.path.join(folder, stem + "-nspkg.pth")),
    }


def distributions():
    """Return what is installed, by name; the first on sys.path wins."""
    found = {}
    for folder in sys.path:
        for entry in listed(folder):
            if entry.endswith((".dist-info", ".egg-info")):
                facts = described(folder, entry)
                if facts is not None:
                    found.setdefault(facts["name"], facts)
    return [found[name] for name in sorted(found)]


def occupied():
    """Return the import names that do not simply give way to what is before them on sys.path.

    "namespace": a .pth file makes the module at start, and its path follows
    sys.path; "fixed": its path does not; "regular": an ordinary module or package.
    """
    names = {}
    sites = [one for one in sys.path if one.rstrip("/").endswith(("site-packages", "dist-packages"))]
    for folder in sites:
        for entry in listed(folder):
            if entry.endswith(".pth"):
                for line in read(folder, entry).splitlines():
                    for name in re.findall(r"sys\.modules\.setdefault\('([\w.]+)'", line):
                        has_init = os.path.isfile(os.path.join(folder, *([*name.split("."), "__init__.py"])))
                        follows = "module_from_spec" in line
                        if follows or not has_init:
                            names.setdefault(name, "namespace" if follows and not has_init else "fixed")
    for folder in sites:
        for entry in listed(folder):
            name = entry[:-3] if entry.endswith(".py") else entry
            if name.isidentifier() and name not in names:
                init = os.path.join(folder, entry, "__init__.py")
                if os.path.isfile(init):
                    text = read(init)
                    extends = "extend_path" in text or "declare_namespace" in text
                    names[name] = "extends" if extends else "regular"
                elif entry.endswith(".py"):
                    names[name] = "regular"
    return {name: how for name, how in sorted(names.items()) if how != "extends"}


def profile():
    """Return the profile of this Python."""
    names, cxx = libraries()
    return {
        "format": "bundler-base",
        "format_version": 1,
        "source": "interpreter",
        "python": python_facts(),
        "libraries": names,
        "symbol_versions": symbol_versions(cxx),
        "distributions": distributions(),
        "occupied": occupied(),
    }


# The check.


def version_key(text):
    """Return what two spellings of one version have in common (PEP 440, "Normalization")."""
    same = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc", "rev": "post", "r": "post"}
    public, _, local = text.strip().lower().lstrip("v").partition("+")
    public = re.sub(r"-(\d+)$", r".post\1", public)
    parts = [int(one) if one.isdigit() else same.get(one, one) for one in re.findall(r"\d+|[a-z]+", public)]
    release = 0
    while release < len(parts) and isinstance(parts[release], int):
        release += 1
    head = parts[:release]
    while head and head[-1] == 0:
        head.pop()
    return head, parts[release:], re.findall(r"\d+|[a-z]+", local)


def numbers(text):
    """Return the numbers of a version."""
    return [int(one) for one in re.findall(r"\d+", text)]


def expectations(manifest):
    """Yield what the bundle expects: what of, wanted, found, and whether it is met."""
    target = manifest["target"]
    info = sys.version_info
    python = "{}.{}".format(info[0], info[1])
    found = "{}{}".format(
        "cp" if sys.implementation.name == "cpython" else sys.implementation.name, python.replace(".", "")
    ) + getattr(sys, "abiflags", "")
    machine = re.sub(r"[-.]", "_", sysconfig.get_platform())
    yield "python", target["python"], python, target["python"] == python
    yield "abi", target["abi"], found, target["abi"] == found
    yield "platform", target["platform"], machine, target["platform"] == machine
    floor = (manifest.get("verification") or {}).get("glibc") or ""
    if floor:
        name, version = libc()
        met = name == "glibc" and numbers(version) >= numbers(floor)
        yield "glibc", floor + " or newer", version or "none", met
    provided = (manifest.get("base") or {}).get("provided") or {}
    there = {one["name"]: one["version"] for one in distributions()} if provided else {}
    for name, version in sorted(provided.items()):
        here = there.get(name)
        met = here is not None and version_key(here) == version_key(version)
        yield name, version, here or "none", met


def check(path):
    """Print a line for each expectation of a manifest and return the exit code."""
    try:
        with open(path, "rb") as stream:
            manifest = json.loads(stream.read().decode("utf-8"))
        found = list(expectations(manifest))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        sys.stderr.write(ascii_only("{}: not the manifest of a bundle: {!r}\n".format(path, error)))
        return 3
    failed = False
    for what, wanted, here, met in found:
        failed = failed or not met
        line = "ok    {0} {2}\n" if met else "FAIL  {0}: wanted {1}, found {2}\n"
        sys.stdout.write(ascii_only(line.format(what, wanted, here)))
    return 10 if failed else 0


def ascii_only(text):
    """Return text that any encoding of stdout can carry."""
    return text.encode("ascii", "backslashreplace").decode("ascii")


def main(args):
    """Print the profile, or check a manifest."""
    if not args:
        json.dump(profile(), sys.stdout, indent=1, sort_keys=True)
        sys.stdout.write("\n")
        return 0
    if len(args) == 2 and args[0] == "--check":
        return check(args[1])
    sys.stderr.write("usage: capture.py [--check MANIFEST]\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
