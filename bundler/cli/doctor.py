"""The command ``doctor``: a machine before a build, or the variables of a container."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from bundler.cli.arguments import parse_variables
from bundler.cli.common import make_reporter
from bundler.cli.console import print_envelope, print_line
from bundler.cli.options import InputPath, json_option, store_option
from bundler.cli.paths import check_app_root
from bundler.data.azure_image import EXIT_CODES, EXTRA_SOURCES, IMAGE_ROOT, IMAGE_VARIANTS
from bundler.deploy.startup.files import FolderFiles
from bundler.deploy.startup.simulate import Boot, simulate_start
from bundler.deploy.startup.variables import profile_of
from bundler.errors import UsageError
from bundler.pipeline.doctor import Check, Verdict, check_machine
from bundler.redaction import redact
from bundler.store.store import open_store
from bundler.system.environ import read_host_environment

__all__ = ["doctor_command"]

_VERDICTS: dict[str, Verdict] = {"error": "fail", "warning": "warn", "note": "pass"}


@click.command("doctor")
@click.option(
    "--container",
    is_flag=True,
    help="Check the variables and mounted files of an Azure ML container instead.",
)
@click.option(
    "-e",
    "--env",
    "variables",
    multiple=True,
    metavar="NAME=VALUE",
    help="With --container: a variable, as `docker run -e` sets it.",
)
@click.option(
    "--app-root",
    type=InputPath(path_type=Path, exists=True, file_okay=False),
    default=".",
    show_default=True,
    help="With --container: the directory that is mounted at /var/azureml-app.",
)
@click.option(
    "--profile", type=click.Choice(list(IMAGE_VARIANTS)), help="With --container: the variant of the image."
)
@store_option
@json_option
def doctor_command(
    *,
    container: bool,
    variables: tuple[str, ...],
    app_root: Path,
    profile: str | None,
    store: Path | None,
    as_json: bool,
) -> None:
    """Check this machine: Pythons, indexes, settings, store, sandbox, container engine, disk.

    Each fact passes, warns or fails, with a fix. The exit code is 1 if one fails. With --container,
    explain why the image does not find a requirements.txt or a directory of dependencies.
    """
    if variables and not container:
        raise UsageError("`-e` needs `--container`", hint=f"bundler doctor --container -e {variables[0]}")
    if container:
        env = parse_variables(variables)
        check_app_root(app_root, env.get("AZUREML_ENTRY_SCRIPT"))
        checks = _check_container(env, app_root, profile)
    else:
        host = read_host_environment()
        checks = check_machine(host, open_store(store, host, make_reporter()), host.cwd / "dist")
    done = _print_checks(checks, as_json=as_json)
    failed = sum(check.verdict == "fail" for check in done)
    warned = sum(check.verdict == "warn" for check in done)
    if as_json:
        listed = [check.to_json() for check in done]
        print_envelope("doctor", result={"checks": listed, "failed": failed, "warned": warned})
    else:
        print_line(f"{len(done) - failed - warned} passed, {warned} warned, {failed} failed")
    if failed:
        raise click.exceptions.Exit(1)


def _print_checks(checks: Iterable[Check], *, as_json: bool) -> list[Check]:
    """Print each check as it is done, and return all."""
    done = []
    for check in checks:
        done.append(check)
        if not as_json:
            print_line(redact(f"{check.verdict}  {check.topic:<9} {check.fact}"))
            if check.fix:
                print_line(redact(f"      fix: {check.fix}"))
    return done


def _check_container(variables: dict[str, str], folder: Path, profile: str | None) -> Iterator[Check]:
    """Yield the checks of a container with these variables, and a directory mounted at its root."""
    root = variables.get("AML_APP_ROOT") or IMAGE_ROOT
    boot = simulate_start(
        variables, FolderFiles(folder, at=root), profile=profile or profile_of(None, variables)
    )
    names = [source.variable for source in EXTRA_SOURCES if variables.get(source.variable)]
    if not names:
        yield Check(
            topic="variables",
            verdict="warn",
            fact="no variable names a requirements.txt or a directory of dependencies, so none is looked for",
            fix=f"-e {EXTRA_SOURCES[0].variable}=DIRECTORY, relative to the directory of the entry script",
        )
    bad = " ".join(finding.message for finding in boot.findings if finding.rule.severity == "error")
    for name in names:
        if name in boot.resolved and f"`{name}`" not in bad:
            yield Check(topic="variables", verdict="pass", fact=f"{name} is {boot.resolved[name]}")
    for name in names:
        if f"`{name}`" in bad and (option := _option_for(name, variables, folder)):
            yield Check(
                topic="variables",
                verdict="fail",
                fact=f"{name} is relative to the directory of the entry script, and the directory that was"
                " registered or mounted is a part of it",
                fix=option,
            )
    for finding in boot.findings:
        fact = f"{finding.code}  {'; '.join((finding.message, *finding.details))}"
        verdict = _VERDICTS[finding.rule.severity]
        yield Check(
            topic="start",
            verdict=verdict,
            fact=fact,
            fix="" if verdict == "pass" else finding.remedy,
        )
    yield _ending(boot)


def _option_for(name: str, variables: dict[str, str], folder: Path) -> str | None:
    """Return the option with the path that was meant: where the last component exists below the root.

    It is None if that is the path that was typed.
    """
    wanted = Path(variables[name]).name
    script = Path(variables.get("AZUREML_ENTRY_SCRIPT", "").lstrip("/"))
    named = next(iter(sorted(folder.rglob(wanted), key=lambda path: (len(path.parts), path))), None)
    if not wanted or named is None:
        return None
    below = Path(os.path.relpath(named, folder / script.parent)).as_posix()
    return f"-e {name}={below}" if below != variables[name] else None


def _ending(boot: Boot) -> Check:
    if boot.ok:
        return Check(topic="start", verdict="pass", fact=boot.ending)
    return Check(
        topic="start",
        verdict="fail",
        fact=f"exit code {boot.exit_code}: {EXIT_CODES[boot.exit_code]}",
        fix="correct the variable or the files named above",
    )
