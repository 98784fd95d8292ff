"""The commands for a package: ``simulate``, ``join``, ``mount-command``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from bundler.base_image.reader import read_base
from bundler.bundle.document import FindingSection
from bundler.cli.arguments import parse_variables
from bundler.cli.common import make_reporter
from bundler.cli.console import finding_line, print_envelope, print_line
from bundler.cli.examples import contexts_in, find_script, package_command
from bundler.cli.options import InputPath, group, json_option
from bundler.cli.parsing import typed_words, with_value
from bundler.cli.paths import check_app_root, context_path
from bundler.data.azure_image import EXIT_CODES, IMAGE_ROOT, IMAGE_VARIANTS, image_python
from bundler.data.inference_server import parse_release
from bundler.deploy.context import base_image_of, docker_run
from bundler.deploy.startup.files import FolderFiles, open_context
from bundler.deploy.startup.simulate import render_start, simulate_start
from bundler.deploy.startup.variables import profile_of
from bundler.errors import ClosureError, UsageError
from bundler.jsonio import convert
from bundler.oci.append import join_delta
from bundler.oci.filetree import APP_FOLDER
from bundler.redaction import redact

__all__ = ["join_command", "mount_command", "simulate_command"]

_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class SimulateArguments:
    """Options of ``simulate``."""

    context: Path | None
    app_root: Path | None
    variables: tuple[str, ...]
    profile: str | None
    base: Path | None
    server: str | None
    network: bool
    no_server: bool


simulate_options = group(
    "arguments",
    SimulateArguments,
    click.argument("context", required=False, type=context_path),
    click.option(
        "--app-root",
        type=InputPath(path_type=Path, exists=True, file_okay=False),
        help="Use this directory as the application root, in place of a CONTEXT.",
    ),
    click.option(
        "-e",
        "--env",
        "variables",
        multiple=True,
        metavar="NAME=VALUE",
        help="Set a variable, as `docker run -e` does.",
    ),
    click.option(
        "--profile",
        type=click.Choice(list(IMAGE_VARIANTS)),
        help="Predict this variant of Azure ML's inference images"
        "  [default: that of the context's base image, else of the packages' Python].",
    ),
    click.option(
        "--base",
        type=InputPath(path_type=Path, exists=True),
        help="The base image, its profile or its `pip freeze`: for the imports that the image must provide.",
    ),
    click.option(
        "--server",
        metavar="VERSION",
        help="Assume this release of azureml-inference-server-http"
        "  [default: that of --base, else 0.7.6 or newer].",
    ),
    click.option("--network", is_flag=True, help="Assume that the container reaches a package index."),
    click.option("--no-server", is_flag=True, help="Assume an image without azureml-inference-server-http."),
)


@click.command("simulate")
@simulate_options
@json_option
def simulate_command(arguments: SimulateArguments, as_json: bool) -> None:
    """Predict how Azure ML's image starts with a build CONTEXT, and its exit code.

    Nothing is run. Only files below the application root are read; without --base the
    packages of the image itself are unknown.
    """
    variables = parse_variables(arguments.variables)
    script = variables.get("AZUREML_ENTRY_SCRIPT")
    if (arguments.context is None) == (arguments.app_root is None):
        raise UsageError(
            "pass either a build CONTEXT or `--app-root`",
            evidence=tuple(f"found   the build context `{path}`" for path in contexts_in(Path())[:_SHOWN]),
            hint=_simulation(arguments, script),
        )
    env: Mapping[str, str] = variables
    image = None
    if arguments.context is not None:
        env, files = open_context(arguments.context, variables)
        image = base_image_of(arguments.context)
    else:
        check_app_root(arguments.app_root or Path(), script)
        files = FolderFiles(arguments.app_root or Path(), at=variables.get("AML_APP_ROOT") or IMAGE_ROOT)
    boot = simulate_start(
        env,
        files,
        profile=arguments.profile or profile_of(image, env),
        base=read_base(arguments.base, reporter=make_reporter()) if arguments.base else None,
        release=parse_release(arguments.server) if arguments.server else None,
        python=image_python(image) if image else None,
        offline=not arguments.network,
        server=not arguments.no_server,
    )
    if not as_json:
        for line in render_start(boot):
            print_line(line)
        for finding in boot.findings:
            section = {**finding.to_json(), "allowed": False}
            print_line(finding_line(convert(section, FindingSection, finding.code)))
            if finding.fix or finding.rule.severity != "note":
                print_line(f"      fix: {finding.remedy}")
    if not boot.ok:
        raise ClosureError(
            f"the image would end with exit code {boot.exit_code}: {EXIT_CODES[boot.exit_code]}"
            if boot.exit_code
            else "the server would start, and not as intended",
            evidence=tuple(line for finding in boot.findings for line in finding.details),
            hint=next((f"bundler explain {finding.code}" for finding in boot.findings), None),
            facts=boot.to_json(),
        )
    if as_json:
        print_envelope("simulate", result=boot.to_json())


def _simulation(arguments: SimulateArguments, script: str | None) -> str:
    """Return the running command with one tree of files: a context found here, else the script found here.

    :param script: the value of AZUREML_ENTRY_SCRIPT.
    """
    typed = typed_words(click.get_current_context())
    if arguments.context is not None:
        pairs = zip(["", *typed], typed, strict=False)
        kept = [
            word for before, word in pairs if not (before == "--app-root" or word.startswith("--app-root"))
        ]
        return redact(shlex.join(["bundler", *kept]))
    is_context = (Path() / APP_FOLDER).is_dir() and Path("Dockerfile").is_file()
    context = Path() if is_context else next(iter(contexts_in(Path())), None)
    if context is not None:
        return redact(shlex.join(["bundler", *typed, str(context)]))
    found = find_script(name=script)
    if found is None:
        return package_command() or "bundler package --help"
    folder, name = found
    if script is not None and (folder / script).is_file():
        return redact(shlex.join(with_value(["bundler", *typed], "--app-root", str(folder))))
    words = with_value(["bundler", *typed], "--app-root", ".")
    entry = f"AZUREML_ENTRY_SCRIPT={(folder / name).as_posix()}"
    return redact(shlex.join([*words, "-e", entry]))


@click.command("join")
@click.argument("old", type=InputPath(path_type=Path, exists=True))
@click.argument("delta", type=InputPath(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path))
@json_option
def join_command(old: Path, delta: Path, out: Path, as_json: bool) -> None:
    """Join the image OLD and a DELTA of it (`package --delta-from`) into the whole image OUT."""
    joined = join_delta(old, delta, out, reporter=make_reporter())
    if as_json:
        result = {"path": str(out), "size": joined.size, "sha256": joined.sha256, "id": joined.image_id}
        print_envelope("join", result=result)
    else:
        print_line(out, joined.size, joined.image_id)


@click.command("mount-command")
@click.argument("context", type=context_path)
@click.option("--image", metavar="REF", help="Run this image  [default: the base of the context].")
@click.option("--port", default=5001, show_default=True, type=click.IntRange(1, 65535))
def mount_command(context: Path, image: str | None, port: int) -> None:
    """Print the `docker run` that mounts the application of a context into an unchanged image."""
    print_line(docker_run(context, image=image, port=port))
