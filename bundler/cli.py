"""The command line: what the user typed becomes options, what went wrong becomes an exit code.

Flags mean what they mean in pip and uv. Imports that a command does not need
are left to the command, so that ``--help`` is quick.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bundler import __version__
from bundler.console import ConsoleReporter, print_envelope, print_error, print_line, print_talk, print_text
from bundler.errors import BundlerError, UsageError
from bundler.process import end_all
from bundler.surroundings import Surroundings, read_surroundings

if TYPE_CHECKING:
    from types import FrameType

    from bundler.report import Way
    from bundler.requirements import IndexOptions, RequirementSet
    from bundler.store import Store
    from bundler.usercode import UserCode

__all__ = ["cli", "run"]

_INTERRUPTED = 128 + signal.SIGINT
_TERMINATED = 128 + signal.SIGTERM


class Terminated(BaseException):
    """SIGTERM came; everything is cleaned up on the way out, as for Ctrl-C."""


def run(arguments: Sequence[str]) -> int:  # noqa: PLR0911 - one for each way a command ends
    """Run a command and return its exit code; nothing of it ends the process."""
    previous = [signal.signal(number, _end) for number in (signal.SIGINT, signal.SIGTERM)]
    command = next((word for word in arguments if not word.startswith("-")), "")
    as_json = "--json" in arguments
    try:
        cli.main(args=list(arguments), prog_name="bundler", standalone_mode=False)
    except BundlerError as error:
        return _fail(error, command, as_json=as_json)
    except click.UsageError as error:
        usage = UsageError(error.format_message(), hint=f"bundler {command} --help".replace("  ", " "))
        return _fail(usage, command, as_json=as_json)
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    except Terminated:
        return _TERMINATED
    except BrokenPipeError:
        # The reader of stdout has gone, as `| head` does; nothing can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        failure = BundlerError(error.strerror or str(error), evidence=(str(error.filename or ""),))
        return _fail(failure, command, as_json=as_json)
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), previous, strict=True):
            signal.signal(number, handler)
    return 0


def _fail(error: BundlerError, command: str, *, as_json: bool) -> int:
    if as_json:
        print_envelope(command, error=error)
    print_error(error)
    return error.exit_code


def _end(number: int, _frame: FrameType | None) -> None:
    """Unwind, after killing the children, so that no thread goes on waiting for one."""
    end_all()
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def _options(*options: Callable[..., Any]) -> Callable[..., Any]:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


_file = click.Path(path_type=Path, dir_okay=False)
_quiet = click.option("-q", "--quiet", is_flag=True, help="Warnings and errors only.")
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
_store = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    help="The store  [default: BUNDLER_STORE, or the user's cache].",
)
_requirements = _options(
    click.argument("requirement", nargs=-1, metavar="[REQ]..."),
    click.option(
        "-r",
        "--requirement",
        "files",
        type=_file,
        multiple=True,
        help="A requirements file or pyproject.toml.",
    ),
    click.option("-c", "--constraint", "constraints", type=_file, multiple=True, help="A constraints file."),
    click.option("--extra", "extras", multiple=True, help="An extra of the pyproject.toml."),
    click.option("--group", "groups", multiple=True, help="A dependency group of the pyproject.toml."),
    click.option(
        "--python", default="3.7", show_default=True, help="The target Python: a version or a path."
    ),
    click.option("--only-binary", is_flag=True, help="Refuse source distributions."),
    click.option("-i", "--index-url", help="The package index."),
    click.option("--extra-index-url", "extra_index_urls", multiple=True, help="A further index."),
    click.option("-f", "--find-links", multiple=True, help="A folder or page with files."),
    click.option("--no-index", is_flag=True, help="Only --find-links."),
    click.option(
        "--trusted-host", "trusted_hosts", multiple=True, help="A host whose certificate is not checked."
    ),
    _store,
    _quiet,
    _json,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="bundler")
def cli() -> None:
    """Turn Python requirements into an offline dependency bundle you can prove."""


@cli.command()
@_requirements
@click.option("--lock", type=_file, help="Build from this pylock.toml; nothing is resolved.")
@click.option("--name", help="The bundle's name  [default: the project's, or the requirements' folder].")
@click.option("--bundle-version", "version", help="Its version  [default: from the lock's digest].")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default="dist",
    show_default=True,
)
@click.option(
    "--format", "fmt", type=click.Choice(["tar.gz", "tar.zst", "dir"]), default="tar.gz", show_default=True
)
@click.option(
    "--for",
    "use",
    type=click.Choice(["mount", "venv", "both"]),
    help="On PYTHONPATH, in a virtual environment  [default: both; mount with --base].",
)
@click.option(
    "--source-dir",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The code it serves.",
)
@click.option("--entry-script", metavar="FILE", help="Its script with init() and run(), in --source-dir.")
@click.option("--run-init", is_flag=True, help="Run the entry script and its init(), without a network.")
@click.option(
    "--model-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="What AZUREML_MODEL_DIR names for --run-init.",
)
@click.option("--target-glibc", metavar="VERSION", help="Refuse what needs a newer glibc.")
@click.option(
    "--base",
    type=click.Path(path_type=Path, exists=True),
    help="What it is mounted into: a profile, a pip freeze, a root filesystem, an image archive.",
)
@click.option("--omit-provided", is_flag=True, help="Leave out what --base has in a version that will do.")
@click.option("--server", metavar="VERSION", help="Try it under this azureml-inference-server-http, too.")
@click.option("--reverify", is_flag=True, help="Run the checks again that an earlier build has passed.")
@click.option(
    "--allow", multiple=True, metavar="CODE[:NAME]", help="An error to accept, and to record in the manifest."
)
@click.option(
    "--allow-import-failure",
    multiple=True,
    metavar="NAME",
    help="A distribution or module that need not import.",
)
@click.option(
    "--allow-pth", multiple=True, metavar="NAME", help="A distribution whose .pth file may run code."
)
def build(**given: Any) -> None:
    """Build a verified, relocatable bundle from requirements."""
    from bundler.bundle import check_name  # noqa: PLC0415
    from bundler.pipeline import BuildOptions, build_bundle  # noqa: PLC0415

    surroundings = read_surroundings()
    requirements = _read(surroundings, given)
    if requirements is None and given["lock"] is None:
        raise UsageError("there is nothing to build", hint="bundler build -r requirements.txt")
    options = BuildOptions(
        python=given["python"],
        requirements=requirements,
        index=_index(given),
        only_binary=given["only_binary"],
        lock=given["lock"],
        name=check_name(given["name"] or _default_name(given, surroundings), "name"),
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
    reporter = ConsoleReporter(quiet=given["quiet"])
    built = build_bundle(
        options,
        surroundings=surroundings,
        store=_open_store(given["store"], surroundings, reporter),
        reporter=reporter,
    )
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
        print_envelope("build", result=result)
    else:
        print_line(_near(output.path, surroundings), output.size, output.sha256)


@cli.command()
@_requirements
@click.option(
    "-o", "--output", type=_file, default="pylock.toml", show_default=True, help="The lockfile to write."
)
def lock(**given: Any) -> None:
    """Choose versions and write them, by digest, to a pylock.toml (PEP 751)."""
    from bundler.lock import render_lock  # noqa: PLC0415
    from bundler.pipeline import LockOptions, lock_requirements  # noqa: PLC0415
    from bundler.publish import replace_file  # noqa: PLC0415

    surroundings = read_surroundings()
    requirements = _read(surroundings, given)
    if requirements is None:
        raise UsageError("there is nothing to lock", hint="bundler lock -r requirements.txt")
    reporter = ConsoleReporter(quiet=given["quiet"])
    options = LockOptions(
        python=given["python"],
        requirements=requirements,
        index=_index(given),
        only_binary=given["only_binary"],
    )
    locking = lock_requirements(
        options,
        surroundings=surroundings,
        store=_open_store(given["store"], surroundings, reporter),
        reporter=reporter,
    )
    output = surroundings.cwd / given["output"]
    text = render_lock(
        locking.lock,
        locking.interpreter.target,
        lambda path: Path(os.path.relpath(path, output.parent)).as_posix(),
    )
    replace_file(output, text.encode())
    packages = {str(item.name): str(item.version) for item in locking.lock.packages}
    if given["as_json"]:
        print_envelope("lock", result={"path": str(output), "packages": packages})
    else:
        print_line(_near(output, surroundings), len(packages))


@cli.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@_json
def inspect(bundle: Path, as_json: bool) -> None:
    """Show what a bundle holds and what was found out about it, from its manifest; nothing is verified."""
    from bundler.explain import findings_of  # noqa: PLC0415
    from bundler.report import WAYS  # noqa: PLC0415
    from bundler.unpack import read_manifest  # noqa: PLC0415

    manifest = read_manifest(bundle)
    if as_json:
        print_envelope("inspect", result={"identity": manifest.identity, "manifest": dict(manifest.values)})
        return
    target = manifest.values["target"]
    print_line(f"{manifest.name} {manifest.version}")
    print_line(f"for       CPython {target['python']} ({target['abi']}) on {target['platform']}")
    print_line(f"identity  sha256:{manifest.identity}")
    print_line(f"holds     {len(manifest.files)} files, {sum(file.size for file in manifest.files)} bytes")
    verification = manifest.values["verification"]
    for way, outcomes in verification["ways"].items():
        imported = sum(one["status"] == "ok" for one in outcomes)
        print_line(f"imports   {imported} of {len(outcomes)} modules {WAYS[way]}")
    if verification["glibc"]:
        print_line(f"needs     glibc {verification['glibc']}")
    for name, version in manifest.values["base"]["provided"].items():
        print_line(f"base      must have {name} {version}")
    for item in manifest.values["distributions"]:
        origin = f"built here from {item['built_here']['from']}" if item["built_here"] else item["wheel"]
        print_line(
            f"  {item['name']:<28} {item['version']:<14} {item['size']:>11}"
            f"  {item['licence']:<20.20}  {origin}"
        )
    for one in findings_of(manifest):
        print_line(_finding_line(one))


@cli.command()
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
    type=_file,
    help="Write an image, which needs no daemon and no build, to this file.",
)
@click.option(
    "--base",
    type=click.Path(path_type=Path, exists=True),
    help="The base itself, a tar of docker save or an OCI layout: for --image, and to check the fit.",
)
@click.option("--tag", help="The image's name  [default: the bundle's name and version].")
@click.option("--delta-from", type=_file, help="Leave out of --image the layers of this earlier image.")
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
@_store
@_quiet
@_json
def package(**given: Any) -> None:
    """Put a bundle, models and code together: a build context, or an image written without a daemon."""
    from bundler.package import PackageRequest, make_package  # noqa: PLC0415
    from bundler.usercode import user_code  # noqa: PLC0415

    surroundings = read_surroundings()
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
    request = PackageRequest(
        bundle=given["bundle"],
        code=user_code(given["source_dir"], given["entry_script"]),
        models=given["models"],
        mode=given["mode"],
        lib_var=given["lib_var"],
        user=given["user"],
        group_writable=given["openshift"],
        base=given["base"],
        base_image=given["base_image"],
        context=given["output"] and surroundings.cwd / given["output"],
        image=given["image_out"] and surroundings.cwd / given["image_out"],
        tag=given["tag"],
        delta_from=given["delta_from"],
    )
    store = _open_store(given["store"], surroundings, reporter)
    packaged = make_package(request, cwd=surroundings.cwd, store=store, reporter=reporter)
    if given["as_json"]:
        print_envelope("package", result=packaged.to_json())
        return
    if packaged.context is not None:
        print_line(_near(packaged.context, surroundings))
    if packaged.image is not None:
        print_line(_near(packaged.image.path, surroundings), packaged.image.size, packaged.image.image_id)


@cli.command()
@click.argument("context", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--server", default=None, help="Its azureml-inference-server-http  [default: the target's newest]."
)
@click.option("--port", default=5001, show_default=True, type=click.IntRange(1, 65535))
@click.option("--python", default="3.7", show_default=True, help="The target Python: a version or a path.")
@_store
@_quiet
def serve(context: Path, server: str | None, port: int, python: str, store: Path | None, quiet: bool) -> None:
    """Run what a build context holds, here, under the real inference server; no container."""
    from bundler.images import default_server  # noqa: PLC0415
    from bundler.serve import serve as run_server  # noqa: PLC0415
    from bundler.session import LockOptions  # noqa: PLC0415

    surroundings = read_surroundings()
    reporter = ConsoleReporter(quiet=quiet)
    version = server or default_server(python if python[:1].isdigit() else "3.7")
    if version is None:
        raise UsageError(f"no inference server for Python {python} is known", hint="--server VERSION")
    options = LockOptions(python=python, requirements=None, index=_no_index_options())
    code = run_server(
        context,
        options,
        version=version,
        port=port,
        surroundings=surroundings,
        store=_open_store(store, surroundings, reporter),
        reporter=reporter,
        said=print_talk,
    )
    if code:
        raise click.exceptions.Exit(code)


@cli.command()
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
@_json
def simulate(**given: Any) -> None:
    """Say what the start of Azure ML's image would do with a build CONTEXT, and its exit code.

    Nothing is run. What the image itself brings is not known: only what is below
    the application root is looked at.
    """
    from bundler.contract import EXIT_CODES, IMAGE_ROOT  # noqa: PLC0415
    from bundler.errors import ClosureError  # noqa: PLC0415
    from bundler.imageview import FolderFiles, read_context  # noqa: PLC0415
    from bundler.simulate import describe  # noqa: PLC0415
    from bundler.simulate import simulate as start  # noqa: PLC0415

    if (given["context"] is None) == (given["app_root"] is None):
        raise UsageError(
            "either a build CONTEXT or `--app-root` is wanted",
            hint="bundler simulate --app-root . -e AZUREML_ENTRY_SCRIPT=score.py",
        )
    typed = _variables(given["variables"])
    if given["context"] is not None:
        env, files = read_context(given["context"], typed)
    else:
        env, files = typed, FolderFiles(given["app_root"], at=typed.get("AML_APP_ROOT") or IMAGE_ROOT)
    boot = start(
        env, files, profile=given["profile"], offline=not given["network"], server=not given["no_server"]
    )
    if not given["as_json"]:
        for line in describe(boot):
            print_line(line)
        for one in boot.findings:
            print_line(_finding_line({**one.to_json(), "allowed": False}))
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


@cli.command()
@click.argument("old", type=click.Path(path_type=Path, exists=True))
@click.argument("delta", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path))
@_quiet
@_json
def join(old: Path, delta: Path, out: Path, quiet: bool, as_json: bool) -> None:
    """Make the whole image OUT of an archive of the OLD one and a DELTA (`package --delta-from`)."""
    from bundler.image import join_delta  # noqa: PLC0415

    joined = join_delta(old, delta, out, reporter=ConsoleReporter(quiet=quiet))
    if as_json:
        result = {"path": str(out), "size": joined.size, "sha256": joined.sha256, "id": joined.image_id}
        print_envelope("join", result=result)
    else:
        print_line(out, joined.size, joined.image_id)


@cli.command("mount-command")
@click.argument("context", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--image", metavar="REF", help="The image to run  [default: the context's base].")
@click.option("--port", default=5001, show_default=True, type=click.IntRange(1, 65535))
def mount_command(context: Path, image: str | None, port: int) -> None:
    """Print the `docker run` that mounts a context's application into an image as it is."""
    from bundler.context import docker_run  # noqa: PLC0415

    print_line(docker_run(context, image=image, port=port))


@cli.command()
@click.argument("subject", metavar="CODE|DISTRIBUTION")
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@_json
def explain(subject: str, bundle: Path | None, as_json: bool) -> None:
    """Say what a finding's CODE means, or why a DISTRIBUTION is in BUNDLE."""
    from bundler.explain import findings_of, is_code, rule_of, why  # noqa: PLC0415
    from bundler.unpack import read_manifest  # noqa: PLC0415

    manifest = read_manifest(bundle) if bundle is not None else None
    if is_code(subject):
        rule = rule_of(subject)
        found = findings_of(manifest, code=subject) if manifest else ()
        facts: dict[str, Any] = {name: getattr(rule, name) for name in ("code", "severity", "title", "fix")}
        lines = [f"{rule.code}  {rule.title} ({rule.severity})", f"fix   {rule.fix}"]
        lines.append(f"page  docs/findings.md#{rule.code.lower()}")
    elif manifest is None:
        raise UsageError(
            f"`{subject}` is no finding's code; for a distribution, name a bundle too",
            hint=f"bundler explain {subject} BUNDLE",
        )
    else:
        reason = why(manifest, subject)
        found = findings_of(manifest, distribution=subject)
        facts = reason.to_json()
        lines = [f"{reason.name} {reason.version}  {reason.wheel or 'left to the base'}"]
        lines += [f"because      {step}" for step in reason.chain]
        lines += [f"required by  {owner}" for owner in reason.required_by]
    if as_json:
        print_envelope("explain", result={**facts, "findings": [dict(one) for one in found]})
        return
    for line in [*lines, *map(_finding_line, found)]:
        print_line(line)


@cli.command()
@click.argument("source", required=False, type=click.Path(path_type=Path, exists=True))
@click.option("--python", help="The Python to capture: a version or a path  [default: 3.7].")
@click.option("--python-in", metavar="PATH", help="Which Python of an image: its prefix, or a version.")
@click.option(
    "--script", "as_script", is_flag=True, help="Print the script that captures a profile on the target."
)
def profile(source: Path | None, python: str | None, python_in: str | None, as_script: bool) -> None:
    """Print the profile of a base: of a Python here, or of SOURCE.

    SOURCE is a pip freeze, an unpacked root filesystem, or an image: a tar of
    `docker save` or an OCI layout. On the target itself, where bundler is not:
    `bundler profile --script > capture.py`, there `python3.7 capture.py > base.json`.
    """
    import json  # noqa: PLC0415

    from bundler.base import profile_json, read_base  # noqa: PLC0415
    from bundler.interpreter import capture_profile, find_interpreter, script  # noqa: PLC0415

    if (source is not None) + (python is not None) + as_script > 1:
        raise UsageError(
            "SOURCE, `--python` and `--script` exclude each other", hint="bundler profile --help"
        )
    if as_script:
        text = script("capture").read_text("utf-8")
    elif source is not None:
        text = json.dumps(profile_json(read_base(source, prefer=python_in)), indent=1, sort_keys=True)
    else:
        surroundings = read_surroundings()
        with tempfile.TemporaryDirectory(prefix="bundler-") as folder:
            found = find_interpreter(python or "3.7", surroundings, Path(folder))
            text = capture_profile(found, surroundings, Path(folder))
    print_text(text)


@cli.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--base",
    type=click.Path(path_type=Path, exists=True),
    help="Also whether it fits there: a profile, a pip freeze, a root filesystem, an image archive.",
)
@_quiet
@_json
def verify(bundle: Path, base: Path | None, quiet: bool, as_json: bool) -> None:
    """Check every byte of a bundle, an archive or a folder, against its manifest."""
    from bundler.unpack import verify_bundle  # noqa: PLC0415

    reporter = ConsoleReporter(quiet=quiet)
    checked = verify_bundle(bundle, reporter=reporter)
    if base is not None:
        from bundler.base import read_base  # noqa: PLC0415
        from bundler.fit import check_fit  # noqa: PLC0415

        for one in check_fit(checked.manifest, read_base(base)):
            reporter.warn(f"{one.code}  {one.message}")
        reporter.stage("base", "the bundle fits it")
    _report_checked("verify", checked, reporter, as_json=as_json)


@cli.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("dest", type=click.Path(path_type=Path))
@_quiet
@_json
def unpack(bundle: Path, dest: Path, quiet: bool, as_json: bool) -> None:
    """Check a bundle and write it to DEST, which becomes its root and must not exist."""
    from bundler.unpack import unpack_bundle  # noqa: PLC0415

    reporter = ConsoleReporter(quiet=quiet)
    _report_checked("unpack", unpack_bundle(bundle, dest, reporter=reporter), reporter, as_json=as_json)


@cli.group()
def store() -> None:
    """Look after the store of wheels, layers and segments."""


@store.command()
@_store
@_json
def info(store: Path | None, as_json: bool) -> None:
    """Show where the store lies and how large it is."""
    found = _open_store(store, read_surroundings(), ConsoleReporter()).info()
    if as_json:
        print_envelope("store info", result=found.to_json())
        return
    for name, value in found.to_json().items():
        print_line(name, value)


@store.command()
@click.option(
    "--unused-days",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    help="Keep what was used since.",
)
@_store
@_json
def gc(unused_days: int, store: Path | None, as_json: bool) -> None:
    """Remove what was not used for some time."""
    report = _open_store(store, read_surroundings(), ConsoleReporter()).gc(unused_days=unused_days)
    if as_json:
        print_envelope("store gc", result=report.to_json())
        return
    for name, value in report.to_json().items():
        print_line(name, value)


@store.command()
@_store
@_json
def fsck(store: Path | None, as_json: bool) -> None:
    """Hash everything in the store; what is damaged is set aside and made anew when needed."""
    report = _open_store(store, read_surroundings(), ConsoleReporter()).fsck()
    if as_json:
        print_envelope("store fsck", result=report.to_json())
    else:
        for name, value in report.to_json().items():
            print_line(name, value)


def _report_checked(command: str, checked: Any, reporter: ConsoleReporter, *, as_json: bool) -> None:
    manifest = checked.manifest
    for note in checked.notes:
        reporter.note(f"not portable: {note}")
    beside = f", as {' and '.join(checked.companions)} says" if checked.companions else ""
    reporter.stage(command, f"{len(manifest.files) + 1} files, every byte as the manifest says{beside}")
    if as_json:
        result = {
            "path": str(checked.path),
            "sha256": checked.sha256,
            "size": checked.size,
            "identity": manifest.identity,
            "name": manifest.name,
            "version": manifest.version,
            "companions": list(checked.companions),
            "notes": list(checked.notes),
        }
        print_envelope(command, result=result)
    else:
        print_line(checked.path, checked.size, checked.sha256 or manifest.identity)


def _finding_line(one: Mapping[str, Any]) -> str:
    allowed = ", allowed" if one["allowed"] else ""
    where = f"  [{one['where']}]" if one["where"] else ""
    return f"{one['severity'] + allowed:<8}  {one['code']}  {one['message']}{where}"


def _near(path: Path, surroundings: Surroundings) -> Path:
    """Return a path as a person in the working directory would write it."""
    return path.relative_to(surroundings.cwd) if path.is_relative_to(surroundings.cwd) else path


def _read(surroundings: Surroundings, given: dict[str, Any]) -> RequirementSet | None:
    from bundler.requirements import read_requirements  # noqa: PLC0415

    if not (given["files"] or given["requirement"] or given["extras"] or given["groups"]):
        return None
    return read_requirements(
        surroundings,
        files=given["files"],
        constraints=given["constraints"],
        strings=given["requirement"],
        extras=given["extras"],
        groups=given["groups"],
    )


def _index(given: dict[str, Any]) -> IndexOptions:
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


def _no_index_options() -> IndexOptions:
    from bundler.requirements import IndexOptions  # noqa: PLC0415

    return IndexOptions(index_url=None, extra_index_urls=(), find_links=(), no_index=False, trusted_hosts=())


def _variables(texts: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UsageError(f"`-e {text}` sets no variable", hint="-e AZUREML_ENTRY_SCRIPT=code/score.py")
        found[name] = value
    return found


def _default_name(given: dict[str, Any], surroundings: Surroundings) -> str:
    """Return the folder of the first file, as far as it can be a name."""
    first = next(iter((*given["files"], *filter(None, [given["lock"]]))), None)
    folder = (surroundings.cwd / first).resolve().parent.name if first else "bundle"
    name = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "-" for char in folder)
    return name.strip("._-") or "bundle"


def _open_store(path: Path | None, surroundings: Surroundings, reporter: ConsoleReporter) -> Store:
    from bundler.store import Store  # noqa: PLC0415

    if path is None:
        named = surroundings.get("BUNDLER_STORE")
        path = Path(named) if named else _cache_folder()
    return Store(surroundings.cwd / path, reporter=reporter)


def _cache_folder() -> Path:
    from platformdirs import user_cache_path  # noqa: PLC0415

    return user_cache_path("bundler", appauthor=False)
