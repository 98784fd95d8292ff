"""The recipes of examples/pipelines: valid by the schema of their system, and run as they are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML
from support.archives import make_base
from support.paths import ROOT
from support.wheels import make_wheel

if TYPE_CHECKING:
    from support.cli import BundlerCli
    from support.docker_engine import Docker
    from support.localindex import LocalIndex

RECIPES = ROOT / "examples/pipelines"
# Each recipe: its place in a repository, and the schema that `check-jsonschema` has of its system.
PLACES = {
    "github-actions.yml": (".github/workflows/bundles.yml", "github-workflows"),
    "azure-pipelines.yml": ("azure-pipelines.yml", "azure-pipelines"),
    "gitlab-ci.yml": (".gitlab-ci.yml", "gitlab-ci"),
    "Makefile": ("Makefile", ""),
}
TABLE = ["| distribution | before | after |", "|---|---|---|", "| idna | 3.4 | 3.5 |"]


@dataclass(frozen=True)
class Job:
    """The shell steps of a job, as its system runs them."""

    steps: list[str]
    shell: tuple[str, ...]
    env: Mapping[str, str]


def read_jobs(recipe: str) -> dict[str, Job]:
    """Return the jobs of a recipe by their names: lock, build and promote."""
    if recipe == "Makefile":
        made = {"lock": ["make lock"], "build": ["make promote"], "promote": ["make receive", "make load"]}
        return {name: Job(commands, ("bash", "-e"), {}) for name, commands in made.items()}
    document: dict[str, Any] = YAML(typ="safe").load(RECIPES / recipe)
    if recipe == "github-actions.yml":
        return {
            name: Job(
                [step["run"] for step in job["steps"] if "run" in step], ("bash", "-e"), document["env"]
            )
            for name, job in document["jobs"].items()
        }
    if recipe == "azure-pipelines.yml":
        return {
            job["job"]: Job(
                [step["bash"] for step in job["steps"] if "bash" in step], ("bash",), document["variables"]
            )
            for stage in document["stages"]
            for job in stage["jobs"]
        }
    shell = ("bash", "-e", "-o", "pipefail")
    jobs = {}
    for name in document["stages"]:
        lines = document[name]["script"]
        loads = [line for line in lines if "docker load" in line]  # a step of its own, as in the others
        before = [line for line in lines if "docker load" not in line]
        steps = ["\n".join(before), *("cd release\n" + line for line in loads)]
        jobs[name] = Job(steps, shell, document["variables"])
    return jobs


def run(job: Job, cwd: Path, env: Mapping[str, str], *, docker: bool = False) -> Iterator[tuple[int, str]]:
    """Run the steps of a job, each with its exit code and output, until one fails."""
    for step in job.steps:
        if not docker and ("docker load" in step or step == "make load"):
            continue
        ended = subprocess.run(
            [*job.shell, "-c", step],
            cwd=cwd,
            env={**job.env, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        yield ended.returncode, f"$ {step}\n{ended.stdout}"
        if ended.returncode:
            return


def succeed(job: Job, cwd: Path, env: Mapping[str, str], *, docker: bool = False) -> str:
    results = list(run(job, cwd, env, docker=docker))
    assert {code for code, _ in results} == {0}, results[-1][1]
    return "\n".join(output for _, output in results)


def make_repository(folder: Path, recipe: str) -> Path:
    """Make an empty repository with the files of the example, and its recipe in its place."""
    target = folder / PLACES[recipe][0]
    target.parent.mkdir(parents=True)
    shutil.copyfile(RECIPES / recipe, target)
    for name in ("bundles.toml", "requirements.txt"):
        shutil.copyfile(RECIPES / name, folder / name)
    shutil.copytree(RECIPES / "code", folder / "code")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


def environment(cli: BundlerCli) -> dict[str, str]:
    """Return the environment of a runner: the programs, an index and a store."""
    path = f"{Path(sys.executable).parent}:/usr/bin:{os.environ['PATH']}"
    return {**cli.env, "PATH": path, "GITHUB_STEP_SUMMARY": "lock.md"}


@pytest.mark.parametrize("recipe", [name for name, (_, schema) in PLACES.items() if schema])
def test_a_recipe_is_valid_by_the_schema_of_its_system(recipe: str, tmp_path: Path) -> None:
    def check(path: Path) -> int:
        schema = f"vendor.{PLACES[recipe][1]}"
        argv = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
        argv += ["--regex-variant", "nonunicode", str(path)]  # patterns of JavaScript without the flag `u`
        return subprocess.run(argv, check=False, capture_output=True, timeout=60).returncode

    text = (RECIPES / recipe).read_text("utf-8")
    changed = tmp_path / "changed.yml"
    changed.write_text(text.replace("  build:\n", "  build: 3\n", 1).replace("stage: build", "stage: [3]", 1))
    assert (check(RECIPES / recipe), check(changed)) == (0, 1)


@pytest.mark.parametrize("recipe", PLACES)
def test_a_recipe_runs_from_an_empty_repository_to_the_closed_network(
    recipe: str,
    index: LocalIndex,
    pythons: dict[str, Path],
    warm_cli: BundlerCli,
    tmp_path: Path,
) -> None:
    if "3.11" not in pythons:
        pytest.skip("no CPython 3.11, which the recipes are for")
    make_wheel(index.folder, "idna", "3.4", {"idna.py": "def encode(name): return name.encode()\n"})
    make_wheel(index.folder, "idna", "3.5", {"idna.py": "def encode(name): return name.encode()\n"})
    work = make_repository(tmp_path / "work", recipe)
    make_base(work / "base.tar", python="3.11")
    env = environment(warm_cli)
    jobs = read_jobs(recipe)
    locked = warm_cli.run("lock", "-r", "requirements.txt", "--python", "3.11", cwd=work)
    assert locked.returncode == 0, locked.stderr

    succeed(jobs["lock"], work, env)
    assert "1 built, 0 unchanged" in succeed(jobs["build"], work, env)
    (report,) = (work / "report").iterdir()
    assert report.read_text("utf-8").startswith("<!DOCTYPE html>")

    # Only the release is copied to the closed network.
    closed = tmp_path / "closed"
    name = "transfer" if recipe == "Makefile" else "release"
    shutil.copytree(work / name, closed / name)
    if recipe == "Makefile":
        shutil.copyfile(work / "Makefile", closed / "Makefile")
    output = succeed(jobs["promote"], closed, env)
    assert output.count(": OK") == 4
    assert (closed / name / "SHA256SUMS").read_text().count("score-") == 4

    # A changed byte does not arrive.
    (image,) = (closed / name).glob("*.image.tar")
    image.write_bytes(image.read_bytes()[:-1] + b"x")
    assert [code for code, _ in run(jobs["promote"], closed, env)][-1] != 0

    # The requirements changed, but not the lock: the job fails, with the difference in Markdown.
    (work / "requirements.txt").write_text("idna==3.5\n")
    assert [code for code, _ in run(jobs["lock"], work, env)][-1] != 0
    assert (work / "lock.md").read_text("utf-8").splitlines() == TABLE
    (work / "requirements.txt").write_text("idna==3.4\n")
    assert "0 built, 1 unchanged" in succeed(jobs["build"], work, env)


@pytest.mark.slow
@pytest.mark.online
@pytest.mark.xdist_group("docker")
def test_the_image_of_a_recipe_is_loaded_by_each_and_answers(
    docker: Docker,
    base_archive: Path,
    index: LocalIndex,
    python37: Path,
    warm_cli: BundlerCli,
    tmp_path: Path,
) -> None:
    make_wheel(index.folder, "idna", "3.4", {"idna.py": "def encode(name): return name.encode()\n"})
    work = make_repository(tmp_path / "work", "github-actions.yml")
    (work / "base.tar").symlink_to(base_archive)
    engine = {"DOCKER_HOST": f"unix://{docker.socket}", "BUNDLER_PYTHON": "3.7", "DEST": "release"}
    env = environment(warm_cli) | engine
    locked = warm_cli.run("lock", "-r", "requirements.txt", cwd=work)
    assert locked.returncode == 0, locked.stderr
    succeed(read_jobs("github-actions.yml")["build"], work, env)
    shutil.copyfile(RECIPES / "Makefile", work / "Makefile")
    images = set()
    for recipe in PLACES:
        output = succeed(read_jobs(recipe)["promote"], work, env, docker=True)
        images.add(output.rpartition("Loaded image: ")[2].split()[0])
    (image,) = images
    container = docker.start(image)
    try:
        docker.wait_healthy(container)
        assert docker.post(container, "/score", '{"data": ["a.example"]}').json == ["a.example"]
    finally:
        docker.remove(container)
