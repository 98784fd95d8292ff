"""Run inside the target Python: compile sources to bytecode that is the same bytes on every run.

Started as ``PYTHONHASHSEED=0 python -s -S -B compile.py`` in a scrubbed
environment (``-I`` would ignore the hash seed). Standard library only, syntax
of Python 3.7. Protocol: a JSON list of ``[source, name, output]`` on stdin; for
each, ``output`` is written, with ``name`` as the file name that stands inside;
on stdout a JSON object with ``failed``, from each ``name`` that cannot be compiled
to the reason, and ``code``, from each small ``__init__.py`` to a digest of its
syntax tree. Files that are not valid for this Python stay without bytecode, as
pip leaves them.

The form is PEP 552's unchecked hash: no time stamp, and never compared with the
source, since a mount is often read-only and its times are arbitrary.
"""

import sys

sys.path.pop(0)  # the folder of this script, which -s leaves in

import ast
import hashlib
import importlib.util
import json
import marshal
import struct
import types
import warnings

UNCHECKED_HASH = (0b01).to_bytes(4, "little")

# Bytes: a larger ``__init__.py`` is no mere namespace, and two of them must be the same to the letter.
SMALL = 4096

# Since 3.11 marshal sorts the elements of a frozenset (bpo-37596).
SORTS_SETS = sys.version_info >= (3, 11)

# What a code object is in a marshal of 3.7 to 3.10, in order; "i" is a 32-bit integer.
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
SINGLETONS = {None: b"N", True: b"T", False: b"F", Ellipsis: b"."}


def hold(value, held):
    """Append to ``held`` every object that marshal will meet in ``value``."""
    held.append(value)
    if isinstance(value, types.CodeType):
        for name in dir(value):
            if name.startswith("co_") and name not in ("co_lines", "co_positions", "co_branches"):
                part = getattr(value, name)
                if not callable(part):
                    hold(part, held)
    elif isinstance(value, (tuple, frozenset)):
        for part in value:
            hold(part, held)


def stable_code(text, name):
    """Return the code of ``text`` and everything in it, the same whatever was compiled before.

    A set of strings that some other code has interned already is copied for
    each function that holds it, else it is shared. With its strings interned by
    a first compilation, it is always copied.
    """
    held = []
    code = compile(text, name, "exec", dont_inherit=True, optimize=0)
    hold(code, held)
    if any(type(value) is frozenset for value in held):
        code = compile(text, name, "exec", dont_inherit=True, optimize=0)
        hold(code, held)
    return code, held


def stable_marshal(code, held):
    """Return one marshal form of ``code``, whatever was compiled before it in this process.

    marshal flags an object as one that may be referred to again if its
    reference count is above one. Interned names may be shared with any other
    code in the process, so the flag, and with it the bytes, would depend on the
    order of work (bpo-34093). With a second reference ``held`` to everything,
    the flag is always set.
    """
    if not SORTS_SETS and any(type(value) is frozenset and by_address(value) for value in held):
        written = write(code)
        if marshal.loads(written) == code:
            return written
    return marshal.dumps(code)


def by_address(value):
    """Return whether the hash of ``value``, and so its place in a set, depends on where it lies in memory."""
    if isinstance(value, (tuple, frozenset)):
        return any(by_address(part) for part in value)
    return value is None or value is Ellipsis or isinstance(value, types.CodeType)


def write(value):
    """Return ``value`` as marshal writes it without references, the elements of a set sorted.

    Slow, so only for the few files in which a set holds None, whose hash is an
    address before 3.12. Format: CPython, Python/marshal.c.
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
    parts = [b"c"]
    for kind, name in CODE_FIELDS:
        if name:
            part = getattr(value, name)
            parts.append(struct.pack("<i", part) if kind == "i" else write(part))
    return b"".join(parts)


def compile_one(source, name, output):
    """Compile one file."""
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
    """Compile what stdin lists."""
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
