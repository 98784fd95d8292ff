"""Stage 5, pure: do the imports of the user's own code resolve where it will run?

The inference server loads the entry script by its path, as a module outside of any
package, and appends the application root and the source directory to sys.path: the bundle,
the standard library and the base come before both.

Source: azureml-inference-server-http, ``user_script.py`` and ``AMLFlaskApp``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from keyword import iskeyword
from pathlib import Path

from bundler.checks.findings import Finding
from bundler.checks.source_imports import FileImports, FoundImport, ModuleIndex
from bundler.data.import_names import requirement_of
from bundler.errors import InputError
from bundler.paths import printable
from bundler.problems import closest

__all__ = [
    "ENTRY_POINTS",
    "UserCode",
    "added_folders",
    "always_imported",
    "code_findings",
    "find_user_code",
    "is_script_name",
    "own_files",
]

ENTRY_POINTS = ("init", "run")
"""The functions that the server calls in an entry script: once per worker, and for each request."""
_DEFINITIONS = {"init()": "`def init():`", "run()": "`def run(data):`"}


@dataclass(frozen=True, kw_only=True, slots=True)
class UserCode:
    """The user's code, which runs with the bundle."""

    folder: Path
    """The source directory; it keeps its name below the application root."""
    script: str
    """The entry script, relative to the source directory, ``/`` between components."""

    @property
    def entry(self) -> str:
        """The value of AZUREML_ENTRY_SCRIPT: the script relative to the application root."""
        return f"{self.folder.name}/{self.script}"


def find_user_code(
    folder: Path, script: str, hint: str = "--source-dir {folder} --entry-script {script}"
) -> UserCode:
    """Return the code of ``--source-dir`` and ``--entry-script``, if a server can load it.

    :param script: a path relative to ``folder``, or an absolute one inside of it.
    :param hint: how another script is named, with the fields ``folder`` and ``script``.
    :raises InputError: if the script does not exist, is outside of the directory, or has a
        name that azureml does not accept.
    """
    path = folder / script
    try:
        relative = path.resolve().relative_to(folder.resolve())
    except ValueError:
        raise InputError(
            f"the entry script `{printable(script)}` is outside of the source directory",
            evidence=(f"wanted  a path relative to `{printable(folder.resolve().name)}`",),
            hint=_existing(folder, hint),
        ) from None
    if not path.is_file():
        raise InputError(
            f"entry script `{printable(script)}` not found in `{printable(str(folder))}`",
            hint=_existing(folder, hint, script),
        )
    if not is_script_name(relative.name):
        raise InputError(
            f"invalid name of an entry script: `{printable(script)}`",
            evidence=(
                "wanted  a `.py` file whose name is a Python identifier and not a keyword",
                f"found   {printable(script)}",
            ),
            hint=f"rename it: `mv {path} {path.with_name(_script_name(path.name))}`",
        )
    return UserCode(folder=folder.resolve(), script=relative.as_posix())


def _existing(folder: Path, hint: str, wanted: str = "") -> str | None:
    """Return the hint with a script of the directory: the most similar one, else the first."""
    names = sorted(path.name for path in folder.glob("*.py") if is_script_name(path.name))
    near = closest(wanted, names) or next(iter(names), None)
    return hint.format(folder=shlex.quote(str(folder)), script=shlex.quote(near)) if near else None


def _script_name(filename: str) -> str:
    """Return a name that azureml accepts, made of a file name.

    >>> _script_name("my-score.v2.py"), _script_name("class.txt")
    ('my_score_v2.py', 'class_.py')
    """
    stem = re.sub(r"\W", "_", filename.rpartition(".")[0] or filename, flags=re.ASCII)
    stem = f"_{stem}" if stem[:1].isdigit() else stem
    return f"{stem}_.py" if iskeyword(stem) else f"{stem}.py"


def is_script_name(filename: str) -> bool:
    """Return whether azureml accepts a file name for an entry script.

    The server loads any ``.py`` file; azureml-core wants an identifier, since it may import
    the script by its name.

    >>> [is_script_name(name) for name in ("score.py", "my-score.py", "class.py", "score.txt")]
    [True, False, False, False]
    """
    stem, dot, suffix = filename.rpartition(".")
    return dot + suffix == ".py" and stem.isidentifier() and not iskeyword(stem)


def added_folders(scans: Mapping[str, FileImports]) -> tuple[str, ...]:
    """Return the directories below the source directory that the code may add to sys.path, deepest first.

    Of the directories of one path, the program adds the last one.
    """
    folders = {folder for scan in scans.values() for folder in scan.folders}
    return tuple(sorted(folders, key=lambda folder: (-folder.count("/"), folder)))


def own_files(
    path: str,
    found: FoundImport,
    code_name: str,
    exists: Callable[[str], bool],
    folders: Sequence[str] = (),
) -> tuple[str, ...]:
    """Return the user's own files that an import runs; none if the import is of another module.

    :param path: the importing file, relative to the source directory.
    :param code_name: the name of the source directory, by which it is a package in the application root.
    :param exists: whether a relative path is a file of the source directory.
    :param folders: the directories that the code adds to sys.path, as `added_folders`.
    """
    components = path.split("/")
    parts = [part for part in found.module.split(".") if part]
    root = ["__init__.py"] if exists("__init__.py") else []
    # Each way: the module's name from the source directory on, and the files that run before it.
    ways: list[tuple[list[str], list[str]]]
    if found.level > len(components):
        return ()  # of a package above the source directory
    if found.level:
        parts = [*components[: -found.level], *parts]
        ways = [(parts, [] if parts else root)]
    else:
        ways = [(parts, [])]
        if parts[0] == code_name:
            # The application root is on sys.path too, so `code.helper` is `helper.py` in `code/`.
            ways.append((parts[1:], root))
        ways += [([*folder.split("/"), *parts], []) for folder in folders]
    for names, before in ways:
        files = _chain(names, exists)
        below = [file for name in found.names for file in _chain([*names, name], exists)]
        if files or below or not names:
            return tuple(dict.fromkeys([*before, *files, *below]))
    return ()


def always_imported(
    code: UserCode, scans: Mapping[str, FileImports], exists: Callable[[str], bool]
) -> frozenset[str]:
    """Return the files that run whenever the entry script is loaded.

    The others are imported in a function, under a condition or in a ``try`` that takes an ImportError.
    """
    folders = added_folders(scans)
    always = {code.script}
    waiting = [code.script]
    while waiting:
        path = waiting.pop()
        imports = [found for found in scans[path].imports if found.when == "top"]
        files = {
            file for found in imports for file in own_files(path, found, code.folder.name, exists, folders)
        }
        waiting += sorted(file for file in files - always if file in scans)
        always |= files
    return frozenset(always)


def _chain(parts: list[str], exists: Callable[[str], bool]) -> list[str]:
    """Return the files of a module and of the packages above it; none if the module does not exist."""
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
    """Yield the findings about the user's code: U301 to U304, and M105.

    :param scans: every file that the entry script reaches, by path.
    :param world: the modules of the bundle, the standard library and the base.
    :param exists: as for `own_files`.
    """
    folders = added_folders(scans)
    always = always_imported(code, scans, exists)
    for path, scan in scans.items():
        where = f"{code.folder.name}/{path}"
        if scan.error:
            line, _, reason = scan.error.partition(": ")
            place = where if line == "0" else f"{where}:{line}"  # 0: of the whole file, such as its encoding
            message = f"`{printable(place)}` is not valid Python for the target: {reason}"
            yield Finding(code="U301", message=message, where=place)
        for found in scan.imports:
            certain = found.when != "top" or path in always
            runs = found if certain else replace(found, when="conditional")
            yield from _resolve(code, path, runs, world, exists, folders)
    entry = scans[code.script]
    lacks = [f"{name}()" for name in ENTRY_POINTS if name not in entry.defines]
    if lacks and not entry.error and "*" not in entry.defines:
        yield Finding(
            code="U302",
            message=f"the entry script `{printable(code.script)}` does not define {' and '.join(lacks)}",
            where=f"{code.folder.name}/{code.script}",
            fix=f"add {' and '.join(_DEFINITIONS[name] for name in lacks)} at its top level",
        )


def _is_model_path(found: FoundImport) -> bool:
    """Return whether an import is the one of `Model` in azureml-core, for ``Model.get_model_path``."""
    is_named = found.names == ("Model",) and found.module in ("azureml.core", "azureml.core.model")
    return is_named or (found.module == "azureml.core.model" and not found.names)


def _resolve(
    code: UserCode,
    path: str,
    found: FoundImport,
    world: ModuleIndex,
    exists: Callable[[str], bool],
    folders: Sequence[str],
) -> Iterator[Finding]:
    """Yield the finding for an import that does not resolve, or resolves to another module than meant."""
    where = f"{code.folder.name}/{path}:{found.line}"
    unresolved = "U303" if found.when == "top" else "U304"
    own = own_files(path, found, code.folder.name, exists)
    if found.level:
        if path == code.script:
            message = (
                f"`{printable(where)}` is a relative import, but the server loads the entry script "
                "outside of any package"
            )
            yield Finding(code=unresolved, message=message, where=where)
        elif not own:
            module = f"{'.' * found.level}{found.module}"
            message = f"`{printable(where)}` imports `{module}`: not found in the source directory"
            yield Finding(code=unresolved, message=message, where=where)
        return
    for module in world.names_of(found):
        owners, lacks = world.find(module)
        top = module.partition(".")[0]
        # The source directory is last on sys.path, so any other module of the name is found first.
        # The exception is from PEP 420: a regular package or a module goes before the portions of a
        # namespace package, wherever these are on the path.
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
            if lacks == "azureml" and _is_model_path(found):
                continue  # the build context has it, if no distribution does (`deploy.application`)
            if own_files(path, found, code.folder.name, exists, folders):
                continue
            is_mine = top == code.folder.name or exists(f"{top}.py") or exists(f"{top}/__init__.py")
            missing = module if is_mine else lacks
            message = f"`{printable(where)}` imports `{missing}`, which no distribution provides"
            # A part of a namespace package may be in any project.
            is_known = not is_mine and "." not in missing
            remedy = f"add `{requirement_of(missing)}` to the requirements" if is_known else ""
            yield Finding(code=unresolved, message=message, where=where, fix=remedy)
