"""Compile sources to reproducible bytecode; runs in the target Python.

Started as ``PYTHONHASHSEED=0 python -s -S -B compile.py`` in a clean environment
(``-I`` would ignore the hash seed). Standard library only, syntax of Python 3.7.

Protocol. stdin is a JSON list of ``[source, name, output]``: ``source`` is compiled
with the file name ``name``, and written to ``output``. stdout is a JSON object:
``failed`` maps each ``name`` that cannot be compiled to the reason, and ``code`` each
small ``__init__.py`` to a digest of its syntax tree. Files that are invalid for this
Python get no bytecode, as with pip.

The bytecode files are unchecked hash-based (PEP 552): without a time stamp, and never
compared with the source, since a mount is often read-only with arbitrary times.
"""

import sys

sys.path.pop(0)  # the directory of this script, which only -I and -P omit

import ast
import hashlib
import importlib.util
import json
import marshal
import operator
import struct
import types
import warnings

UNCHECKED_HASH = (0b01).to_bytes(4, "little")

# Bytes. Two wheels may install a small ``__init__.py`` with the same code, as those of namespace packages;
# a larger one must be identical in every byte.
SMALL = 4096

# Since 3.11 marshal sorts the elements of a frozenset (bpo-37596).
SORTS_SETS = sys.version_info >= (3, 11)

# The fields of a code object in the marshal format of 3.7 to 3.10, in order (CPython, Python/marshal.c);
# "i" is a 32-bit integer, "o" an object.
CODE_FIELDS = [
    ("i", "co_argcount"),
    ("i", "co_posonlyargcount" if sys.version_info >= (3, 8) else ""),
    ("i", "co_kwonlyargcount"),
    ("i", "co_nlocals"),
    ("i", "co_stacksize"),
    ("i", "co_flags"),
    ("o", "co_code"),
    ("o", "co_consts"),
    ("o", "co_names"),
    ("o", "co_varnames"),
    ("o", "co_freevars"),
    ("o", "co_cellvars"),
    ("o", "co_filename"),
    ("o", "co_name"),
    ("i", "co_firstlineno"),
    ("o", "co_linetable" if sys.version_info >= (3, 10) else "co_lnotab"),
]
# Those that hold objects. dir() of each code object would take a third of the time of its compilation.
OBJECTS_OF_CODE = operator.attrgetter(
    *(
        name
        for name in dir(types.CodeType)
        if name.startswith("co_") and isinstance(getattr(compile("", "", "exec"), name), (str, bytes, tuple))
    )
)
# CPython shares the strings of one Latin-1 character, and marshal writes whether a string is interned:
# all of them are, before the first file may or may not intern one.
INTERNED = [sys.intern(text) for text in ("", *map(chr, range(256)))]
SINGLETONS = {None: b"N", True: b"T", False: b"F", Ellipsis: b"."}


def parts(code):
    """Return every object that marshal will write for ``code``, and whether one of them is a frozenset."""
    held, has_set = [code], False
    for value in held:  # which grows meanwhile
        kind = type(value)
        if kind is tuple:
            held += value
        elif kind is types.CodeType:
            held += OBJECTS_OF_CODE(value)
        elif kind is frozenset:
            held += value
            has_set = True
    return held, has_set


def stable_code(text, name):
    """Return the code of ``text`` and its parts, independent of what was compiled before.

    The compiler copies a frozenset constant for each function that contains it if its
    strings are already interned, and shares it otherwise. The first compilation interns
    the strings, so the second one always copies.
    """
    code = compile(text, name, "exec", dont_inherit=True, optimize=0)
    held, has_set = parts(code)
    if has_set:
        code = compile(text, name, "exec", dont_inherit=True, optimize=0)
        held += parts(code)[0]
    return code, held


def stable_marshal(code, held):
    """Return the marshal of ``code``, independent of what was compiled before in this process.

    marshal sets FLAG_REF for an object with more than one reference. Interned names may be
    shared with other code of the process, so the flag, and with it the bytes, would depend
    on the order of compilation (bpo-34093). The second references in ``held`` set the flag
    for all objects.
    """
    if not SORTS_SETS and any(by_address(value) for value in held if type(value) is frozenset):
        written = write(code)
        if marshal.loads(written) == code:
            return written
    return marshal.dumps(code)


def by_address(value):
    """Return whether the hash of ``value``, and so its order in a set, depends on its memory address."""
    if isinstance(value, (tuple, frozenset)):
        return any(by_address(part) for part in value)
    return value is None or value is Ellipsis or isinstance(value, types.CodeType)


def write(value):
    """Return the marshal of ``value`` without references and with sorted sets.

    Slow, and only used for the few files with a set that contains None, whose hash is its
    memory location before 3.12. Format: CPython, Python/marshal.c.
    """
    if value is None or value is Ellipsis or isinstance(value, bool):
        return SINGLETONS[value]
    if isinstance(value, int) and -(1 << 31) <= value < 1 << 31:
        return b"i" + struct.pack("<i", value)
    if isinstance(value, (int, float, complex)):
        return marshal.dumps(value, 2)
    if isinstance(value, bytes):
        return b"s" + struct.pack("<i", len(value)) + value
    if isinstance(value, str):
        encoded = value.encode("utf-8", "surrogatepass")
        return b"u" + struct.pack("<i", len(encoded)) + encoded
    if isinstance(value, tuple):
        return b"(" + struct.pack("<i", len(value)) + b"".join(write(part) for part in value)
    if isinstance(value, frozenset):
        return b">" + struct.pack("<i", len(value)) + b"".join(sorted(write(part) for part in value))
    written = [b"c"]
    for kind, name in CODE_FIELDS:
        if name:
            part = getattr(value, name)
            written.append(struct.pack("<i", part) if kind == "i" else write(part))
    return b"".join(written)


def compile_one(source, name, output):
    """Compile one file, write its bytecode, and return its source."""
    with open(source, "rb") as stream:
        text = stream.read()
    code, held = stable_code(text, name)
    digest = importlib.util.source_hash(text)
    content = importlib.util.MAGIC_NUMBER + UNCHECKED_HASH + digest + stable_marshal(code, held)
    with open(output, "xb") as stream:
        stream.write(content)
        stream.flush()
    return text


def main():
    """Compile the files listed on stdin."""
    warnings.simplefilter("ignore")
    failed = {}
    code = {}
    for source, name, output in json.load(sys.stdin):
        try:
            text = compile_one(source, name, output)
            if name.endswith("/__init__.py") and len(text) <= SMALL:
                code[name] = hashlib.sha256(ast.dump(ast.parse(text)).encode("utf-8", "replace")).hexdigest()
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
            failed[name] = "{}: {}".format(type(error).__name__, error)
    json.dump({"failed": failed, "code": code}, sys.stdout, sort_keys=True)


if __name__ == "__main__":
    main()
