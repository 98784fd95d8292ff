"""Check the rules of size and layout that ruff, mypy and import-linter cannot express.

    python scripts/check_layout.py [ROOT]

Prints one line per breach, with file and line, and exits with 1 if there are any.
"""

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

MAX_TOP_MODULES = 12
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 70

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules(folder: Path) -> Iterator[Path]:
    """Yield the Python files below a directory, sorted."""
    yield from sorted(folder.rglob("*.py"))


def definitions(path: Path) -> Iterator[ast.AST]:
    """Yield the nodes of a module's syntax tree, nested ones too."""
    return ast.walk(ast.parse(path.read_bytes(), str(path)))


def top_modules(root: Path) -> Iterator[str]:
    """Limit the modules directly in bundler: the modules of a stage are in its package."""
    count = len(list((root / "bundler").glob("*.py")))
    if count > MAX_TOP_MODULES:
        yield f"bundler: {count} modules, at most {MAX_TOP_MODULES} allowed; move one into a package"


def module_lines(root: Path) -> Iterator[str]:
    """Limit the length of a module."""
    for path in modules(root / "bundler"):
        count = len(path.read_bytes().splitlines())
        if count > MAX_MODULE_LINES:
            yield f"{path.relative_to(root)}: {count} lines, at most {MAX_MODULE_LINES} allowed"


def function_lines(root: Path) -> Iterator[str]:
    """Limit the length of a function: its docstring counts, its decorators do not."""
    for path in modules(root / "bundler"):
        for node in definitions(path):
            if isinstance(node, Function):
                count = (node.end_lineno or node.lineno) - node.lineno + 1
                if count > MAX_FUNCTION_LINES:
                    where = f"{path.relative_to(root)}:{node.lineno}"
                    yield f"{where}: `{node.name}` has {count} lines, at most {MAX_FUNCTION_LINES} allowed"


def function_named_as_module(root: Path) -> Iterator[str]:
    """Refuse `from package.name import name`, which reads as if it were the module."""
    for path in modules(root / "bundler"):
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, Function) and node.name == path.stem:
                yield f"{path.relative_to(root)}:{node.lineno}: `{node.name}` has the name of its module"


def class_named_twice(root: Path) -> Iterator[str]:
    """Refuse a class name with two meanings; private and nested classes count too."""
    first: dict[str, str] = {}
    for path in modules(root / "bundler"):
        for node in definitions(path):
            if isinstance(node, ast.ClassDef):
                where = f"{path.relative_to(root)}:{node.lineno}"
                other = first.setdefault(node.name, where)
                if other != where:
                    yield f"{where}: the class `{node.name}` is also defined at {other}"


def tests_mirror_packages(root: Path) -> Iterator[str]:
    """Require the tests of a package bundler/a/b in tests/a/b."""
    tests = root / "tests"
    for folder in sorted({path.parent for path in tests.rglob("test_*.py")} - {tests}):
        package = root / "bundler" / folder.relative_to(tests)
        if not (package / "__init__.py").is_file():
            yield f"{folder.relative_to(root)}: `{package.relative_to(root)}` is not a package"


def tests_stand_alone(root: Path) -> Iterator[str]:
    """Refuse imports from test files: shared helpers are in tests/support."""
    test_files = {path.stem for path in (root / "tests").rglob("test_*.py")}
    for path in modules(root / "tests"):
        for node in definitions(path):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module or ''}.{alias.name}" for alias in node.names]
            for name in names:
                if test_files.intersection(name.split(".")):
                    where = f"{path.relative_to(root)}:{getattr(node, 'lineno', 0)}"
                    yield f"{where}: imports `{name}`; move the shared code to tests/support"


RULES: tuple[Callable[[Path], Iterator[str]], ...] = (
    top_modules,
    module_lines,
    function_lines,
    function_named_as_module,
    class_named_twice,
    tests_mirror_packages,
    tests_stand_alone,
)


def breaches(root: Path) -> list[str]:
    """Return one line per breach of a rule."""
    return [line for rule in RULES for line in rule(root)]


def main(argv: list[str]) -> int:
    root = Path(argv[0]) if argv else Path(__file__).parent.parent
    lines = breaches(root)
    print("\n".join(lines) if lines else "No breach of the layout rules.")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
