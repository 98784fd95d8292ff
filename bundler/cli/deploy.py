"""The commands that make a bundle run: ``package``, ``simulate``, ``join``, ``mount-command``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bundler.bundle.document import FindingSection
from bundler.checks.user_code import find_user_code
from bundler.cli.arguments import variables_of
from bundler.cli.console import ConsoleReporter, finding_line, print_envelope, print_line
from bundler.cli.options import file_path, json_option, quiet_option, store_option
from bundler.data.azure_image import EXIT_CODES, IMAGE_ROOT
from bundler.deploy.application import PackageOptions, parse_model
from bundler.deploy.context import docker_run, from_image
from bundler.deploy.package import PackageRequest, make_package
from bundler.deploy.startup.files import FolderFiles, open_context
from bundler.deploy.startup.simulate import render_start
from bundler.deploy.startup.simulate import simulate_start as start
from bundler.errors import ClosureError, UsageError
from bundler.jsonio import convert
from bundler.oci.append import join_delta
from bundler.problems import display_path
from bundler.store.store import open_store
from bundler.system.environ import read_host_environment

__all__ = ["join_command", "mount_command", "package_command", "simulate_command"]


@click.command("package")
@click.argument("bundle", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--source-dir",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    required=True,
    help="The code that it serves.",
)
@click.option("--entry-script", metavar="FILE", required=True, help="Its script with init() and run().")
@click.option("--model", "models", multiple=True, metavar="NAME:VERSION=PATH", help="A registered model.")
@click.option("--base-image", metavar="REF", help="The image that the Dockerfile begins with.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="The build context, a folder that does not exist."
)
@click.option(
    "--image",
    "image_out",
    type=file_path,
    help="Write an image, which needs no daemon and no build, to this file.",
)
@click.option(
    "--base",
    type=click.Path(path_type=Path, exists=True),
    help="The base itself, a tar of docker save or an OCI layout: for --image, and to check the fit.",
)
@click.option("--tag", help="The image's name  [default: the bundle's name and version].")
@click.option("--delta-from", type=file_path, help="Leave out of --image the layers of this earlier image.")
@click.option(
    "--mode",
    type=click.Choice(["mount", "dynamic"]),
    default="mount",
    show_default=True,
    help="Packages in a folder, or wheels that the image installs when it starts.",
)
@click.option(
    "--lib-var",
    type=click.Choice(["extra", "pythonpath", "sagemaker"]),
    default="extra",
    show_default=True,
    help="AZUREML_EXTRA_PYTHON_LIB_PATH, PYTHONPATH for images that ignore it, or SageMaker's code/lib.",
)
@click.option(
    "--user", default="dockeruser", show_default=True, help="Who it is run as; '' keeps the base's."
)
@click.option(
    "--user-managed-dependencies/--no-user-managed-dependencies",
    "user_managed",
    default=True,
    help="Packages come with the bundle; the other way would make the image run as root.",
)
@click.option("--openshift", is_flag=True, help="Group 0 has the owner's rights, for arbitrary users.")
@store_option
@quiet_option
@json_option
def package_command(**given: Any) -> None:
    """Put a bundle, models and code together: a build context, or an image written without a daemon."""
    host = read_host_environment()
    if not given["user_managed"]:
        raise UsageError(
            "dependencies are not installed into the image",
            evidence=(
                "Azure ML would build an intermediate image for that, which turns the image's user to root",
                "and needs a network; here they come with the bundle, in a folder that is mounted",
            ),
            hint="to install them when the container starts, without an index: `--mode dynamic`",
        )
    if given["output"] is None and given["image_out"] is None:
        raise UsageError("there is nothing to write", hint="-o context/, or --image out.tar --base base.tar")
    if given["image_out"] is not None and given["base"] is None:
        raise UsageError("`--image` needs the base itself", hint="--image out.tar --base base.tar")
    if given["output"] is not None and given["base_image"] is None:
        raise UsageError("a context needs the name of its base", hint="--base-image REF")
    reporter = ConsoleReporter(quiet=given["quiet"])
    options = PackageOptions(
        bundle=given["bundle"],
        code=find_user_code(given["source_dir"], given["entry_script"]),
        models=tuple(parse_model(text, host.cwd) for text in given["models"]),
        mode=given["mode"],
        lib_var=given["lib_var"],
        user=given["user"],
        group_writable=given["openshift"],
    )
    request = PackageRequest(
        options=options,
        base=given["base"],
        head=given["base_image"] and from_image(given["base_image"]),
        context=given["output"] and host.cwd / given["output"],
        image=given["image_out"] and host.cwd / given["image_out"],
        tag=given["tag"],
        delta_from=given["delta_from"],
    )
    store = open_store(given["store"], host, reporter)
    packaged = make_package(request, store=store, reporter=reporter)
    if given["as_json"]:
        print_envelope("package", result=packaged.to_json())
        return
    if packaged.context is not None:
        print_line(display_path(packaged.context, host.cwd))
    if packaged.image is not None:
        print_line(display_path(packaged.image.path, host.cwd), packaged.image.size, packaged.image.image_id)


@click.command("simulate")
@click.argument("context", required=False, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--app-root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The folder that is mounted as the application root, where there is no CONTEXT.",
)
@click.option(
    "-e", "--env", "variables", multiple=True, metavar="NAME=VALUE", help="A variable, as for docker."
)
@click.option(
    "--profile",
    type=click.Choice(["classic", "stripped", "mlflow"]),
    default="classic",
    show_default=True,
    help="Which of Azure ML's inference images.",
)
@click.option("--network", is_flag=True, help="The container reaches a package index when it starts.")
@click.option("--no-server", is_flag=True, help="The image has no azureml-inference-server-http.")
@json_option
def simulate_command(**given: Any) -> None:
    """Say what the start of Azure ML's image would do with a build CONTEXT, and its exit code.

    Nothing is run. What the image itself brings is not known: only what is below
    the application root is looked at.
    """
    if (given["context"] is None) == (given["app_root"] is None):
        raise UsageError(
            "either a build CONTEXT or `--app-root` is wanted",
            hint="bundler simulate --app-root . -e AZUREML_ENTRY_SCRIPT=score.py",
        )
    typed = variables_of(given["variables"])
    if given["context"] is not None:
        env, files = open_context(given["context"], typed)
    else:
        env, files = typed, FolderFiles(given["app_root"], at=typed.get("AML_APP_ROOT") or IMAGE_ROOT)
    boot = start(
        env, files, profile=given["profile"], offline=not given["network"], server=not given["no_server"]
    )
    if not given["as_json"]:
        for line in render_start(boot):
            print_line(line)
        for one in boot.findings:
            print_line(finding_line(convert({**one.to_json(), "allowed": False}, FindingSection, one.code)))
    if not boot.ok:
        said = EXIT_CODES[boot.exit_code]
        raise ClosureError(
            f"the image would end with exit code {boot.exit_code}: {said}"
            if boot.exit_code
            else "the server would start, and not do what was meant",
            evidence=tuple(line for one in boot.findings for line in one.details),
            hint=next((f"bundler explain {one.code}" for one in boot.findings), None),
            facts=boot.to_json(),
        )
    if given["as_json"]:
        print_envelope("simulate", result=boot.to_json())


@click.command("join")
@click.argument("old", type=click.Path(path_type=Path, exists=True))
@click.argument("delta", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path))
@quiet_option
@json_option
def join_command(old: Path, delta: Path, out: Path, quiet: bool, as_json: bool) -> None:
    """Make the whole image OUT of an archive of the OLD one and a DELTA (`package --delta-from`)."""
    joined = join_delta(old, delta, out, reporter=ConsoleReporter(quiet=quiet))
    if as_json:
        result = {"path": str(out), "size": joined.size, "sha256": joined.sha256, "id": joined.image_id}
        print_envelope("join", result=result)
    else:
        print_line(out, joined.size, joined.image_id)


@click.command("mount-command")
@click.argument("context", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--image", metavar="REF", help="The image to run  [default: the context's base].")
@click.option("--port", default=5001, show_default=True, type=click.IntRange(1, 65535))
def mount_command(context: Path, image: str | None, port: int) -> None:
    """Print the `docker run` that mounts a context's application into an image as it is."""
    print_line(docker_run(context, image=image, port=port))
