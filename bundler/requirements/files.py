"""Read the user's requirements, and reject invalid ones before pip runs any code.

pip resolves the same lines later, under the target interpreter. They are read here
with pip's own parser, so that every requirement has a file and line, and are checked
against the policy: no editable requirement, no URL without a digest or a full commit,
no option that runs code. Options are merged here, so that pip gets those that the user
is shown: pip itself forgets an `--extra-index-url` above an `--index-url`. One error
reports all problems.

Specs: pip's requirements file format, PEP 508, PEP 440 (direct references).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from optparse import Values
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pip_requirements_parser import break_args_options  # type: ignore[import-untyped]

from bundler.paths import printable
from bundler.problems import Problem, ProblemError, display_path, input_error, is_url, register_urls
from bundler.redaction import redact
from bundler.requirements.consistency import contradicting_pins, missing_hashes
from bundler.requirements.foreign import foreign_problem
from bundler.requirements.line import (
    RootRequirement,
    absolute_line,
    format_control,
    parse_root,
    split_options,
)
from bundler.requirements.mistakes import python_problem, typed_file_problem
from bundler.requirements.model import MODEL_FILE, model_input, named_environment
from bundler.requirements.pyproject import read_project, requires_python
from bundler.requirements.requirement_set import (
    CondaInput,
    IndexOptions,
    LineOrigin,
    RequirementSet,
    Specification,
    command_arguments,
)
from bundler.requirements.script import read_script
from bundler.requirements.selection import declared_pythons, select_extras
from bundler.requirements.text import cut_off, decode, logical_lines, read_bytes, url_of, url_problem
from bundler.requirements.variables import VARIABLE, expand_variables
from bundler.system.environ import HostEnvironment

__all__ = ["CONDA_SUFFIXES", "read_requirements"]

CONDA_SUFFIXES = (".yml", ".yaml")
"""The suffixes of conda environment files."""

_MAX_DEPTH = 50
"""The longest chain of files that include each other; those of real projects have less than ten."""


def read_requirements(  # noqa: PLR0913 - one parameter for each kind of input
    host: HostEnvironment,
    *,
    files: Sequence[Path] = (),
    constraints: Sequence[Path] = (),
    strings: Sequence[str] = (),
    extras: Sequence[str] = (),
    groups: Sequence[str] = (),
    scripts: Sequence[Path] = (),
    specification: Specification | None = None,
    strict: bool = False,
) -> RequirementSet:
    """Read and check all requirements of one run.

    :param host: relative paths start at its working directory, ``${NAME}`` is one of its variables.
    :param files: requirements files, a ``pyproject.toml``, a conda environment file (``env.yml``), the
        directory of an MLflow model.
    :param constraints: constraints files.
    :param strings: requirements of the command line; variables in them are not expanded, as in pip.
    :param extras: extras of the ``pyproject.toml`` among the files.
    :param groups: dependency groups of the ``pyproject.toml``.
    :param scripts: Python scripts with inline metadata (PEP 723).
    :param specification: the text of a conda environment file, instead of a path in ``files``.
    :param strict: whether a conda package without a counterpart on PyPI is an error.
    :raises InputError: with all problems of the input.
    :raises UsageError: if extras or groups are given without a ``pyproject.toml``.
    """
    reader = _RequirementsReader(host)
    projects = [path for path in files if path.name == "pyproject.toml"]
    texts = strings if projects else select_extras(strings, extras, groups, host.cwd)
    files = [model_input(path, host.cwd) for path in files]
    specifications = [path for path in files if path.suffix in CONDA_SUFFIXES or path.name == MODEL_FILE]
    plain = [path for path in files if path not in projects and path not in specifications]
    reader.read_top(plain, constraint=False)
    reader.read_top(constraints, constraint=True)
    for path in projects:
        reader.read_project(host.cwd / path, extras, groups)
    for path in scripts:
        reader.read_script(host.cwd / path)
    for path in specifications:
        reader.read_conda_file(Path(os.path.normpath(host.cwd / path)), strict=strict)
    if specification is not None:
        reader.read_conda(specification, strict=strict)
    for text in texts:
        reader.read_string(text.strip(), "command line")
    reader.finish()
    return RequirementSet(
        roots=tuple(reader.roots),
        constraints=tuple(reader.constraints),
        requirement_lines=tuple(reader.lines[False]),
        constraint_lines=tuple(reader.lines[True]),
        pip_options=tuple(reader.pip_options),
        options=reader.options,
        variables=tuple(sorted(reader.variables)),
        require_hashes=reader.require_hashes,
        files_read=tuple(reader.files_read),
        warnings=tuple(redact(warning) for warning in reader.warnings),
        conda=reader.conda,
        requires_python=tuple(reader.requires_python),
        arguments=command_arguments(
            host.cwd,
            {"-r": files, "-c": constraints, "-s": scripts},
            [*strings, *(f"--extra={name}" for name in extras), *(f"--group={name}" for name in groups)],
        ),
    )


class _RequirementsReader:
    """Collects the requirements, options and problems of all files."""

    def __init__(self, host: HostEnvironment) -> None:
        self.host = host
        self.roots: list[RootRequirement] = []
        self.constraints: list[RootRequirement] = []
        self.hashed: set[str] = set()
        self.lines: dict[bool, list[str]] = {False: [], True: []}
        """The lines for pip, of the requirements (False) and of the constraints (True)."""
        self.pip_options: list[str] = []
        self.options = IndexOptions()
        self.variables: set[str] = set()
        self.require_hashes = False
        self.files_read: dict[Path, None] = {}
        self.warnings: list[str] = []
        self.problems: list[Problem] = []
        self.conda: CondaInput | None = None
        self.requires_python: list[tuple[str, SpecifierSet]] = []
        self._seen: set[tuple[Path, bool]] = set()

    def read_top(self, paths: Sequence[Path], *, constraint: bool) -> None:
        """Read the files of the command line."""
        for path in paths:
            absolute = Path(os.path.normpath(self.host.cwd / path))
            try:
                self._read_file(absolute, constraint=constraint, chain=())
            except ProblemError as error:
                self._refuse(self._display(absolute), typed_file_problem(absolute, error, constraint))

    def read_project(self, path: Path, extras: Sequence[str], groups: Sequence[str]) -> None:
        """Read a ``pyproject.toml``; its requirements are passed to pip as strings."""
        name = self._display(path)
        try:
            text, _ = self._text(path)
        except ProblemError as refused:
            self._refuse(name, refused)
            return
        self._require_python(requires_python(text), name)
        for item in read_project(text, extras=extras, groups=groups):
            if isinstance(item, ProblemError):
                self._refuse(name, item)
            else:
                self.read_string(str(item[1]), f"{name} {item[0]}".rstrip())

    def read_script(self, path: Path) -> None:
        """Read the inline metadata of a script; its requirements are passed to pip as strings."""
        name = self._display(path)
        try:
            script = read_script(self._text(path)[0], path.parent)
        except ProblemError as refused:
            self._refuse(name, refused)
            return
        for text in script.dependencies:
            self.read_string(text.strip(), name)
        self._require_python(script.requires_python, name)

    def _require_python(self, text: str, name: str) -> None:
        if text:
            try:
                self.requires_python.append((name, SpecifierSet(text)))
            except InvalidSpecifier:
                self._refuse(name, python_problem(text))

    def _add_root(self, root: RootRequirement) -> None:
        self.roots.append(root)
        for path, text in declared_pythons(root):
            self._require_python(text, self._display(path))

    def read_string(self, text: str, origin: str) -> None:
        """Read a requirement of the command line or of a ``pyproject.toml``.

        pip gets it in a requirements file that bundler writes, so it must be a single
        line there, without options, comments and variables.
        """
        register_urls(text)
        message = "variables, options and comments are allowed in a requirements file only"
        try:
            if " --hash" in text:
                raise ProblemError(message, hint="write it into a file, and pass `-r requirements.txt`")
            self._add_root(parse_root(text, origin=origin, cwd=self.host.cwd))
        except ProblemError as refused:
            self._refuse(origin, refused, text)
            return
        if [(1, text)] != list(logical_lines(text)) or VARIABLE.search(text) or break_args_options(text)[1]:
            self._refuse(origin, ProblemError(message), text)
        self.lines[False].append(text)

    def read_conda_file(self, path: Path, *, strict: bool) -> None:
        """Read a conda environment file, or the one that a file of MLflow or Azure ML names."""
        name = self._display(path)
        try:
            given = Specification(text=self._text(path)[0], where=name, path=path)
            given = named_environment(given, lambda file: self._text(file)[0], self._display)
        except ProblemError as refused:
            self._refuse(name, refused)
        else:
            self.read_conda(given, strict=strict)

    def read_conda(self, given: Specification, *, strict: bool) -> None:
        """Read the text of a conda environment file; its requirements are passed to pip as strings."""
        from bundler.requirements.conda.translate import conda_requirements  # noqa: PLC0415 - the YAML reader is slow to load

        name = given.where
        if self.conda is not None:
            second = ProblemError(
                f"only one conda environment file is supported, besides `{self.conda.where}`"
            )
            self._refuse(name, second)
            return
        read = conda_requirements(given.text, strict=strict)
        self.conda = CondaInput(where=name, read=read)
        self.warnings += [f"{name}: {warning}" for warning in read.warnings]
        if read.system_packages:
            listed = ", ".join(f"`{package.text}`" for package in read.system_packages)
            check = "; `--base IMAGE.tar` checks that it does" if not strict else ""
            self.warnings.append(f"{name}: the base image must provide {listed}{check}")
        for problem, quoted in read.problems:
            self._refuse(name, problem, quoted)
        for line in read.lines:
            place = LineOrigin(
                path=given.path,
                where=f"{name}:{line.line}",
                constraint=False,
                chain=(),
                cwd=given.path.parent,
            )
            for _, text in logical_lines(line.text):
                try:
                    self._read_line(text, place)
                except ProblemError as refused:
                    self._refuse(place.where, refused, text)
        for text in given.implied:
            self.read_string(text, name)

    def finish(self) -> None:
        """Check the requirements against each other, and raise one InputError for all problems."""
        self.problems.extend(contradicting_pins(self.roots))
        if self.require_hashes:
            self.problems.extend(missing_hashes(self.roots, self.hashed, self.constraints))
        if self.problems:
            raise input_error(self.problems)
        if not self.roots:
            self.warnings.append("no requirements: the bundle will contain no distribution")

    def _display(self, path: Path) -> str:
        return printable(url_of(path) or display_path(path, self.host.cwd))

    def _refuse(self, where: str, refused: ProblemError, quoted: str = "") -> None:
        if refused.line is not None:
            where = f"{where}:{refused.line}"
        self.problems.append(Problem(where=where, refused=refused, quoted=quoted))

    def _text(self, path: Path, *, is_list: bool = False) -> tuple[str, str]:
        content = read_bytes(path, self.host.cwd)
        foreign = foreign_problem(path, self._display(path), content) if is_list else None
        if foreign is not None:
            raise foreign
        self.files_read[path] = None
        return decode(content)

    def _read_file(self, path: Path, *, constraint: bool, chain: tuple[tuple[Path, str], ...]) -> None:
        """Read a file, once in each role; only a problem without a line is raised, others are collected."""
        if (path, constraint) in self._seen:
            return
        self._seen.add((path, constraint))
        name = self._display(path)
        try:
            text, encoding = self._text(path, is_list=True)
        except ProblemError as refused:
            if refused.line is None:
                raise
            self._refuse(name, refused)
            return
        if encoding != "utf-8":
            self.warnings.append(f"`{name}` is {encoding.upper()}; save it as UTF-8, which all tools support")
        cut = cut_off(text)
        if cut is not None:
            self._refuse(name, cut)
        for number, line in logical_lines(text):
            place = LineOrigin(
                path=path,
                where=f"{name}:{number}",
                constraint=constraint,
                chain=chain,
                cwd=self.host.cwd,
            )
            try:
                self._read_line(line, place)
            except ProblemError as refused:
                self._refuse(place.where, refused, line)

    def _read_line(self, line: str, place: LineOrigin) -> None:
        if "://" in line:
            register_urls(line)
        expanded = self._expand(line) if "$" in line else line
        text, given = split_options(expanded)
        if not text:
            self._apply(given, place)
            if given.no_binary or given.only_binary:
                self.pip_options += format_control(expanded)
            return
        root = parse_root(text, origin=place.where, cwd=place.cwd, hashes=given.hashes)
        if place.constraint and (root.requirement is None or root.requirement.extras):
            raise ProblemError("a constraint must have a name, and no extras")
        if given.hashes:
            self.require_hashes = True
        if given.hashes or "sha256=" in text:  # the digest in the fragment of a URL counts, as in pip
            self.hashed.add(root.origin)
        (self.constraints.append if place.constraint else self._add_root)(root)
        # pip resolves relative paths from the working directory.
        local = root.kind in ("archive", "directory") and root.location and "://" not in root.location
        is_moved = local and place.cwd != self.host.cwd
        self.lines[place.constraint].append(absolute_line(line, root) if is_moved else line)

    def _expand(self, line: str) -> str:
        """Return ``line`` with its variables expanded, and remember their names."""
        expanded, names = expand_variables(line, self.host)
        self.variables |= names
        return expanded

    def _apply(self, given: Values, place: LineOrigin) -> None:
        """Apply the options of a line without a requirement."""
        for name in given.requirements:
            self._read_nested(name, "-r", place)
        for name in given.constraints:
            self._read_nested(name, "-c", place)
        if given.extra_index_urls:
            self.warnings.append(
                f"{place.where}: `--extra-index-url` searches several indexes for every project; "
                "a project of the same name on a public index can replace a private one"
            )
        # `--prefer-binary` is the default; only the command line turns it off.
        if given.use_features:
            self.warnings.append(f"{place.where}: `--use-feature` is ignored")
        self.require_hashes = self.require_hashes or given.require_hashes
        self.pip_options += ["--pre"] if given.pre else []
        self.options = self.options.merged_with(
            IndexOptions(
                index_url=given.index_url,
                extra_index_urls=tuple(given.extra_index_urls),
                find_links=tuple(self._link(value, place) for value in given.find_links),
                no_index=given.no_index,
                trusted_hosts=tuple(given.trusted_hosts),
            )
        )

    def _link(self, value: str, place: LineOrigin) -> str:
        """Return ``--find-links`` as pip resolves it: beside its file, else in the working directory."""
        if is_url(value):
            return value
        beside = place.path.parent / value
        return os.path.normpath(beside if beside.exists() else self.host.cwd / value)

    def _read_nested(self, name: str, option: str, place: LineOrigin) -> None:
        if is_url(name):
            raise url_problem(name, self.host.cwd, f"`{option}` with a URL is unsupported")
        path = Path(os.path.normpath(place.path.parent / name))
        chain = (*place.chain, (place.path, place.where))
        steps = (*(where for _, where in chain), self._display(path))
        if len(chain) > _MAX_DEPTH:
            steps = (*steps[:3], "...", *steps[-3:])
        details = (f"chain   {' -> '.join(steps)}",)
        if any(path == above for above, _ in chain):
            raise ProblemError("the files include each other in a loop", details=details)
        if len(chain) > _MAX_DEPTH:
            raise ProblemError(f"the files include each other more than {_MAX_DEPTH} deep", details=details)
        try:
            self._read_file(path, constraint=option == "-c", chain=chain)
        except ProblemError as refused:
            raise ProblemError(
                f"`{option} {name}`: {refused.fact}", details=details, hint=refused.hint
            ) from None
