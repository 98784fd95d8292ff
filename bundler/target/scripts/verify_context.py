"""Verify the files of a build context against its ``context.json``.

    python3 verify.py [DIRECTORY]

Prints the missing, changed and extra files. The exit code is 5 if there are any, else 0.
DIRECTORY is by default that of this script. It needs Python 3.7 or newer, and no
packages. Written by bundler.
"""

import hashlib
import json
import os
import sys

EXTRA_IS_FINE = ("context.json", "verify.py")


def digest(path):
    """Return the size and sha256 of a file."""
    sha256 = hashlib.sha256()
    size = 0
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(1 << 20), b""):
            sha256.update(chunk)
            size += len(chunk)
    return size, sha256.hexdigest()


def files_in(folder):
    """Yield the relative path of every file in a directory; a link to a directory counts as a file."""
    for parent, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        for name in names + links:
            path = os.path.relpath(os.path.join(parent, name), folder)
            yield path.replace(os.sep, "/")


def problems(folder, files):
    """Yield a line for each extra, missing or changed file."""
    existing = set(files_in(folder)) - set(EXTRA_IS_FINE)
    for path in sorted(existing - set(files)):
        yield "extra    " + path
    for path, wanted in sorted(files.items()):
        full = os.path.join(folder, *path.split("/"))
        if path not in existing:
            yield "missing  " + path
        elif os.path.islink(full) or not os.path.isfile(full):
            yield "changed  {}: not a regular file".format(path)
        else:
            size, sha256 = digest(full)
            if (size, sha256) != (wanted["size"], wanted["sha256"]):
                line = "changed  {}: wanted {} bytes, sha256 {}; found {} bytes, sha256 {}"
                yield line.format(path, wanted["size"], wanted["sha256"], size, sha256)


def main():
    """Verify the directory, and return the exit code."""
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(folder, "context.json"), encoding="utf-8") as stream:
        context = json.load(stream)
    lines = list(problems(folder, context["files"]))
    for line in lines:
        print(line.encode("ascii", "backslashreplace").decode("ascii"))
    count = "{} file{}".format(len(context["files"]), "" if len(context["files"]) == 1 else "s")
    if lines:
        print("{} problem{} in {}".format(len(lines), "" if len(lines) == 1 else "s", count))
        return 5
    print("{} verified".format(count))
    return 0


if __name__ == "__main__":
    sys.exit(main())
