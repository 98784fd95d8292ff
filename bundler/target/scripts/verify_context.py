"""Check every file of a build context: run it beside ``context.json``, with any Python >= 3.7 alone.

    python3 verify.py [FOLDER]

Says what is missing, changed or extra and ends with 5 then, with 0 if nothing is.
Written by bundler; the folder is the one this file lies in, unless one is named.
"""

import hashlib
import json
import os
import sys

EXTRA_IS_FINE = ("context.json", "verify.py")


def digest(path):
    """Return size and sha256 of a file."""
    made = hashlib.sha256()
    size = 0
    with open(path, "rb") as stream:
        for piece in iter(lambda: stream.read(1 << 20), b""):
            made.update(piece)
            size += len(piece)
    return size, made.hexdigest()


def found(folder):
    """Yield every file of a folder, relative, links too."""
    for parent, folders, names in os.walk(folder):
        for name in names + [one for one in folders if os.path.islink(os.path.join(parent, one))]:
            path = os.path.relpath(os.path.join(parent, name), folder)
            yield path.replace(os.sep, "/")


def problems(folder, files):
    """Yield what is wrong."""
    there = set(found(folder)) - set(EXTRA_IS_FINE)
    for path in sorted(there - set(files)):
        yield "extra    " + path
    for path, wanted in sorted(files.items()):
        full = os.path.join(folder, *path.split("/"))
        if path not in there:
            yield "missing  " + path
        elif os.path.islink(full) or not os.path.isfile(full):
            yield "changed  {}: it is no regular file".format(path)
        else:
            size, made = digest(full)
            if (size, made) != (wanted["size"], wanted["sha256"]):
                told = "changed  {}: wanted {} bytes, sha256 {}; found {} bytes, sha256 {}"
                yield told.format(path, wanted["size"], wanted["sha256"], size, made)


def main():
    """Check the folder."""
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(folder, "context.json"), encoding="utf-8") as stream:
        context = json.load(stream)
    wrong = list(problems(folder, context["files"]))
    for line in wrong:
        print(line.encode("ascii", "backslashreplace").decode("ascii"))
    if wrong:
        print("{} of {} files are not as they were written".format(len(wrong), len(context["files"])))
        return 5
    print("{} files, every byte as it was written".format(len(context["files"])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
