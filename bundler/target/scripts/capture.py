"""Print the profile of a base image's Python as a JSON object, or check it against a bundle's manifest.

    python3.7 capture.py > base.json              print the profile of this Python
    python3.7 capture.py --check manifest.json    check the requirements of a bundle on its base

The script runs in the target, alone: standard library only, syntax of Python 3.7. The
check prints one line for each requirement. Its exit code is 0, or 10 if a requirement
is not met, or 3 if the manifest is malformed. ``bundler.base_image.profile`` reads the
profile and documents its format.
"""

import sys

# Python puts the directory of the script first on sys.path, unless it is started with -I or -P. It may
# be any directory, with modules that would shadow the standard library.
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


def python_facts():
    """Return the facts of `probe.py`, without the directories of the machine."""
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


def own_folders():
    """Return the library directories that the images search before those of the system, in order."""
    folders = []
    azure = os.environ.get("AZUREML_CONDA_ENVIRONMENT_PATH")
    if azure:
        folders.append(os.path.join(azure, "lib"))
    folders += [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder]
    folders.append(os.path.join(sys.prefix, "lib"))
    folders.append(os.path.join(sys.base_prefix, "lib"))
    return folders


def system_folders():
    """Return the library directories of the system."""
    folders = ["/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib"]
    multiarch = sysconfig.get_config_var("MULTIARCH") or platform.machine() + "-linux-gnu"
    return [*folders, "/lib/" + multiarch, "/usr/lib/" + multiarch]


def listed(folder):
    """Return the sorted names in a directory; an empty list if it cannot be read."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def ldconfig():
    """Return the libraries in the cache of the loader (ldconfig(8)), name to path; empty without a cache."""
    for program in ("/sbin/ldconfig", "/usr/sbin/ldconfig"):
        try:
            text = subprocess.check_output(
                [program, "-p"], env={"LC_ALL": "C"}, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
            ).decode("utf-8", "replace")
        except (OSError, subprocess.CalledProcessError):
            continue
        libraries_by_name = {}
        for name, flags, path in re.findall(r"(?m)^\s+(\S+) \(([^)]*)\) => (\S+)$", text):
            # A 64-bit x86 system may have 32-bit libraries, whose entries lack this flag.
            if "x86-64" in flags or platform.machine() != "x86_64" or struct.calcsize("P") == 4:
                libraries_by_name.setdefault(name, path)
        return libraries_by_name
    return {}


def libraries_in(folders):
    """Return the shared libraries in directories, name to path; the first file of a name counts."""
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
    """Return the newest GLIBCXX and CXXABI symbol versions that a C++ library defines.

    They are read as NUL-terminated strings, as in ``strings libstdc++.so.6 | grep GLIBCXX``: a
    parser of ELF's .gnu.version_d would need a dependency.
    """
    try:
        with open(path, "rb") as stream:
            content = stream.read(ELF_LIMIT)
    except (OSError, TypeError):
        return {}
    newest = {}
    for family in ("GLIBCXX", "CXXABI"):
        versions = re.findall(family.encode() + rb"_(\d+(?:\.\d+)+)\0", content)
        if versions:
            newest[family] = max((version.decode() for version in versions), key=numbers)
    return newest


def read(*parts):
    """Return a file as text; empty if it cannot be read."""
    try:
        with open(os.path.join(*parts), "rb") as stream:
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return ""


def headers(text):
    """Return the header fields of a METADATA or PKG-INFO file, each with the list of its values."""
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
    """Return the requires.txt of an egg-info as Requires-Dist, converted as by importlib.metadata."""
    requires = []
    extra = marker = ""
    for line in (raw.strip() for raw in text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            extra, _, marker = line[1:-1].partition(":")
        elif line and not line.startswith("#"):
            conditions = []
            if marker:
                conditions.append("(" + marker + ")" if extra else marker)
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
    """Return the top-level import names of installed paths, and whether one is a .pth file."""
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
    """Return the facts of an installed distribution, or None if its metadata has no name or version."""
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
    """Return the installed distributions, sorted by name; the first of a name on sys.path counts."""
    by_name = {}
    for folder in sys.path:
        for entry in listed(folder):
            if entry.endswith((".dist-info", ".egg-info")):
                facts = described(folder, entry)
                if facts is not None:
                    by_name.setdefault(facts["name"], facts)
    return [by_name[name] for name in sorted(by_name)]


def occupied():
    """Return the import names that a bundle earlier on sys.path does not simply extend or replace.

    Each has one of three kinds. "namespace": a .pth file creates the module at start, and
    its ``__path__`` is computed from sys.path; "fixed": its ``__path__`` is not; "regular": an
    ordinary module or package, which replaces a namespace package of the same name.
    Packages that extend their ``__path__`` (pkgutil- and pkg_resources-style namespaces) are omitted.
    """
    names = {}
    sites = [path for path in sys.path if path.rstrip("/").endswith(("site-packages", "dist-packages"))]
    # Each line of setuptools' nspkg.pth files registers a namespace package in sys.modules at start.
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
    return {name: kind for name, kind in sorted(names.items()) if kind != "extends"}


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


def version_key(text):
    """Return a key that is equal for all spellings of a version (PEP 440, "Normalization")."""
    same = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc", "rev": "post", "r": "post"}
    public, _, local = text.strip().lower().lstrip("v").partition("+")
    public = re.sub(r"-(\d+)$", r".post\1", public)
    parts = [
        int(part) if part.isdigit() else same.get(part, part) for part in re.findall(r"\d+|[a-z]+", public)
    ]
    release = 0
    while release < len(parts) and isinstance(parts[release], int):
        release += 1
    head = parts[:release]
    while head and head[-1] == 0:
        head.pop()
    return head, parts[release:], re.findall(r"\d+|[a-z]+", local)


def numbers(text):
    """Return the numbers in a version, for comparisons."""
    return [int(number) for number in re.findall(r"\d+", text)]


def expectations(manifest):
    """Yield the requirements of a bundle on its base: subject, wanted, found, and whether it is met."""
    target = manifest["target"]
    info = sys.version_info
    python = "{}.{}".format(info[0], info[1])
    tag = "cp" if sys.implementation.name == "cpython" else sys.implementation.name
    abi = tag + python.replace(".", "") + getattr(sys, "abiflags", "")
    machine = re.sub(r"[-.]", "_", sysconfig.get_platform())
    yield "python", target["python"], python, target["python"] == python
    yield "abi", target["abi"], abi, target["abi"] == abi
    yield "platform", target["platform"], machine, target["platform"] == machine
    floor = (manifest.get("verification") or {}).get("glibc") or ""
    if floor:
        name, version = libc()
        met = name == "glibc" and numbers(version) >= numbers(floor)
        yield "glibc", floor + " or newer", version or "none", met
    provided = (manifest.get("base") or {}).get("provided") or {}
    installed = {facts["name"]: facts["version"] for facts in distributions()} if provided else {}
    for name, version in sorted(provided.items()):
        found = installed.get(name)
        met = found is not None and version_key(found) == version_key(version)
        yield name, version, found or "none", met


def check(path):
    """Print a line for each requirement in a manifest, and return the exit code."""
    try:
        with open(path, "rb") as stream:
            manifest = json.loads(stream.read().decode("utf-8"))
        results = list(expectations(manifest))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        sys.stderr.write(ascii_only("{}: not the manifest of a bundle: {!r}\n".format(path, error)))
        return 3
    failed = False
    for subject, wanted, found, met in results:
        failed = failed or not met
        line = "ok    {0} {2}\n" if met else "FAIL  {0}: wanted {1}, found {2}\n"
        sys.stdout.write(ascii_only(line.format(subject, wanted, found)))
    return 10 if failed else 0


def ascii_only(text):
    """Return text with characters outside of ASCII escaped, for stdout in any encoding."""
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
