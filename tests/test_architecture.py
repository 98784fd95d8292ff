"""The import rules of docs/architecture.md, read from the syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bundler

PACKAGE = Path(bundler.__file__).parent

# One order: a module imports only modules that stand before it.
ORDER = [
    "errors",
    "findings",
    "contract",
    "digest",
    "paths",
    "redact",
    "reporter",
    "leaks",
    "record",
    "tar",
    "publish",
    "locking",
    "remote",
    "storage",
    "surroundings",
    "process",
    "codec",
    "installed",
    "imageblobs",
    "imagejson",
    "imagelayer",
    "ociimage",
    "imagebase",
    "imageref",
    "rootfs",
    "base",
    "target",
    "project",
    "requirement",
    "condanames",
    "condaversion",
    "condaspec",
    "condayaml",
    "condafile",
    "conda",
    "requirements",
    "lock",
    "zipreader",
    "wheel",
    "launcher",
    "layer",
    "images",
    "curated",
    "closure",
    "elfreader",
    "elf",
    "conflicts",
    "outcome",
    "imports",
    "mounting",
    "usercode",
    "report",
    "bundle",
    "manifest",
    "fit",
    "app",
    "imageconfig",
    "imageplan",
    "imageview",
    "bootenv",
    "entryscript",
    "bootpip",
    "bootlint",
    "bootserver",
    "simulate",
    "explain",
    "interpreter",
    "index",
    "store",
    "registry",
    "fetch",
    "venv",
    "toolchain",
    "build",
    "describe",
    "resolve",
    "segments",
    "layers",
    "verify",
    "scan",
    "extract",
    "unpack",
    "archive",
    "imagearchive",
    "image",
    "trial",
    "codecheck",
    "prove",
    "session",
    "pipeline",
    "deploy",
    "context",
    "serve",
    "managed",
    "package",
    "azureml.exceptions",
    "azureml.core.logreporter",
    "azureml.core.details",
    "azureml.core.workspace",
    "azureml.core.files",
    "azureml.core.sections",
    "azureml.core.container_registry",
    "azureml.core.python_version",
    "azureml.core.pip_lines",
    "azureml.core.env_file",
    "azureml.core.arguments",
    "azureml.core.conda_dependencies",
    "azureml.core.docker_section",
    "azureml.core.environment_sections",
    "azureml.core.environment_folder",
    "azureml.core.definition",
    "azureml.core.build",
    "azureml.core.environment",
    "azureml.core.model",
    "console",
    "options",
    "cli_env",
    "cli",
    "__main__",
]

# `requirements` is not among them: it reads the files that files name.
PURE = [
    "tar",
    "target",
    "project",
    "condafile",
    "condaspec",
    "conda",
    "lock",
    "zipreader",
    "wheel",
    "launcher",
    "layer",
]
PURE += [
    "leaks",
    "record",
    "findings",
    "images",
    "curated",
    "closure",
    "elfreader",
    "elf",
    "outcome",
    "imports",
    "mounting",
    "report",
    "bundle",
    "manifest",
    "fit",
    "explain",
    "contract",
    "imageview",
    "bootenv",
    "entryscript",
    "bootpip",
    "bootlint",
    "bootserver",
    "simulate",
]
IMPURE = {"os", "shutil", "socket", "subprocess", "tempfile", "time", "random", "urllib.request"}
IMPURE |= {"bundler.system.process", "bundler.system.atomic", "bundler.system.locks"}

# `from bundler.azureml.core import x` imports a module of the package.
PACKAGES = {"bundler.azureml", "bundler.azureml.core"}

# Longer than the rest, and why.
LONG = {
    "cli": 640,  # every command but those of `env` in one place
    "requirements": 590,
    "index": 450,
    "fetch": 450,
    "store": 450,
    "wheel": 550,
    "zipreader": 500,
    "closure": 450,
    "findings": 500,  # one table
}


def modules() -> dict[str, ast.Module]:
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): ast.parse(path.read_text("utf-8"))
        for path in PACKAGE.rglob("*.py")
        if path.stem != "__init__" and "_target" not in path.parts
    }


def imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield each imported module and its line; `from bundler import x` counts as the package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            module = node.module or ""
            if module in PACKAGES:
                yield from ((f"{module}.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield module, node.lineno


def calls(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield each called or read dotted name and its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield f"{ast.unparse(node.value)}.{node.attr}", node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, node.lineno


def test_every_module_has_its_place() -> None:
    assert sorted(modules()) == sorted(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_imports_go_one_way(name: str) -> None:
    before = ORDER[: ORDER.index(name)]
    for imported, line in imports(modules()[name]):
        if imported.startswith("bundler."):
            assert imported.removeprefix("bundler.") in before, f"{name}.py:{line} imports {imported}"


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_touch_nothing(name: str) -> None:
    for imported, line in imports(modules()[name]):
        assert imported not in IMPURE, f"{name}.py:{line} imports {imported}"


@pytest.mark.parametrize(
    ("what", "only"),
    [
        ({"subprocess", "multiprocessing"}, {"process"}),
        ({"bundler._target"}, set[str]()),
    ],
)
def test_only_one_module_imports(what: set[str], only: set[str]) -> None:
    for name, tree in modules().items():
        for imported, line in imports(tree):
            assert imported not in what or name in only, f"{name}.py:{line} imports {imported}"


@pytest.mark.parametrize(
    ("what", "only"),
    [
        ({"print", "sys.stdout", "sys.stderr"}, {"console", "cli"}),
        ({"os.environ", "os.getenv"}, {"surroundings"}),
        ({"sys.exit", "exit"}, {"__main__"}),
        ({"os.chdir", "os.umask"}, set[str]()),
    ],
)
def test_only_one_module_uses(what: set[str], only: set[str]) -> None:
    for name, tree in modules().items():
        for used, line in calls(tree):
            assert used not in what or name in only, f"{name}.py:{line} uses {used}"


def test_nothing_extracts_archives_but_extract() -> None:
    for name, tree in modules().items():
        for used, line in calls(tree):
            assert not used.endswith((".extractall", ".unpack_archive")), f"{name}.py:{line} uses {used}"


def test_modules_and_functions_stay_small() -> None:
    for name, tree in modules().items():
        lines = len((PACKAGE / f"{name.replace('.', '/')}.py").read_text("utf-8").splitlines())
        assert lines <= LONG.get(name, 400), f"{name}.py has {lines} lines"
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 70, (
                    f"{name}.py:{node.lineno} {node.name} is long"
                )


def test_what_runs_in_the_target_is_stdlib_of_37() -> None:
    for path in (PACKAGE / "_target").glob("*.py"):
        tree = ast.parse(path.read_text("utf-8"), feature_version=(3, 7))
        for imported, line in imports(tree):
            assert not imported.startswith("bundler"), f"{path.name}:{line} imports {imported}"
