"""The command line: what the user typed becomes options, what went wrong becomes an exit code.

Flags mean what they mean in pip and uv. Imports that a command does not need
are left to the command, so that ``--help`` is quick.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bundler import __version__
from bundler.cli_env import env
from bundler.console import ConsoleReporter, print_envelope, print_error, print_line, print_talk, print_text
from bundler.errors import BundlerError, UsageError
from bundler.options import (
    build_options,
    building,
    file_path,
    index_options,
    json_option,
    near,
    print_built,
    quiet_option,
    read_given,
    requirement_options,
    store_option,
    variables_of,
)
from bundler.process import end_all
from bundler.store import open_store
from bundler.surroundings import read_surroundings

if TYPE_CHECKING:
    from types import FrameType


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
    # What the SDK warns a program of, the command says as it says all else.
    warnings.showwarning = _say_warning  # type: ignore[assignment]
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


def _say_warning(message: Warning | str, *_: object) -> None:
    print_talk(f"warning   {message}")


def _end(number: int, _frame: FrameType | None) -> None:
    """Unwind, after killing the children, so that no thread goes on waiting for one."""
    end_all()
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="bundler")
def cli() -> None:
    """Turn Python requirements into an offline dependency bundle you can prove."""


@cli.command()
@requirement_options
@click.option("--lock", type=file_path, help="Build from this pylock.toml; nothing is resolved.")
@building
def build(**given: Any) -> None:
    """Build a verified, relocatable bundle from requirements."""
    from bundler.pipeline import build_bundle  # noqa: PLC0415

    surroundings = read_surroundings()
    requirements = read_given(surroundings, given)
    if requirements is None and given["lock"] is None:
        raise UsageError("there is nothing to build", hint="bundler build -r requirements.txt")
    reporter = ConsoleReporter(quiet=given["quiet"])
    built = build_bundle(
        build_options(given, requirements, surroundings),
        surroundings=surroundings,
        store=open_store(given["store"], surroundings, reporter),
        reporter=reporter,
    )
    print_built("build", built, given, surroundings)


@cli.command()
@requirement_options
@click.option(
    "-o", "--output", type=file_path, default="pylock.toml", show_default=True, help="The lockfile to write."
)
def lock(**given: Any) -> None:
    """Choose versions and write them, by digest, to a pylock.toml (PEP 751)."""
    from bundler.lock import render_lock  # noqa: PLC0415
    from bundler.pipeline import LockOptions, lock_requirements  # noqa: PLC0415
    from bundler.publish import replace_file  # noqa: PLC0415

    surroundings = read_surroundings()
    requirements = read_given(surroundings, given)
    if requirements is None:
        raise UsageError("there is nothing to lock", hint="bundler lock -r requirements.txt")
    reporter = ConsoleReporter(quiet=given["quiet"])
    options = LockOptions(
        python=given["python"],
        requirements=requirements,
        index=index_options(given),
        only_binary=given["only_binary"],
    )
    locking = lock_requirements(
        options,
        surroundings=surroundings,
        store=open_store(given["store"], surroundings, reporter),
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
        print_line(near(output, surroundings), len(packages))


@cli.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@json_option
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
    for text in manifest.values["base"].get("conda", []):
        print_line(f"base      must have {text} (conda)")
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
def package(**given: Any) -> None:
    """Put a bundle, models and code together: a build context, or an image written without a daemon."""
    from bundler.context import from_image  # noqa: PLC0415
    from bundler.deploy import PackageOptions, parse_model  # noqa: PLC0415
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
    options = PackageOptions(
        bundle=given["bundle"],
        code=user_code(given["source_dir"], given["entry_script"]),
        models=tuple(parse_model(text, surroundings.cwd) for text in given["models"]),
        mode=given["mode"],
        lib_var=given["lib_var"],
        user=given["user"],
        group_writable=given["openshift"],
    )
    request = PackageRequest(
        options=options,
        base=given["base"],
        head=given["base_image"] and from_image(given["base_image"]),
        context=given["output"] and surroundings.cwd / given["output"],
        image=given["image_out"] and surroundings.cwd / given["image_out"],
        tag=given["tag"],
        delta_from=given["delta_from"],
    )
    store = open_store(given["store"], surroundings, reporter)
    packaged = make_package(request, store=store, reporter=reporter)
    if given["as_json"]:
        print_envelope("package", result=packaged.to_json())
        return
    if packaged.context is not None:
        print_line(near(packaged.context, surroundings))
    if packaged.image is not None:
        print_line(near(packaged.image.path, surroundings), packaged.image.size, packaged.image.image_id)


@cli.command()
@click.argument("context", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--server", default=None, help="Its azureml-inference-server-http  [default: the target's newest]."
)
@click.option("--port", default=5001, show_default=True, type=click.IntRange(1, 65535))
@click.option("--python", default="3.7", show_default=True, help="The target Python: a version or a path.")
@store_option
@quiet_option
def serve(context: Path, server: str | None, port: int, python: str, store: Path | None, quiet: bool) -> None:
    """Run what a build context holds, here, under the real inference server; no container."""
    from bundler.images import default_server  # noqa: PLC0415
    from bundler.requirements import IndexOptions  # noqa: PLC0415
    from bundler.serve import serve as run_server  # noqa: PLC0415
    from bundler.session import LockOptions  # noqa: PLC0415

    surroundings = read_surroundings()
    reporter = ConsoleReporter(quiet=quiet)
    version = server or default_server(python if python[:1].isdigit() else "3.7")
    if version is None:
        raise UsageError(f"no inference server for Python {python} is known", hint="--server VERSION")
    options = LockOptions(python=python, requirements=None, index=IndexOptions())
    code = run_server(
        context,
        options,
        version=version,
        port=port,
        surroundings=surroundings,
        store=open_store(store, surroundings, reporter),
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
@json_option
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
    typed = variables_of(given["variables"])
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
@quiet_option
@json_option
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
@json_option
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
@quiet_option
@json_option
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
@quiet_option
@json_option
def unpack(bundle: Path, dest: Path, quiet: bool, as_json: bool) -> None:
    """Check a bundle and write it to DEST, which becomes its root and must not exist."""
    from bundler.unpack import unpack_bundle  # noqa: PLC0415

    reporter = ConsoleReporter(quiet=quiet)
    _report_checked("unpack", unpack_bundle(bundle, dest, reporter=reporter), reporter, as_json=as_json)


@cli.group()
def store() -> None:
    """Look after the store of wheels, layers and segments."""


@store.command()
@store_option
@json_option
def info(store: Path | None, as_json: bool) -> None:
    """Show where the store lies and how large it is."""
    found = open_store(store, read_surroundings(), ConsoleReporter()).info()
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
@store_option
@json_option
def gc(unused_days: int, store: Path | None, as_json: bool) -> None:
    """Remove what was not used for some time."""
    report = open_store(store, read_surroundings(), ConsoleReporter()).gc(unused_days=unused_days)
    if as_json:
        print_envelope("store gc", result=report.to_json())
        return
    for name, value in report.to_json().items():
        print_line(name, value)


@store.command()
@store_option
@json_option
def fsck(store: Path | None, as_json: bool) -> None:
    """Hash everything in the store; what is damaged is set aside and made anew when needed."""
    report = open_store(store, read_surroundings(), ConsoleReporter()).fsck()
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


cli.add_command(env)
