"""Typed arguments, as the values that the stages take; and the results, as they are printed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bundler.bundle.plan import check_name
from bundler.checks.user_code import find_user_code
from bundler.cli.console import print_envelope, print_line
from bundler.data.finding_rules import rules_by_code
from bundler.errors import UsageError
from bundler.pipeline.options import BuildOptions
from bundler.problems import display_path
from bundler.requirements.files import CONDA_SUFFIXES, read_requirements
from bundler.requirements.requirement_set import IndexOptions
from bundler.system.environ import HostEnvironment

if TYPE_CHECKING:
    from bundler.checks.report import UsageMode
    from bundler.checks.user_code import UserCode
    from bundler.pipeline.build import Built
    from bundler.requirements.requirement_set import RequirementSet

__all__ = ["build_options", "index_options", "print_built", "read_given", "variables_of"]


def build_options(
    given: dict[str, Any], requirements: RequirementSet | None, host: HostEnvironment
) -> BuildOptions:
    """Return what was typed as what the pipeline takes."""
    options = BuildOptions(
        python=given["python"],
        requirements=requirements,
        index=index_options(given),
        only_binary=given["only_binary"],
        lock=given["lock"],
        name=check_name(given["name"] or _default_name(given, requirements, host), "name"),
        version=given["version"] and check_name(given["version"], "version"),
        folder=host.cwd / given["folder"],
        codec="zst" if given["fmt"] == "tar.zst" else "gz",
        as_folder=given["fmt"] == "dir",
        epoch=host.epoch(),
        modes=_modes(given),
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
    if options.omit_provided and (options.base is None or "mount" not in options.modes):
        raise UsageError(
            "`--omit-provided` needs a base that the bundle is mounted into",
            hint="--base profile.json --omit-provided",
        )
    return options


def print_built(command: str, built: Built, given: dict[str, Any], host: HostEnvironment) -> None:
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
            "target": msgspec.to_builtins(built.manifest.document.target),
            "distributions": {item.name: item.version for item in built.manifest.document.distributions},
            "built_here": list(built.built_here),
            "verification": built.result.report.to_json(code=True),
            "entry": built.result.entry,
            "sandbox": built.result.sandbox.to_json(),
            "cached": [mode.mode for mode in built.result.report.modes if mode.cached],
            "neutralised": list(host.ignored_settings()),
        }
        print_envelope(command, result=result)
    else:
        print_line(display_path(output.path, host.cwd), output.size, output.sha256)


def read_given(host: HostEnvironment, given: dict[str, Any]) -> RequirementSet | None:
    """Return the requirements that were typed and that stand in files, or None if there are neither."""
    # `-f` is pip's --find-links and conda's --file; what it names tells which is meant.
    specifications = [link for link in given["find_links"] if link.endswith(CONDA_SUFFIXES)]
    given["files"] += tuple(Path(link) for link in specifications)
    given["find_links"] = tuple(link for link in given["find_links"] if link not in specifications)
    if not (given["files"] or given["requirement"] or given["extras"] or given["groups"]):
        return None
    return read_requirements(
        host,
        files=given["files"],
        constraints=given["constraints"],
        strings=given["requirement"],
        extras=given["extras"],
        groups=given["groups"],
        strict=given["strict"],
    )


def index_options(given: dict[str, Any]) -> IndexOptions:
    """Return the index settings that were typed."""
    return IndexOptions(
        index_url=given["index_url"],
        extra_index_urls=given["extra_index_urls"],
        find_links=given["find_links"],
        no_index=given["no_index"],
        trusted_hosts=given["trusted_hosts"],
    )


def _modes(given: dict[str, Any]) -> tuple[UsageMode, ...]:
    use = given["use"] or ("mount" if given["base"] else "both")
    modes: dict[str, tuple[UsageMode, ...]] = {
        "mount": ("mount",),
        "venv": ("venv",),
        "both": ("mount", "venv"),
    }
    return modes[use]


def _code(given: dict[str, Any]) -> UserCode | None:

    if given["source_dir"] is None and given["entry_script"] is None:
        if given["run_init"]:
            raise UsageError("there is no script to run", hint="--source-dir code --entry-script score.py")
        return None
    if given["source_dir"] is None or given["entry_script"] is None:
        raise UsageError(
            "`--source-dir` and `--entry-script` go together",
            hint="--source-dir code --entry-script score.py",
        )
    return find_user_code(given["source_dir"], given["entry_script"])


def _allowed(texts: Sequence[str]) -> tuple[str, ...]:

    for text in texts:
        if text.partition(":")[0].upper() not in rules_by_code():
            raise UsageError(
                f"`--allow {text}` names no finding", evidence=(f"known   {', '.join(rules_by_code())}",)
            )
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


def _default_name(given: dict[str, Any], requirements: RequirementSet | None, host: HostEnvironment) -> str:
    """Return the name a conda specification gives, or the first file's folder, as far as it is one."""
    if requirements is not None and requirements.conda is not None and requirements.conda.read.name:
        wanted = requirements.conda.read.name
    else:
        first = next(iter((*given["files"], *filter(None, [given["lock"]]))), None)
        wanted = (host.cwd / first).resolve().parent.name if first else "bundle"
    name = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "-" for char in wanted)
    return name.strip("._-") or "bundle"
