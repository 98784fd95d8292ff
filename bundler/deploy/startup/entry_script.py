"""Stage 7, pure: the rules for an entry script, checked on its name and its syntax tree.

The server loads the file by its path, requires the names ``init`` and ``run``, inspects the
parameters of ``run`` and calls ``init``. Code that is not at the top level of the script can bind
a name, too; then the check gives it the benefit of the doubt.

Source: azureml-inference-server-http, ``user_script.py``; azureml's SDK for the name of the file.
"""

from __future__ import annotations

import ast
import posixpath
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from keyword import iskeyword

__all__ = [
    "EntryScript",
    "ScriptImport",
    "is_importable_name",
    "is_python_file",
    "read_imports",
    "read_script",
]

_HEADERS = "request_headers"
_BINDS_ANYTHING = frozenset({"exec", "globals", "vars", "setattr"})


# `if` statements whose body the server never executes: it does not load the script as `__main__`.
_NEVER = frozenset({"TYPE_CHECKING", "typing.TYPE_CHECKING", "__name__ == '__main__'"})


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptImport:
    """One import statement, for one module."""

    line: int
    module: str
    """The dotted name; with a leading dot for each level of a relative import."""
    names: tuple[str, ...]
    """The names that ``from`` imports, each of which may be a submodule."""
    is_certain: bool
    """Whether it is executed when the script is loaded, or by ``init()``, unless something else fails."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EntryScript:
    """The facts of an entry script that decide whether the server can load it."""

    error: str = ""
    """``line: reason`` if this Python cannot parse it; the target's Python may be able to."""
    lacks: tuple[str, ...] = ()
    """The names among ``init`` and ``run`` that the script does not bind."""
    refused: tuple[tuple[int, str], ...] = ()
    """Line and reason of functions that the server cannot call."""
    imports: tuple[tuple[int, str], ...] = ()
    """Line and top-level module of each import statement at the top level."""
    relative: tuple[int, ...] = ()
    """Lines of relative imports at the top level, which fail: the script is in no package."""


def is_python_file(path: str) -> bool:
    """Return whether the server loads a file as Python: by its suffix."""
    return path.endswith(".py")


def is_importable_name(path: str) -> bool:
    """Return whether a file's name without suffix is an identifier and not a keyword.

    azureml's SDK requires it; the server itself loads any ``.py`` file.

    >>> is_importable_name("code/score.py"), is_importable_name("my-score.py"), is_importable_name("class.py")
    (True, False, False)
    """
    stem = posixpath.splitext(posixpath.basename(path))[0]
    return stem.isidentifier() and not iskeyword(stem)


def read_script(content: bytes) -> EntryScript:
    """Parse an entry script and return its facts."""
    try:
        with warnings.catch_warnings():
            # Warnings of this Python, as for invalid escapes, concern code for another version.
            warnings.simplefilter("ignore")
            tree = ast.parse(content)
    except SyntaxError as error:
        return EntryScript(error=f"{error.lineno or 0}: {error.msg}")
    except (ValueError, RecursionError, MemoryError) as error:
        return EntryScript(error=f"0: {error}")
    bound = Counter(_bound(tree.body))
    anything = "*" in bound or any(_binds_anything(node) for node in ast.walk(tree))
    functions = {
        node.name: node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and bound[node.name] == 1  # no other statement rebinds it
    }
    return EntryScript(
        lacks=() if anything else tuple(name for name in ("init", "run") if name not in bound),
        refused=tuple(_refused(functions)),
        imports=tuple(_imports(tree.body)),
        relative=tuple(node.lineno for node in tree.body if isinstance(node, ast.ImportFrom) and node.level),
    )


def read_imports(content: bytes, *, is_script: bool) -> tuple[ScriptImport, ...]:
    """Return all import statements of a file, in order; none if this Python cannot parse it.

    Those in the body of an ``if``, ``try``, loop or function are not certain, except for the function
    ``init`` of an entry script.

    :param is_script: whether the file is the entry script, whose ``init()`` the server calls.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(content)
        return tuple(_all_imports(tree.body, is_script=is_script, is_certain=True))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()


def _all_imports(body: list[ast.stmt], *, is_script: bool, is_certain: bool) -> Iterator[ScriptImport]:
    for node in body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield ScriptImport(line=node.lineno, module=alias.name, names=(), is_certain=is_certain)
            continue
        if isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names if alias.name != "*")
            module = "." * node.level + (node.module or "")
            yield ScriptImport(line=node.lineno, module=module, names=names, is_certain=is_certain)
            continue
        is_run = isinstance(node, ast.ClassDef | ast.With) or (
            isinstance(node, ast.FunctionDef) and is_script and node.name == "init"
        )
        never = isinstance(node, ast.If) and ast.unparse(node.test) in _NEVER
        for child in _blocks(node, with_body=not never):
            yield from _all_imports(child, is_script=False, is_certain=is_certain and is_run)


def _blocks(node: ast.AST, *, with_body: bool = True) -> Iterator[list[ast.stmt]]:
    """Yield the lists of statements in a compound statement."""
    if with_body:
        yield getattr(node, "body", [])
    yield getattr(node, "orelse", [])
    yield getattr(node, "finalbody", [])
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield from _blocks(part)


def _binds_anything(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _BINDS_ANYTHING


def _bound(body: list[ast.stmt]) -> Iterator[str]:
    """Yield each name that the statements can bind; ``*`` for a star import.

    A ``global`` in a function counts as well, since the function may be called at the top level;
    the other names of functions, lambdas and classes are local.
    """
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
            yield from _declared_global(node)
        elif isinstance(node, ast.Lambda):
            continue
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        else:
            waiting.extend(ast.iter_child_nodes(node))


def _declared_global(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Global):
            yield from inner.names


def _imports(body: list[ast.stmt]) -> Iterator[tuple[int, str]]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.lineno, node.module.partition(".")[0]


def _refused(functions: dict[str, ast.FunctionDef]) -> Iterator[tuple[int, str]]:
    """Yield line and reason of ``run`` and ``init`` that the server cannot call.

    A decorator can change the parameters, so decorated functions are not checked.
    """
    run, init = functions.get("run"), functions.get("init")
    if run is not None and not run.decorator_list:
        arguments = run.args
        if arguments.posonlyargs or arguments.vararg or arguments.kwarg:
            yield run.lineno, "run() has positional-only parameters, `*` or `**`"
        elif all(argument.arg == _HEADERS for argument in (*arguments.args, *arguments.kwonlyargs)):
            yield run.lineno, "run() has no parameter for the data"
    if init is not None and not init.decorator_list:
        required = len(init.args.posonlyargs) + len(init.args.args) - len(init.args.defaults)
        if required > 0 or None in init.args.kw_defaults:
            yield init.lineno, "init() has required parameters, but is called without arguments"
