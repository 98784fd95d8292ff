"""List the imports of modules without running them; runs in the target Python.

Started as ``python -I -S -B scan_imports.py``. Standard library only, syntax of Python
3.7. Read by ``bundler.checks.scanner``. It runs in the target, whose grammar applies.

Protocol. One JSON object on stdin::

    {"root": "/folder",
     "files": ["pkg/mod.py"],       relative to root
     "defines": false}              whether to list the names that the top level binds; else
                                    an error behind the last import may not be found

On stdout one JSON object a line for each file, in order, ASCII::

    {"file": "pkg/mod.py",
     "error": "3: invalid syntax"   instead of the rest: the line and the reason
     "imports": [["a.b", 0, 7, "top", ["x"]]],
     "defines": ["init", "run"],    names the top level binds
     "folders": ["lib"]}            directories below root that it may add to ``sys.path``

An import is its module ("" for ``from . import x``), its level (the leading
dots), its line, when it runs, and the names it takes from the module. It runs

* ``top``: whenever its file is imported;
* ``conditional``: under an ``if``, ``while``, ``for`` or ``match`` of the top level;
* ``delayed``: in a function;
* ``optional``: in a ``try`` whose handlers take an ImportError, in one of
  those handlers, or in a ``with suppress(...)``.

The least certain of these is reported. A branch that cannot run on this Python
(``sys.version_info``, ``sys.platform``, ``os.name``, ``TYPE_CHECKING``) is omitted.
``importlib.import_module("a")`` and ``__import__("a")`` count as imports.
"""

import ast
import codecs
import gc
import json
import os
import re
import sys

# The exceptions whose ``except`` catches an ImportError; a bare one catches it, too.
TAKES_IMPORT_ERROR = ("ImportError", "ModuleNotFoundError", "Exception", "BaseException")
# Where an import statement may start, after a line feed in front of the file, and the functions that import.
IMPORT = re.compile(rb"[\n\r;:][ \t\f]*(?:import|from)\b")
FUNCTIONS = (b"import_module", b"__import__")
# The end of a line before one that starts a statement, but not a further part of the statement before it.
STATEMENT = re.compile(rb"\n(?!(?:else|elif|except|finally)\b)(?=[A-Za-z_@])")
RANK = {"top": 0, "conditional": 1, "delayed": 2, "optional": 3}

# The nodes of a condition that can be evaluated statically.
KNOWN = [ast.UnaryOp, ast.USub, ast.Not, ast.Compare, ast.Constant, ast.Load, ast.Call]
KNOWN += [ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn]
KNOWN += [ast.Attribute, ast.Name, ast.Subscript, ast.Slice, ast.Tuple]
if sys.version_info < (3, 8):
    KNOWN += [ast.Num, ast.Str, ast.NameConstant]
if sys.version_info < (3, 9):
    KNOWN += [ast.Index]
KNOWN = tuple(KNOWN)
FACTS = {("sys", "version_info"), ("sys", "platform"), ("sys", "maxsize"), ("os", "name")}
OF_FACTS = ("major", "minor", "micro", "startswith")
IMPORTING = ("import_module", "__import__")
# The children of a statement that are or contain expressions, in contrast to nested statements.
PARTS = (ast.expr, ast.withitem, ast.arguments, ast.keyword)
# Expressions with a scope of their own.
SCOPES = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Facts:
    """The values of ``sys`` and ``os`` in a condition."""

    version_info = sys.version_info
    platform = sys.platform
    maxsize = sys.maxsize
    name = os.name


def is_type_checking(test):
    """Return whether a condition is ``TYPE_CHECKING`` or ``typing.TYPE_CHECKING``."""
    return (test.id if isinstance(test, ast.Name) else getattr(test, "attr", "")) == "TYPE_CHECKING"


def value_of(test):
    """Return the value of a condition as a bool, or None if it is known at run time only."""
    if is_type_checking(test):
        return False
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        value = value_of(test.operand)
        return None if value is None else not value
    if isinstance(test, ast.BoolOp):
        values = [value_of(operand) for operand in test.values]
        decisive = isinstance(test.op, ast.Or)  # `or` is true, `and` is false with one such operand
        if decisive in values:
            return decisive
        return None if None in values else not decisive
    for node in ast.walk(test):
        if not isinstance(node, KNOWN):
            return None
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if (owner, node.attr) not in FACTS and node.attr not in OF_FACTS:
                return None
        if isinstance(node, ast.Name) and node.id not in ("sys", "os"):
            return None
    try:
        code = compile(ast.Expression(test), "condition", "eval")
        # Safe to evaluate: the loop above admits literals and attributes of Facts only.
        return bool(eval(code, {"__builtins__": {}, "sys": Facts, "os": Facts}))
    except Exception:  # such as a comparison of values of different types
        return None


def name_of(node):
    """Return the last part of a dotted name, or ""."""
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")


def takes_import_error(handler):
    """Return whether an ``except`` catches an ImportError."""
    if handler.type is None:
        return True
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(name_of(node) in TAKES_IMPORT_ERROR for node in types)


def suppresses(statement):
    """Return whether a ``with`` statement suppresses an ImportError: ``with suppress(ImportError)``."""
    for item in statement.items:
        call = item.context_expr
        arguments = call.args if isinstance(call, ast.Call) and name_of(call.func) == "suppress" else ()
        if any(name_of(node) in TAKES_IMPORT_ERROR for node in arguments):
            return True
    return False


class Scan:
    """Collects the imports of one module.

    :param calls: whether to search for calls that import; few files contain any, and
        a search of all expressions takes as long as the parser.
    """

    def __init__(self, calls):
        self.found = []
        self.calls_too = calls

    def body(self, statements, when):
        """Collect the imports of statements that run ``when``."""
        for statement in statements:
            method = getattr(self, "at_" + type(statement).__name__.lower(), None)
            if method is not None:
                method(statement, when)
            self.calls([node for node in ast.iter_child_nodes(statement) if isinstance(node, PARTS)], when)

    def add(self, module, level, line, when, names):
        """Add an import."""
        self.found.append([module, level, line, when, names])

    def at_import(self, statement, when):
        """``import a.b, c``."""
        for alias in statement.names:
            self.add(alias.name, 0, statement.lineno, when, [])

    def at_importfrom(self, statement, when):
        """``from a import b``."""
        names = [alias.name for alias in statement.names]
        self.add(statement.module or "", statement.level or 0, statement.lineno, when, names)

    def at_functiondef(self, statement, when):
        """A function; its body runs later."""
        self.body(statement.body, weaker(when, "delayed"))

    at_asyncfunctiondef = at_functiondef

    def at_if(self, statement, when):
        """Skip a branch that cannot run; one that always runs is unconditional."""
        chain = [statement]  # each `elif` is nested in the one before, deeper than the recursion limit
        while chain:
            statement = chain.pop()
            value = value_of(statement.test)
            when = weaker(when, "conditional") if value is None else when
            if value is not False:
                self.body(statement.body, when)
            if value is not True and len(statement.orelse) == 1 and isinstance(statement.orelse[0], ast.If):
                chain = statement.orelse[:]
                self.calls([chain[0].test], when)
            elif value is not True:
                self.body(statement.orelse, when)

    def at_try(self, statement, when):
        """The body and its handlers are alternatives if a handler catches an ImportError."""
        optional = any(takes_import_error(handler) for handler in statement.handlers)
        inside = weaker(when, "optional") if optional else when
        self.body(statement.body, inside)
        for handler in statement.handlers:
            taken = takes_import_error(handler)
            self.body(handler.body, weaker(when, "optional" if taken else "conditional"))
        self.body(statement.orelse, inside)
        self.body(statement.finalbody, when)

    at_trystar = at_try

    def at_with(self, statement, when):
        """``with suppress(ImportError)`` makes its body optional."""
        self.body(statement.body, weaker(when, "optional") if suppresses(statement) else when)

    at_asyncwith = at_with

    def at_classdef(self, statement, when):
        """The body of a class runs when its definition does."""
        self.body(statement.body, when)

    def at_for(self, statement, when):
        """The body of a loop may not run at all."""
        self.body(statement.body + statement.orelse, weaker(when, "conditional"))

    at_asyncfor = at_for
    at_while = at_for

    def at_match(self, statement, when):
        """One of the cases runs."""
        for case in statement.cases:
            self.body(case.body, weaker(when, "conditional"))

    def calls(self, nodes, when):
        """Add ``import_module("a")`` and ``__import__("a")``; those in a lambda are delayed."""
        waiting = [(node, when) for node in nodes] if self.calls_too else []
        while waiting:
            node, when = waiting.pop()
            if isinstance(node, ast.Lambda):
                when = weaker(when, "delayed")
            waiting.extend((child, when) for child in ast.iter_child_nodes(node))
            if isinstance(node, ast.Call) and node.args and name_of(node.func) in IMPORTING:
                name = literal(node.args[0])
                if isinstance(name, str) and name and not name.startswith("."):
                    self.add(name, 0, node.lineno, when, [])


def literal(node):
    """Return the value of a constant, or None."""
    if sys.version_info < (3, 8):
        return getattr(node, "s", None)
    return node.value if isinstance(node, ast.Constant) else None


def weaker(when, other):
    """Return the less certain of two conditions of an import."""
    return max(when, other, key=RANK.get)


def bound(statements):
    """Return the names that top-level statements bind, also conditionally; ``*`` after a star import."""
    names = set()
    waiting = list(statements)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif not isinstance(node, SCOPES):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            waiting.extend(ast.iter_child_nodes(node))
    return names


def extends_path(node):
    """Return whether a node adds to ``sys.path``: a call such as ``append``, or an assignment."""
    if isinstance(node, ast.Call):
        if name_of(node.func) == "addsitedir":
            return True
        adds = name_of(node.func) in ("append", "extend", "insert")
        changed = [node.func.value] if adds and isinstance(node.func, ast.Attribute) else []
    elif isinstance(node, ast.AugAssign):
        changed = [node.target]
    else:
        changed = node.targets if isinstance(node, ast.Assign) else []
    return any(
        isinstance(item, ast.Attribute) and item.attr == "path" and name_of(item.value) == "sys"
        for item in changed
    )


def added_folders(tree, root, name):
    """Return the directories below ``root`` that a file may add to ``sys.path``, sorted.

    They are computed at run time. Those of its own path and those whose names are in its strings
    are the ones that programs add: ``os.path.join(os.path.dirname(__file__), "lib")``.
    """
    if not any(extends_path(node) for node in ast.walk(tree)):
        return []
    texts = [literal(node) for node in ast.walk(tree)]
    words = {part for text in texts if isinstance(text, str) for part in text.split("/")}
    own = os.path.dirname(name) + "/"
    found = []
    for folder, _, _ in os.walk(root):
        below = os.path.relpath(folder, root)
        if below != "." and (os.path.basename(below) in words or own.startswith(below + "/")):
            found.append(below)
    return sorted(found)


def last_import(source):
    """Return an offset behind the start of the last import, or 0 if there is none; it may be a text."""
    last = max(source.rfind(name) + 1 for name in FUNCTIONS)
    for match in IMPORT.finditer(b"\n" + (source[3:] if source.startswith(codecs.BOM_UTF8) else source)):
        last = max(last, match.end())
    return last


def parse(source, name, whole):
    """Return the syntax tree of a file, or of its part up to the last import.

    The parser takes most of the time of a scan, and most files import at their top. The part ends
    where a line starts in the first column. If that line is in a string or in parentheses, the part
    is not valid, and the file is parsed as a whole.

    :param whole: whether the rest of the file matters, too.
    """
    end = None if whole else STATEMENT.search(source, last_import(source))
    if end:
        try:
            return ast.parse(source[: end.start() + 1], name)
        except SyntaxError:
            pass
    return ast.parse(source, name)


def scan(path, name, defines):
    """Return the answer for one file."""
    try:
        with open(path, "rb") as stream:
            source = stream.read()
        if not defines and not last_import(source):
            return {"file": name, "imports": []}
        tree = parse(source, name, defines)
    except SyntaxError as error:
        return {"file": name, "error": "{}: {}".format(error.lineno or 0, error.msg)}
    except (ValueError, OSError) as error:  # such as null bytes
        return {"file": name, "error": "0: {}".format(error)}
    except (RecursionError, MemoryError):
        return {"file": name, "error": "0: it is nested too deeply"}
    found = Scan(b"import_module" in source or b"__import__" in source)
    found.body(tree.body, "top")
    answer = {"file": name, "imports": found.found}
    if defines:
        answer["defines"] = sorted(bound(tree.body))
        answer["folders"] = added_folders(tree, path[: -len(name)], name)
    return answer


def main():
    """Process the request on stdin."""
    request = json.loads(sys.stdin.buffer.read().decode("utf-8"))
    sys.setrecursionlimit(20000)
    gc.disable()  # trees have no cycles, and there are many nodes to search for them
    for name in request["files"]:
        answer = scan(os.path.join(request["root"], name), name, request["defines"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()  # if the next file crashes the parser, the reader knows which file it was


if __name__ == "__main__":
    main()
