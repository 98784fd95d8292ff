"""The commands that make a bundle run: ``package``, ``simulate``, ``join``, ``mount-command``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from bundler.base_image.bases import base_of_image, bases_folder
from bundler.base_image.reader import read_base
from bundler.bundle.document import FindingSection
from bundler.bundle.reader import read_manifest
from bundler.checks.user_code import find_user_code
from bundler.cli.arguments import parse_variables
from bundler.cli.common import collected_errors, make_reporter
from bundler.cli.console import finding_line, print_envelope, print_line
from bundler.cli.examples import find_script, free_name, inference_image
from bundler.cli.options import InputPath, file_path, group, json_option, store_option
from bundler.cli.parsing import with_value
from bundler.cli.paths import bundle_path, context_path
from bundler.data.azure_image import EXIT_CODES, IMAGE_ROOT, IMAGE_VARIANTS
from bundler.data.inference_server import parse_release
from bundler.deploy.application import LibVar, Mode, PackageOptions, model_meant, parse_model
from bundler.deploy.context import base_image_of, docker_run, from_image
from bundler.deploy.package import PackageRequest, make_package
from bundler.deploy.startup.files import FolderFiles, open_context
from bundler.deploy.startup.simulate import render_start, simulate_start
from bundler.deploy.startup.variables import profile_of
from bundler.errors import BundlerError, ClosureError, UsageError
from bundler.jsonio import convert
from bundler.oci.append import join_delta
from bundler.problems import display_path
from bundler.redaction import redact
from bundler.store.store import open_store
from bundler.system.environ import HostEnvironment, read_host_environment
from bundler.text import quoted_names

__all__ = ["join_command", "mount_command", "package_command", "simulate_command"]


@dataclass(frozen=True, kw_only=True)
class PackageArguments:
    """Options of ``package``."""

    source_dir: Path | None
    entry_script: str | None
    models: tuple[str, ...]
    base_image: str | None
    output: Path | None
    image_out: Path | None
    base: Path | None
    tag: str | None
    delta_from: Path | None
    mode: Mode
    lib_var: LibVar
    user: str
    user_managed: bool
    openshift: bool
    azureml_v2: bool


package_options = group(
    "arguments",
    PackageArguments,
    click.option(
        "--source-dir",
        type=InputPath(path_type=Path, file_okay=False, exists=True),
        help="Copy the code in this directory  [required].",
    ),
    click.option(
        "--entry-script",
        metavar="FILE",
        help="The script with init() and run(), relative to --source-dir  [required].",
    ),
    click.option(
        "--model", "models", multiple=True, metavar="NAME:VERSION=PATH", help="Copy a registered model."
    ),
    click.option("--base-image", metavar="REF", help="Start the Dockerfile from this image."),
    click.option(
        "-o", "--output", type=click.Path(path_type=Path), help="Write a build context to this new directory."
    ),
    click.option(
        "--image",
        "image_out",
        type=file_path,
        help="Write an image to this file, without a daemon and without a build.",
    ),
    click.option(
        "--base",
        type=InputPath(path_type=Path, exists=True),
        help="The base image, a tar of docker save or an OCI layout: for --image, and to check the fit"
        "  [default for --image: the one of BUNDLER_BASES named --base-image].",
    ),
    click.option("--tag", help="Tag the image  [default: the name and version of the bundle]."),
    click.option("--delta-from", type=file_path, help="Omit the layers of this earlier image from --image."),
    click.option(
        "--mode",
        type=click.Choice(["mount", "dynamic"]),
        default="mount",
        show_default=True,
        help="Ship installed packages, or wheels that the image installs when it starts.",
    ),
    click.option(
        "--lib-var",
        type=click.Choice(["auto", "extra", "pythonpath", "both", "sagemaker"]),
        default="auto",
        show_default=True,
        help="Set AZUREML_EXTRA_PYTHON_LIB_PATH (extra), PYTHONPATH for images that ignore it, or both,"
        " or use SageMaker's code/lib; auto sets what the base image reads, and both if it is unknown.",
    ),
    click.option(
        "--user", default="dockeruser", show_default=True, help="Run as this user; '' keeps that of the base."
    ),
    click.option(
        "--user-managed-dependencies/--no-user-managed-dependencies",
        "user_managed",
        default=True,
        help="Ship packages with the bundle; installing them in the image would make it run as root.",
    ),
    click.option(
        "--azureml-v2",
        is_flag=True,
        help="Add environment.yml and deployment.yml for a managed online endpoint to the build context.",
    ),
    click.option("--openshift", is_flag=True, help="Give group 0 the owner's rights, for arbitrary users."),
)


@click.command("package")
@click.argument("bundle", type=bundle_path)
@package_options
@store_option
@json_option
def package_command(bundle: Path, arguments: PackageArguments, store: Path | None, as_json: bool) -> None:
    """Package a bundle, models and code as a build context, or as an image written without a daemon."""
    host = read_host_environment()
    options, head = _check_arguments(bundle, arguments, host)
    reporter = make_reporter()
    base = arguments.base
    if base is None and arguments.image_out is not None:
        base = base_of_image(bases_folder(host), arguments.base_image)
    request = PackageRequest(
        options=options,
        base=base,
        head=head,
        context=host.cwd / arguments.output if arguments.output else None,
        image=host.cwd / arguments.image_out if arguments.image_out else None,
        tag=arguments.tag,
        delta_from=arguments.delta_from,
        online_endpoint=arguments.azureml_v2,
    )
    packaged = make_package(request, store=open_store(store, host, reporter), reporter=reporter)
    if as_json:
        print_envelope("package", result=packaged.to_json())
        return
    if packaged.context is not None:
        print_line(display_path(packaged.context, host.cwd))
    if packaged.image is not None:
        print_line(display_path(packaged.image.path, host.cwd), packaged.image.size, packaged.image.image_id)


def _check_arguments(
    bundle: Path, arguments: PackageArguments, host: HostEnvironment
) -> tuple[PackageOptions, str | None]:
    """Return the inputs of a package, and the first lines of its Dockerfile; None without a Dockerfile.

    :raises BundlerError: for all wrong and missing options together.
    """
    if not arguments.user_managed:
        raise UsageError(
            "dependencies are not installed into the image",
            evidence=(
                "Azure ML would build an intermediate image, which runs as root and needs a network;",
                "a bundle contains them already, in a directory that is mounted",
            ),
            hint="to install them when the container starts, without an index: `--mode dynamic`",
        )
    head, code, models = None, None, []
    with collected_errors() as collect:
        with collect():
            _check_complete(bundle, arguments)
        if arguments.source_dir is not None and arguments.entry_script is not None:
            with collect():
                code = find_user_code(arguments.source_dir, arguments.entry_script)
        for text in arguments.models:
            with collect():
                models.append(parse_model(text, host.cwd))
        if arguments.base_image is not None:
            with collect():
                head = from_image(arguments.base_image, example=inference_image(bundle))
        with collect():
            options = PackageOptions(
                bundle=bundle,
                code=code,
                models=tuple(models),
                mode=arguments.mode,
                lib_var=arguments.lib_var,
                image=arguments.base_image,
                user=arguments.user,
                group_writable=arguments.openshift,
            )
    return options, head


def _check_complete(bundle: Path, arguments: PackageArguments) -> None:
    """Check that no option is missing.

    :raises UsageError: if one is, with the whole command.
    """
    given = {"--source-dir": arguments.source_dir, "--entry-script": arguments.entry_script}
    missing = [name for name, value in given.items() if value is None]
    image = inference_image(bundle)
    added: dict[str, str] = {}
    if arguments.output is None and (arguments.image_out is None or arguments.azureml_v2):
        missing.append("--output")
        added["-o"] = free_name("context")
    if arguments.output is not None or added:
        if not arguments.base_image:
            missing.append("--base-image")
        added["--base-image"] = _valid_image(arguments.base_image, image)
    evidence: tuple[str, ...] = ()
    if arguments.azureml_v2 and arguments.output is None:
        evidence = ("`--azureml-v2` adds files to a build context",)
    if arguments.image_out is not None and arguments.base is None and arguments.base_image is None:
        missing.append("--base")
        added["--base"] = "base.tar"
        save = f"docker save -o base.tar {shlex.quote(image)}"
        evidence = (*evidence, f"`--image` needs the base image as a file: `{save}`")
    if not missing:
        return
    read_manifest(bundle)  # another file is the first thing to know
    found = find_script(arguments.source_dir, arguments.entry_script)
    hint = "bundler package --help"
    if found is not None:
        hint = _completed(arguments, {"--source-dir": str(found[0]), "--entry-script": found[1], **added})
    raise UsageError(f"missing {quoted_names('option', missing)}", evidence=evidence, hint=hint)


def _valid_image(typed: str | None, example: str) -> str:
    """Return the typed base image if it is one, else an example."""
    try:
        from_image(typed or "", example=example)
    except BundlerError:
        return example
    return typed or example


def _completed(arguments: PackageArguments, options: Mapping[str, str]) -> str:
    """Return the running command with other values of some options, and with right models."""
    models = {text: model_meant(text, Path()) for text in arguments.models if not _is_model(text)}
    models |= {f"--model={text}": f"--model={meant}" for text, meant in models.items()}
    words = [
        "bundler",
        *(models.get(word, word) for word in click.get_current_context().find_root().obj or ()),
    ]
    for name, value in options.items():
        words = with_value(words, name, value)
    return redact(shlex.join(words))


def _is_model(text: str) -> bool:
    try:
        return bool(parse_model(text, Path()))
    except BundlerError:
        return False


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
    if (arguments.context is None) == (arguments.app_root is None):
        raise UsageError(
            "pass either a build CONTEXT or `--app-root`",
            hint="bundler simulate --app-root . -e AZUREML_ENTRY_SCRIPT=score.py",
        )
    variables = parse_variables(arguments.variables)
    env: Mapping[str, str] = variables
    image = None
    if arguments.context is not None:
        env, files = open_context(arguments.context, variables)
        image = base_image_of(arguments.context)
    else:
        files = FolderFiles(arguments.app_root or Path(), at=variables.get("AML_APP_ROOT") or IMAGE_ROOT)
    boot = simulate_start(
        env,
        files,
        profile=arguments.profile or profile_of(image, env),
        base=read_base(arguments.base, reporter=make_reporter()) if arguments.base else None,
        release=parse_release(arguments.server) if arguments.server else None,
        offline=not arguments.network,
        server=not arguments.no_server,
    )
    if not as_json:
        for line in render_start(boot):
            print_line(line)
        for finding in boot.findings:
            section = {**finding.to_json(), "allowed": False}
            print_line(finding_line(convert(section, FindingSection, finding.code)))
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
