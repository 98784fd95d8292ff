"""The command line: what the commands that build share: their options, and their answer.

Imports that ``--help`` does not need are left to the functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bundler.console import print_envelope, print_line
from bundler.errors import UsageError
from bundler.surroundings import Surroundings

if TYPE_CHECKING:
    from bundler.pipeline import Built
    from bundler.report import Way
    from bundler.requirements import IndexOptions, RequirementSet
    from bundler.session import BuildOptions
    from bundler.usercode import UserCode

__all__ = [
    "build_options",
    "building",
    "file_path",
    "index_options",
    "json_option",
    "near",
    "options",
    "print_built",
    "quiet_option",
    "read_given",
    "requirement_options",
    "resolving",
    "store_option",
    "variables_of",
]


def options(*given: Callable[..., Any]) -> Callable[..., Any]:
    """Return a decorator that gives a command several options, in their order."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(given):
            function = option(function)
        return function

    return decorate


file_path = click.Path(path_type=Path, dir_okay=False)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Warnings and errors only.")
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
store_option = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    help="The store  [default: BUNDLER_STORE, or the user's cache].",
)
resolving = options(
    click.option("--strict", is_flag=True, help="Refuse a conda package that no index has."),
    click.option(
        "--python", help="The target Python: a version or a path  [default: what env.yml says, or 3.7]."
    ),
    click.option("--only-binary", is_flag=True, help="Refuse source distributions."),
    click.option("-i", "--index-url", help="The package index."),
    click.option("--extra-index-url", "extra_index_urls", multiple=True, help="A further index."),
    click.option(
        "-f", "--find-links", multiple=True, help="A folder or page with files; an env.yml means `--file`."
    ),
    click.option("--no-index", is_flag=True, help="Only --find-links."),
    click.option(
        "--trusted-host", "trusted_hosts", multiple=True, help="A host whose certificate is not checked."
    ),
    store_option,
    quiet_option,
    json_option,
)
requirement_options = options(
    click.argument("requirement", nargs=-1, metavar="[REQ]..."),
    click.option(
        "-r",
        "--requirement",
        "--file",
        "files",
        type=file_path,
        multiple=True,
        help="A requirements file, a pyproject.toml or a conda env.yml.",
    ),
    click.option(
        "-c", "--constraint", "constraints", type=file_path, multiple=True, help="A constraints file."
    ),
    click.option("--extra", "extras", multiple=True, help="An extra of the pyproject.toml."),
    click.option("--group", "groups", multiple=True, help="A dependency group of the pyproject.toml."),
    resolving,
)


building = options(
    click.option("--name", help="The bundle's name  [default: the project's, or the requirements' folder]."),
    click.option("--bundle-version", "version", help="Its version  [default: from the lock's digest]."),
    click.option(
        "-o",
        "--output",
        "folder",
        type=click.Path(path_type=Path, file_okay=False),
        default="dist",
        show_default=True,
    ),
    click.option(
        "--format",
        "fmt",
        type=click.Choice(["tar.gz", "tar.zst", "dir"]),
        default="tar.gz",
        show_default=True,
    ),
    click.option(
        "--for",
        "use",
        type=click.Choice(["mount", "venv", "both"]),
        help="On PYTHONPATH, in a virtual environment  [default: both; mount with --base].",
    ),
    click.option(
        "--source-dir",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        help="The code it serves.",
    ),
    click.option("--entry-script", metavar="FILE", help="Its script with init() and run(), in --source-dir."),
    click.option("--run-init", is_flag=True, help="Run the entry script and its init(), without a network."),
    click.option(
        "--model-dir",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="What AZUREML_MODEL_DIR names for --run-init.",
    ),
    click.option("--target-glibc", metavar="VERSION", help="Refuse what needs a newer glibc."),
    click.option(
        "--base",
        type=click.Path(path_type=Path, exists=True),
        help="What it is mounted into: a profile, a pip freeze, a root filesystem, an image archive.",
    ),
    click.option(
        "--omit-provided", is_flag=True, help="Leave out what --base has in a version that will do."
    ),
    click.option("--server", metavar="VERSION", help="Try it under this azureml-inference-server-http, too."),
    click.option("--reverify", is_flag=True, help="Run the checks again that an earlier build has passed."),
    click.option(
        "--allow",
        multiple=True,
        metavar="CODE[:NAME]",
        help="An error to accept, and to record in the manifest.",
    ),
    click.option(
        "--allow-import-failure",
        multiple=True,
        metavar="NAME",
        help="A distribution or module that need not import.",
    ),
    click.option(
        "--allow-pth", multiple=True, metavar="NAME", help="A distribution whose .pth file may run code."
    ),
)


def build_options(
    given: dict[str, Any], requirements: RequirementSet | None, surroundings: Surroundings
) -> BuildOptions:
    """Return what was typed as what the pipeline takes."""
    from bundler.bundle import check_name  # noqa: PLC0415
    from bundler.pipeline import BuildOptions  # noqa: PLC0415

    options = BuildOptions(
        python=given["python"],
        requirements=requirements,
        index=index_options(given),
        only_binary=given["only_binary"],
        lock=given["lock"],
        name=check_name(given["name"] or _default_name(given, requirements, surroundings), "name"),
        version=given["version"] and check_name(given["version"], "version"),
        folder=surroundings.cwd / given["folder"],
        codec="zst" if given["fmt"] == "tar.zst" else "gz",
        as_folder=given["fmt"] == "dir",
        epoch=surroundings.epoch(),
        ways=_ways(given),
        code=_code(given),
        run_init=given["run_init"],
        model_dir=given["model_dir"] and given["model_dir"].resolve(),
        target_glibc=given["target_glibc"],
        base=given["base"],
        server=given["server"],
        omit_provided=given["omit_provided"],
        reverify=given["reverify"],
        allow=_allowed(given["allow"]),
        allow_import_failure=given["allow_import_failure"],
        allow_pth=given["allow_pth"],
    )
    if options.omit_provided and (options.base is None or "mount" not in options.ways):
        raise UsageError(
            "`--omit-provided` needs a base that the bundle is mounted into",
            hint="--base profile.json --omit-provided",
        )
    return options


def print_built(command: str, built: Built, given: dict[str, Any], surroundings: Surroundings) -> None:
    """Print what was built: path, size and sha256, or all of it as JSON."""
    output = built.output
    if given["as_json"]:
        result = {
            "path": str(output.path),
            "manifest": str(output.manifest),
            "size": output.size,
            "sha256": output.sha256,
            "identity": built.manifest.identity,
            "name": built.manifest.name,
            "version": built.manifest.version,
            "target": dict(built.manifest.values["target"]),
            "distributions": {
                item["name"]: item["version"] for item in built.manifest.values["distributions"]
            },
            "built_here": list(built.built_here),
            "verification": built.proof.report.to_json(code=True),
            "entry": built.proof.entry,
            "sandbox": built.proof.sandbox.to_json(),
            "cached": [way.way for way in built.proof.report.ways if way.cached],
            "neutralised": list(surroundings.neutralised()),
        }
        print_envelope(command, result=result)
    else:
        print_line(near(output.path, surroundings), output.size, output.sha256)


def near(path: Path, surroundings: Surroundings) -> Path:
    """Return a path as a person in the working directory would write it."""
    return path.relative_to(surroundings.cwd) if path.is_relative_to(surroundings.cwd) else path


def read_given(surroundings: Surroundings, given: dict[str, Any]) -> RequirementSet | None:
    """Return the requirements that were typed and that stand in files, or None if there are neither."""
    from bundler.requirements import CONDA_SUFFIXES, read_requirements  # noqa: PLC0415

    # `-f` is pip's --find-links and conda's --file; what it names tells which is meant.
    specifications = [link for link in given["find_links"] if link.endswith(CONDA_SUFFIXES)]
    given["files"] += tuple(Path(link) for link in specifications)
    given["find_links"] = tuple(link for link in given["find_links"] if link not in specifications)
    if not (given["files"] or given["requirement"] or given["extras"] or given["groups"]):
        return None
    return read_requirements(
        surroundings,
        files=given["files"],
        constraints=given["constraints"],
        strings=given["requirement"],
        extras=given["extras"],
        groups=given["groups"],
        strict=given["strict"],
    )


def index_options(given: dict[str, Any]) -> IndexOptions:
    """Return the index settings that were typed."""
    from bundler.requirements import IndexOptions  # noqa: PLC0415

    return IndexOptions(
        index_url=given["index_url"],
        extra_index_urls=given["extra_index_urls"],
        find_links=given["find_links"],
        no_index=given["no_index"],
        trusted_hosts=given["trusted_hosts"],
    )


def _ways(given: dict[str, Any]) -> tuple[Way, ...]:
    use = given["use"] or ("mount" if given["base"] else "both")
    ways: dict[str, tuple[Way, ...]] = {"mount": ("mount",), "venv": ("venv",), "both": ("mount", "venv")}
    return ways[use]


def _code(given: dict[str, Any]) -> UserCode | None:
    from bundler.usercode import user_code  # noqa: PLC0415

    if given["source_dir"] is None and given["entry_script"] is None:
        if given["run_init"]:
            raise UsageError("there is no script to run", hint="--source-dir code --entry-script score.py")
        return None
    if given["source_dir"] is None or given["entry_script"] is None:
        raise UsageError(
            "`--source-dir` and `--entry-script` go together",
            hint="--source-dir code --entry-script score.py",
        )
    return user_code(given["source_dir"], given["entry_script"])


def _allowed(texts: Sequence[str]) -> tuple[str, ...]:
    from bundler.findings import RULES  # noqa: PLC0415

    for text in texts:
        if text.partition(":")[0].upper() not in RULES:
            raise UsageError(f"`--allow {text}` names no finding", evidence=(f"known   {', '.join(RULES)}",))
    return tuple(texts)


def variables_of(texts: Sequence[str]) -> dict[str, str]:
    """Return what several `-e NAME=VALUE` set."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UsageError(f"`-e {text}` sets no variable", hint="-e AZUREML_ENTRY_SCRIPT=code/score.py")
        found[name] = value
    return found


def _default_name(
    given: dict[str, Any], requirements: RequirementSet | None, surroundings: Surroundings
) -> str:
    """Return the name a conda specification gives, or the first file's folder, as far as it is one."""
    if requirements is not None and requirements.conda is not None and requirements.conda.read.name:
        wanted = requirements.conda.read.name
    else:
        first = next(iter((*given["files"], *filter(None, [given["lock"]]))), None)
        wanted = (surroundings.cwd / first).resolve().parent.name if first else "bundle"
    name = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "-" for char in wanted)
    return name.strip("._-") or "bundle"
