"""The command ``package``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from bundler.base_image.bases import base_of_image, bases_folder
from bundler.base_image.reader import export_problem
from bundler.bundle.reader import read_manifest
from bundler.checks.user_code import find_user_code
from bundler.cli.common import collected_errors, make_reporter
from bundler.cli.console import print_envelope, print_line
from bundler.cli.examples import existing_bundles, find_script, free_name, inference_image
from bundler.cli.options import InputPath, file_path, group, json_option, store_option
from bundler.cli.parsing import typed_words, with_value
from bundler.cli.paths import bundle_path
from bundler.data.azure_image import USER, image_variant
from bundler.deploy.application import LibVar, Mode, PackageOptions
from bundler.deploy.context import from_image
from bundler.deploy.models import ModelFiles, model_meant, parse_model
from bundler.deploy.online_endpoint import parse_routes
from bundler.deploy.package import PackageRequest, make_package
from bundler.deploy.scoring import ScoringCode, has_own_script, scoring_code
from bundler.errors import BundlerError, InputError, UsageError
from bundler.oci.blobs import is_image
from bundler.oci.reference import corrected_reference, parse_reference
from bundler.problems import display_path
from bundler.redaction import redact
from bundler.requirements.model import is_model_folder
from bundler.store.store import open_store
from bundler.system.environ import HostEnvironment, read_host_environment
from bundler.text import quoted_names

__all__ = ["package_command"]

_TEXT_LIMIT = 1 << 20


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
    user: str | None
    user_managed: bool
    openshift: bool
    azureml_v2: bool
    routes: tuple[str, ...]


package_options = group(
    "arguments",
    PackageArguments,
    click.option(
        "--source-dir",
        type=InputPath(path_type=Path, file_okay=False, exists=True),
        help="Copy the code in this directory  [required, unless --model is an MLflow model, or the image has"
        " a server of its own].",
    ),
    click.option(
        "--entry-script",
        metavar="FILE",
        help="The script with init() and run(), relative to --source-dir  [required with it].",
    ),
    click.option(
        "--model",
        "models",
        multiple=True,
        metavar="NAME:VERSION=PATH",
        help="Copy a registered model; the directory of an MLflow model needs no name.",
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
        "--user",
        help="Run as this user; '' keeps that of the base"
        f"  [default: {USER}; that of the base for an image with its own server].",
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
    click.option(
        "--route",
        "routes",
        multiple=True,
        metavar="NAME=PORT/PATH",
        help="Declare a route of the own server of the image: liveness, scoring, readiness [as liveness].",
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
        routes=parse_routes(arguments.routes) if arguments.routes else None,
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
    head, scoring, models = None, ScoringCode(), list[ModelFiles]()
    is_given = arguments.source_dir is not None and arguments.entry_script is not None
    with collected_errors() as collect:
        with collect():
            _check_complete(bundle, arguments)
        if arguments.source_dir is not None and arguments.entry_script is not None:
            with collect():
                scoring = ScoringCode(code=find_user_code(arguments.source_dir, arguments.entry_script))
        for text in arguments.models:
            with collect():
                models.append(parse_model(text, host.cwd))
        if arguments.base_image is not None:
            with collect():
                head = from_image(arguments.base_image, example=inference_image(bundle))
        if arguments.tag is not None:
            with collect():
                _check_tag(arguments.tag)
        if arguments.image_out is not None and arguments.base is not None:
            with collect():
                _check_base(bundle, arguments.base, arguments.base_image)
        with collect():
            PackageOptions(bundle=bundle, code=None, user=arguments.user)
    if not is_given and not arguments.routes:
        scoring = scoring_code(bundle, models, arguments.base_image)
    if scoring.code is None:
        _check_without_code(arguments)
    for warning in scoring.warnings:
        make_reporter().warn(warning)
    options = PackageOptions(
        bundle=bundle,
        code=scoring.code,
        models=tuple(models),
        mode=arguments.mode,
        lib_var=arguments.lib_var,
        image=arguments.base_image,
        user=arguments.user,
        group_writable=arguments.openshift,
        env=scoring.env,
    )
    return options, head


def _check_base(bundle: Path, base: Path, image: str | None) -> None:
    """Check that the base of ``--image`` is an image: layers are added to it.

    :raises InputError: if it is another file or directory, with the command that saves the image.
    """
    if is_image(base) and not existing_bundles([str(base)]):
        return
    wanted, path = image or inference_image(bundle), "base.tar"
    found = "a bundle" if existing_bundles([str(base)]) else None
    if base.is_file():
        start = base.read_bytes()[: 1 << 16] if base.stat().st_size < _TEXT_LIMIT else b""
        text = start.decode("utf-8", "replace")
        stages = re.findall(r"^FROM[ \t]+(\S+)", text, re.MULTILINE | re.IGNORECASE)
        if stages:
            found = "a Dockerfile"
            wanted = image or (stages[-1] if "$" not in stages[-1] else wanted)
        elif found is None and not start:
            found = "an empty file" if not base.stat().st_size else None
    container, _ = export_problem(base)
    evidence = (
        "wanted  a tar of `docker save`, or an OCI layout",
        f"found   {found}" if found else container,
    )
    words = with_value(["bundler", *typed_words(click.get_current_context())], "--base", path)
    save = shlex.join(["docker", "save", "-o", path, wanted])
    raise InputError(
        f"`{base}` is not an image, which `--image` extends",
        evidence=tuple(filter(None, evidence)),
        hint=redact(f"{save} && {shlex.join(words)}"),
    )


def _check_tag(tag: str) -> None:
    """Check the name of the image, also where only a build context is written.

    :raises InputError: if it is invalid, with the valid one that was meant.
    """
    try:
        parse_reference(tag)
    except InputError as error:
        meant = corrected_reference(tag)
        hint = f"--tag {meant}" if meant else None
        raise InputError(error.message, evidence=error.evidence, hint=hint) from None


def _check_without_code(arguments: PackageArguments) -> None:
    """Check the options of a package whose image has the entry script, or a server of its own.

    :raises UsageError: if one needs an entry script, or the routes of the server are not known.
    """
    if arguments.mode != "mount" or arguments.lib_var != "auto":
        option = "--mode" if arguments.mode != "mount" else "--lib-var"
        raise UsageError(f"`{option}` needs an entry script", hint="pass `--source-dir` and `--entry-script`")
    if arguments.routes:
        parse_routes(arguments.routes)
    elif arguments.azureml_v2 and not has_own_script(arguments.base_image):
        raise UsageError(
            "`--azureml-v2` needs the routes of the image's own server, since no entry script is given",
            hint="--route liveness=8080/ping --route scoring=8080/predict",
        )


def _needs_code(arguments: PackageArguments) -> bool:
    """Return whether an entry script is required.

    It is not if the image has a server of its own, or the server can load an MLflow model.
    """
    if (arguments.source_dir is None) != (arguments.entry_script is None):
        return True
    image = arguments.base_image
    is_azure = image is None or (image_variant(image, None) is not None and not has_own_script(image))
    paths = (Path(text.rpartition("=")[2]) for text in arguments.models)
    return is_azure and not arguments.routes and not any(map(is_model_folder, paths))


def _check_complete(bundle: Path, arguments: PackageArguments) -> None:
    """Check that no option is missing.

    :raises UsageError: if one is, with the whole command.
    """
    code = {"--source-dir": arguments.source_dir, "--entry-script": arguments.entry_script}
    needs_code = _needs_code(arguments)
    missing = [name for name, value in code.items() if value is None and needs_code]
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
    has_code = needs_code or arguments.source_dir is not None
    found = find_script(arguments.source_dir, arguments.entry_script) if has_code else None
    hint = "bundler package --help"
    if found is not None:
        added = {"--source-dir": str(found[0]), "--entry-script": found[1], **added}
    if found is not None or not has_code:
        hint = _completed(arguments, added)
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
    words = ["bundler", *(models.get(word, word) for word in typed_words(click.get_current_context()))]
    for name, value in options.items():
        words = with_value(words, name, value)
    return redact(shlex.join(words))


def _is_model(text: str) -> bool:
    try:
        return bool(parse_model(text, Path()))
    except BundlerError:
        return False
