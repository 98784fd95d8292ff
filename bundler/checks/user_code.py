"""Stage 5, pure: does the user's own code find what it imports where it will run?

The inference server loads the entry script by its path, as a module without a
package, and puts the application root and the source directory at the *end* of
sys.path: the bundle, the standard library and the base come first.

Source: azureml-inference-server-http, ``user_script.py`` and ``AMLFlaskApp``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from keyword import iskeyword
from pathlib import Path

from bundler.checks.findings import Finding
from bundler.checks.source_imports import FileImports, FoundImport, ModuleIndex
from bundler.errors import InputError
from bundler.paths import printable

__all__ = ["UserCode", "code_findings", "find_user_code", "own_files"]

_ENTRY_POINTS = ("init", "run")


@dataclass(frozen=True, kw_only=True, slots=True)
class UserCode:
    """The code that a bundle is to serve."""

    folder: Path
    """The source directory; its name is the folder's name below the application root."""
    script: str
    """The entry script, relative to the folder, ``/`` between components."""

    @property
    def entry(self) -> str:
        """What AZUREML_ENTRY_SCRIPT is: the script below the application root."""
        return f"{self.folder.name}/{self.script}"


def find_user_code(folder: Path, script: str) -> UserCode:
    """Return what ``--source-dir`` and ``--entry-script`` name, if a server could load it.

    :raises InputError: if there is no such script, or its name is none that azureml accepts.
    """
    path = folder / script
    try:
        relative = path.resolve().relative_to(folder.resolve())
    except ValueError:
        raise InputError(
            f"the entry script `{printable(script)}` lies outside of the source directory",
            evidence=(f"wanted  a path relative to `{printable(folder.resolve().name)}`",),
            hint="--entry-script score.py",
        ) from None
    if not path.is_file():
        raise InputError(
            f"there is no entry script `{printable(script)}` in `{printable(str(folder))}`",
            hint="--source-dir FOLDER --entry-script score.py",
        )
    if relative.suffix != ".py" or not relative.stem.isidentifier() or iskeyword(relative.stem):
        raise InputError(
            f"`{printable(script)}` cannot be an entry script",
            evidence=(
                "wanted  a `.py` file whose name is a Python identifier",
                f"found   {printable(script)}",
            ),
            hint="--entry-script score.py",
        )
    return UserCode(folder=folder.resolve(), script=relative.as_posix())


def own_files(
    path: str, found: FoundImport, code_name: str, exists: Callable[[str], bool]
) -> tuple[str, ...]:
    """Return the user's own files that an import runs, none if it names none of theirs.

    :param path: the file that imports, relative to the source directory.
    :param code_name: the name of the source directory, which the application root makes a package.
    :param exists: whether there is a file of that relative path.
    """
    folders = path.split("/")
    parts = list(filter(None, found.module.split(".")))
    root = ["__init__.py"] if exists("__init__.py") else []
    if found.level > len(folders):
        return ()  # of a package above the source directory
    if found.level:
        parts = [*folders[: -found.level], *parts]
        ways = [(parts, [] if parts else root)]
    else:
        ways = [(parts, []), (parts[1:], root)][: 1 + (parts[0] == code_name)]
    for names, before in ways:
        files = _chain(names, exists)
        below = [file for name in found.names for file in _chain([*names, name], exists)]
        if files or below or not names:
            return tuple(dict.fromkeys([*before, *files, *below]))
    return ()


def _chain(parts: list[str], exists: Callable[[str], bool]) -> list[str]:
    """Return the files of a module and of the packages above it, none if the module is not there."""
    files = []
    for depth in range(1, len(parts) + 1):
        stem = "/".join(parts[:depth])
        if exists(f"{stem}/__init__.py"):
            files.append(f"{stem}/__init__.py")
        elif exists(f"{stem}.py"):
            files.append(f"{stem}.py")
            break
        elif depth == len(parts):
            return []
    return files


def code_findings(
    code: UserCode, scans: Mapping[str, FileImports], world: ModuleIndex, exists: Callable[[str], bool]
) -> Iterator[Finding]:
    """Yield what is wrong with the user's code.

    :param scans: every file that was reached from the entry script, by path.
    """
    for path, scan in scans.items():
        where = f"{code.folder.name}/{path}"
        if scan.error:
            line, _, reason = scan.error.partition(": ")
            place, at_line = (where, "") if line == "0" else (f"{where}:{line}", f", line {line}")
            message = f"`{printable(where)}` is not valid for the target: {reason}{at_line}"
            yield Finding(code="U301", message=message, where=place)
        for found in scan.imports:
            yield from _resolve(code, path, found, world, exists)
    entry = scans[code.script]
    lacks = [f"{name}()" for name in _ENTRY_POINTS if name not in entry.defines]
    if lacks and not entry.error and "*" not in entry.defines:
        yield Finding(
            code="U302",
            message=f"the entry script `{printable(code.script)}` does not define {' and '.join(lacks)}",
            where=f"{code.folder.name}/{code.script}",
        )


def _resolve(
    code: UserCode, path: str, found: FoundImport, world: ModuleIndex, exists: Callable[[str], bool]
) -> Iterator[Finding]:
    where = f"{code.folder.name}/{path}:{found.line}"
    weak = found.when != "top"
    if found.level:
        if path == code.script:
            message = (
                f"`{printable(where)}` imports relatively, and the server loads it outside of any package"
            )
            yield Finding(code="U304" if weak else "U303", message=message, where=where)
        elif not own_files(path, found, code.folder.name, exists):
            message = f"`{printable(where)}` imports `{'.' * found.level}{found.module}`, which is not there"
            yield Finding(code="U304" if weak else "U303", message=message, where=where)
        return
    own = own_files(path, found, code.folder.name, exists)
    for module in world.names_of(found):
        owners, lacks = world.find(module)
        top = module.partition(".")[0]
        regular = bool(own) and own[0] in (f"{top}.py", f"{top}/__init__.py")
        if own and owners and not (regular and world.is_namespace(top)):
            hiding = min(owners)
            if hiding in (ModuleIndex.STDLIB, ModuleIndex.BASE):
                message = (
                    f"`{printable(where)}` imports `{module}`, but {hiding} has a `{top}` that comes first"
                )
                yield Finding(code="U303", message=message, where=where)
            else:
                message = f"`{top}` of `{hiding}` hides the `{own[-1]}` that `{printable(where)}` imports"
                yield Finding(code="M105", message=message, distribution=hiding, where=where)
        elif lacks and not own and (found.names or module != code.folder.name):
            is_mine = top == code.folder.name or exists(f"{top}.py") or exists(f"{top}/__init__.py")
            message = f"`{printable(where)}` imports `{module if is_mine else lacks}`, which nothing brings"
            yield Finding(code="U304" if weak else "U303", message=message, where=where)
