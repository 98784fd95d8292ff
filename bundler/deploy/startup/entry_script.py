"""Stage 7, pure: whether the server can take an entry script, read from its syntax tree.

Source: azureml-inference-server-http, ``user_script.py``: it loads the file by
its path, wants ``init`` and ``run`` in it, looks at the parameters of ``run``
and calls ``init``. What a name is bound to by other code is not known here.
"""

from __future__ import annotations

import ast
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["EntryScript", "read_script"]

_HEADERS = "request_headers"
_BINDS_ANYTHING = frozenset({"exec", "globals", "vars", "setattr"})


@dataclass(frozen=True, kw_only=True, slots=True)
class EntryScript:
    """What an entry script says."""

    error: str = ""
    """``line: reason`` where this Python cannot parse it; the target's decides."""
    lacks: tuple[str, ...] = ()
    """Those of ``init`` and ``run`` that nothing at its top level binds."""
    refused: tuple[tuple[int, str], ...] = ()
    """Line and reason: functions that the server cannot call."""
    imports: tuple[tuple[int, str], ...] = ()
    """Line and top-level name of what is imported whenever it is loaded."""
    relative: tuple[int, ...] = ()
    """Lines of relative imports, which fail."""


def read_script(content: bytes) -> EntryScript:
    """Return what an entry script says."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of this Python, about code for another
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
        if isinstance(node, ast.FunctionDef) and bound[node.name] == 1  # and nothing replaces it
    }
    return EntryScript(
        lacks=() if anything else tuple(name for name in ("init", "run") if name not in bound),
        refused=tuple(_refused(functions)),
        imports=tuple(_imports(tree.body)),
        relative=tuple(node.lineno for node in tree.body if isinstance(node, ast.ImportFrom) and node.level),
    )


def _binds_anything(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _BINDS_ANYTHING


def _bound(body: list[ast.stmt]) -> Iterator[str]:
    """Yield each name that the statements may bind; ``*`` for what cannot be known."""
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
    """Yield what is wrong with functions that no decorator changes."""
    run, init = functions.get("run"), functions.get("init")
    if run is not None and not run.decorator_list:
        arguments = run.args
        if arguments.posonlyargs or arguments.vararg or arguments.kwarg:
            yield run.lineno, "run() takes positional-only parameters, `*` or `**`"
        elif all(one.arg == _HEADERS for one in (*arguments.args, *arguments.kwonlyargs)):
            yield run.lineno, "run() takes no parameter for the data"
    if init is not None and not init.decorator_list:
        given = len(init.args.posonlyargs) + len(init.args.args) - len(init.args.defaults)
        if given > 0 or None in init.args.kw_defaults:
            yield init.lineno, "init() is called without arguments and needs some"
