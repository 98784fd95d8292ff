"""Arguments of the command line as the values of the stages, and results as they are printed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from packaging.utils import canonicalize_name

from bundler.bundle.plan import check_name
from bundler.checks.explain import similar_codes
from bundler.checks.report import UsageMode
from bundler.checks.user_code import UserCode, find_user_code
from bundler.cli.console import output_file, print_envelope, print_line
from bundler.cli.examples import find_script, option_of
from bundler.cli.options import BundleArguments, RequirementArguments, ResolveArguments
from bundler.cli.parsing import FORMAT_VALUES, typed_words, with_dashes, with_word
from bundler.cli.settings import PYPROJECT
from bundler.data.finding_rules import rules_by_code
from bundler.data.inference_server import server_requirements
from bundler.errors import InputError, UsageError
from bundler.paths import printable
from bundler.pipeline.options import BuildOptions
from bundler.problems import check_variables, display_path
from bundler.redaction import redact
from bundler.requirements.files import CONDA_SUFFIXES, read_requirements
from bundler.requirements.model import MODEL_FILE, is_model_folder, model_input
from bundler.requirements.positional import sort_words
from bundler.requirements.pyproject import project_name
from bundler.requirements.requirement_set import IndexOptions
from bundler.requirements.text import first_input
from bundler.text import listing

if TYPE_CHECKING:
    from bundler.pipeline.build import Built
    from bundler.requirements.requirement_set import RequirementSet
    from bundler.system.environ import HostEnvironment

__all__ = [
    "build_options",
    "cutoff",
    "default_name",
    "index_options",
    "missing_requirements",
    "parse_variables",
    "print_built",
    "read_arguments",
    "sort_arguments",
]

_CODE_AND_NAME = re.compile(r"([A-Za-z]\d{3})[ =,/]+`?([\w.-]+)`?")
"""A finding and its distribution, as messages have them."""
_FILE_SUFFIXES = (".tar.gz", ".tar.zst", ".tgz", ".tar", ".zip", ".whl", ".zst", ".gz", ".toml", ".json")
"""The suffixes of files that users expect ``--output`` to name."""
_MODES: dict[str, tuple[UsageMode, ...]] = {
    "mount": ("mount",),
    "venv": ("venv",),
    "both": ("mount", "venv"),
}


def build_options(
    resolve: ResolveArguments,
    bundle: BundleArguments,
    requirements: RequirementSet | None,
    host: HostEnvironment,
    *,
    name: str,
    lock: Path | None = None,
) -> BuildOptions:
    """Return the options of a build.

    :param name: the name of the bundle.
    :raises UsageError: if options exclude or need each other, or a value is invalid.
    :raises InputError: if the requirements of the server are not known.
    """
    _check_folder(bundle, host)
    options = BuildOptions(
        python=resolve.python,
        requirements=requirements,
        index=index_options(resolve),
        only_binary=resolve.only_binary,
        prefer_binary=resolve.prefer_binary,
        target=resolve.target,
        target_glibc=resolve.target_glibc,
        resolver=resolve.resolver,
        exclude_newer=cutoff(resolve.exclude_newer),
        lock=lock,
        name=check_name(name, "name"),
        version=check_name(bundle.version, "version") if bundle.version else None,
        folder=host.cwd / bundle.folder,
        codec="zst" if bundle.fmt == "tar.zst" else "gz",
        as_folder=bundle.fmt == "dir",
        epoch=host.epoch(),
        modes=_MODES[bundle.use or ("mount" if bundle.base else "both")],
        code=_user_code(bundle),
        run_init=bundle.run_init,
        model_dir=bundle.model_dir.resolve() if bundle.model_dir else None,
        base=bundle.base,
        server=bundle.server,
        omit_provided=bundle.omit_provided,
        slim=bundle.slim,
        keep=frozenset(canonicalize_name(name) for name in bundle.keep),
        reverify=bundle.reverify,
        allow=_allowed(bundle.allow),
        allow_import_failure=bundle.allow_import_failure,
        allow_pth=bundle.allow_pth,
    )
    if options.server is not None:
        server_requirements(options.server)
    if options.omit_provided and "mount" not in options.modes:
        raise UsageError(f"`--omit-provided` and `--for {bundle.use}` exclude each other", hint="--for mount")
    if options.omit_provided and options.base is None:
        raise UsageError(
            "`--omit-provided` needs a base that the bundle is mounted into",
            hint="--base profile.json --omit-provided",
        )
    return options


def cutoff(text: str | None) -> str | None:
    """Return the time from which files are ignored, in RFC 3339; a day counts as a whole, in UTC.

    >>> cutoff("2024-05-01"), cutoff("2024-05-01T12:00:00+02:00")
    ('2024-05-02T00:00:00Z', '2024-05-01T10:00:00Z')

    :raises UsageError: if it is neither a day nor a time.
    """
    if text is None:
        return None
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            time = datetime.fromisoformat(text).replace(tzinfo=UTC) + timedelta(days=1)
        else:
            time = datetime.fromisoformat(text)
            time = time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"`--exclude-newer {printable(text)}` is not a day or time",
            evidence=("wanted  2024-05-31 or 2024-05-31T12:00:00Z",),
            hint="--exclude-newer 2024-05-31",
        ) from None
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")


def _check_folder(bundle: BundleArguments, host: HostEnvironment) -> None:
    """Check that ``--output`` is not meant as the name of an archive.

    :raises UsageError: if it is a new directory with the suffix of a file.
    """
    folder = bundle.folder
    suffix = next((suffix for suffix in _FILE_SUFFIXES if folder.name.endswith(suffix)), None)
    if suffix is None or (host.cwd / folder).exists():
        return
    name = shlex.quote(bundle.name or folder.name.removesuffix(suffix).strip("._-") or "bundle")
    options = f"-o {shlex.quote(str(folder.parent))} --name {name}"
    raise UsageError(f"`--output` is a directory, `{folder}` is the name of a file", hint=f"pass `{options}`")


def print_built(command: str, built: Built, host: HostEnvironment, *, as_json: bool) -> None:
    """Print the path, size and sha256 of a bundle, or everything about it as JSON."""
    output = built.output
    if not as_json:
        print_line(display_path(output.path, host.cwd), output.size, output.sha256)
        return
    document = built.manifest.document
    result = {
        "path": str(output.path),
        "manifest": str(output.manifest),
        "size": output.size,
        "sha256": output.sha256,
        "identity": built.manifest.identity,
        "name": built.manifest.name,
        "version": built.manifest.version,
        "target": msgspec.to_builtins(document.target),
        "distributions": {distribution.name: distribution.version for distribution in document.distributions},
        "built_here": list(built.built_here),
        "verification": built.result.report.to_json(code=True),
        "entry": built.result.entry,
        "sandbox": built.result.sandbox.to_json(),
        "cached": [mode.mode for mode in built.result.report.modes if mode.cached],
        "neutralised": list(host.ignored_settings()),
    }
    print_envelope(command, result=result)


def read_arguments(
    requirements: RequirementArguments, resolve: ResolveArguments, host: HostEnvironment
) -> RequirementSet | None:
    """Return the requirements of the command line and of its files, or None if there are neither."""
    files = (*requirements.files, *_specifications(resolve))
    given = (requirements.requirement, requirements.extras, requirements.groups, requirements.scripts)
    if not (files or any(given)):
        return None
    read = read_requirements(
        host,
        files=files,
        constraints=requirements.constraints,
        strings=requirements.requirement,
        extras=requirements.extras,
        groups=requirements.groups,
        scripts=requirements.scripts,
        strict=resolve.strict,
    )
    if not read.roots and not read.system_packages:
        raise InputError(
            f"no requirements in {listing(map(str, (*files, *requirements.scripts)), 3) or 'the selection'}",
            hint="add at least one below `dependencies:`, for example `- numpy`"
            if any(path.suffix in CONDA_SUFFIXES for path in files)
            else "add at least one, for example `numpy`",
        )
    return read


def sort_arguments(
    requirements: RequirementArguments, host: HostEnvironment
) -> tuple[RequirementArguments, tuple[Path, ...]]:
    """Return the arguments with their words sorted by `sort_words`, and the lockfiles among them."""
    for word in FORMAT_VALUES:
        if word in requirements.requirement:
            raise click.UsageError(f"`{word}` is not a requirement")
    _check_redirection(requirements.requirement)
    for path in requirements.files:
        meant = with_dashes(click.get_current_context(silent=True), "--requirement", str(path))
        if meant is not None and not path.exists():
            raise UsageError(f"`-r{path}` is no option with a file", hint=redact(shlex.join(meant)))
    words = sort_words(requirements.requirement, host.cwd)
    sorted_ = replace(
        requirements,
        requirement=words.requirements,
        files=(*(model_input(path, host.cwd) for path in requirements.files), *words.files),
        scripts=(*requirements.scripts, *words.scripts),
    )
    return sorted_, words.locks


_VERSION_FILE = re.compile(r"=?\d+(?:\.\d+)+(?:\.\*)?(?:,.*)?")
"""The name of a file that the shell creates for ``six>=1.16``."""


def _check_redirection(words: Sequence[str]) -> None:
    """Check that the shell did not take the ``>`` of a requirement for a redirection of the output.

    :raises UsageError: with the quoted requirement.
    """
    name = output_file()
    if words and _VERSION_FILE.fullmatch(name):
        meant = with_word(click.get_current_context(silent=True), words[-1], f"{words[-1]}>{name}")
        raise UsageError(
            "the shell took `>` for a redirection, not for a part of the requirement",
            evidence=(f"found   the output is the file `{name}`",),
            hint=f"rm ./{name} && {shlex.join(meant)}",
        )


def _specifications(resolve: ResolveArguments) -> tuple[Path, ...]:
    """Return the conda specifications among the values of ``-f``: pip's --find-links, and conda's --file.

    :raises UsageError: if a value is a file with requirements of another kind.
    """
    for link in resolve.find_links:
        option = "-s" if link.endswith(".py") else option_of(Path(link))
        if option in ("-r", "-s") and (link.endswith((".txt", ".in")) or Path(link).is_file()):
            raise UsageError(
                f"`-f {redact(link)}` is a file with requirements, not a directory of distributions",
                hint=f"pass `{option} {shlex.quote(redact(link))}`",
            )
    return tuple(model_input(Path(link), Path()) for link in resolve.find_links if _is_specification(link))


def _is_specification(link: str) -> bool:
    return link.endswith((*CONDA_SUFFIXES, MODEL_FILE)) or is_model_folder(Path(link))


def index_options(resolve: ResolveArguments) -> IndexOptions:
    """Return the index settings of the command line."""
    return IndexOptions(
        index_url=resolve.index_url,
        extra_index_urls=resolve.extra_index_urls,
        find_links=tuple(link for link in resolve.find_links if not _is_specification(link)),
        no_index=resolve.no_index,
        trusted_hosts=resolve.trusted_hosts,
    )


def _user_code(bundle: BundleArguments) -> UserCode | None:
    if bundle.source_dir is None and bundle.entry_script is None:
        if bundle.run_init:
            raise UsageError("`--run-init` needs an entry script", hint=_code_options(bundle))
        return None
    if bundle.source_dir is None or bundle.entry_script is None:
        raise UsageError("`--source-dir` and `--entry-script` go together", hint=_code_options(bundle))
    return find_user_code(bundle.source_dir, bundle.entry_script)


def _code_options(bundle: BundleArguments) -> str:
    """Return the two options for the user's code, with the files that exist."""
    folder, script = find_script(bundle.source_dir, bundle.entry_script) or (Path(), "score.py")
    return shlex.join(["--source-dir", str(folder), "--entry-script", script])


def missing_requirements(
    command: str, requirements: RequirementArguments, resolve: ResolveArguments, host: HostEnvironment
) -> UsageError:
    """Return the error for a command without requirements, with the files that exist as the hint."""
    typed = typed_words(click.get_current_context(silent=True)) or [command]
    for path in filter(Path.is_file, requirements.constraints):
        words = [command, "-s" if path.suffix == ".py" else "-r", display_path(path, host.cwd)]
        fact = "no requirements given: `-c` only limits their versions"
        return UsageError(fact, hint=shlex.join(["bundler", *words]))
    added = ["numpy==1.21.6"]
    links = [host.cwd / link for link in resolve.find_links if (host.cwd / link).is_dir()]
    for folder in (*links, host.cwd):
        if (found := first_input(folder)) is not None:
            added = [found[0], display_path(folder / found[1], host.cwd)]
            break
    return UsageError("no requirements given", hint=redact(shlex.join(["bundler", *typed, *added])))


def _allowed(codes: Sequence[str]) -> tuple[str, ...]:
    """Return the values of ``--allow``, all of which name a finding."""
    known = rules_by_code()
    for text in codes:
        code = text.partition(":")[0]
        if code.upper() not in known:
            if pair := _CODE_AND_NAME.fullmatch(text):  # as the message has them
                raise UsageError(
                    f"`--allow {text}` does not name a finding",
                    hint=f"pass `--allow {pair[1].upper()}:{canonicalize_name(pair[2])}`",
                )
            near = similar_codes(code)
            hint = f"did you mean `--allow {near[0]}`?" if near else "bundler explain"
            raise UsageError(
                f"`--allow {text}` does not name a finding",
                evidence=(f"known   {', '.join(near)}",) if near else (),
                hint=hint,
            )
    return tuple(codes)


def _variable_meant(text: str) -> str:
    """Return an option ``-e`` with a value, for the name that was given without one."""
    name = text.partition("=")[0].strip()
    return f"-e {name}=VALUE" if name.isidentifier() else "-e AZUREML_ENTRY_SCRIPT=code/score.py"


def parse_variables(texts: Sequence[str]) -> dict[str, str]:
    """Return the variables of several ``-e NAME=VALUE``.

    :raises UsageError: if one has no name or no ``=``.
    :raises InputError: if a name or a value is invalid, see `check_variables`.
    """
    variables = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UsageError(f"`-e {printable(text)}` is not NAME=VALUE", hint=_variable_meant(text))
        variables[name] = value
    check_variables(variables)
    return variables


def default_name(
    requirements: RequirementArguments,
    resolve: ResolveArguments,
    lock: Path | None,
    read: RequirementSet | None,
    host: HostEnvironment,
) -> str:
    """Return the name of a bundle that the user did not name.

    That of the conda specification or of the project, or of the directory of the first file or model, with
    ``-`` for every character that the name of a bundle cannot have.
    """
    projects = [Path(word) / PYPROJECT for word in requirements.requirement if (host.cwd / word).is_dir()]
    scripts = [path.with_name(path.stem) / path.name for path in requirements.scripts]  # named by the script
    first = next(
        iter((*requirements.files, *projects, *scripts, *_specifications(resolve), *filter(None, [lock]))),
        None,
    )
    is_model = first is not None and first.name == MODEL_FILE  # its environment is named `mlflow-env`
    if read is not None and read.conda is not None and read.conda.read.name and not is_model:
        wanted = read.conda.read.name
    elif first is not None:
        path = (host.cwd / first).resolve()
        is_project = path.name == PYPROJECT and path.is_file()
        wanted = (project_name(path.read_text("utf-8", "replace")) if is_project else "") or path.parent.name
    else:
        wanted = "bundle"
    name = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "-" for char in wanted)
    return name.strip("._-") or "bundle"
