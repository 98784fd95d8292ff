"""Pure: the right command for a file of an MLflow model that is not a conda environment file."""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath

from bundler.problems import ProblemError
from bundler.requirements.conda.yaml import load_yaml

__all__ = ["mlflow_problem"]


def mlflow_problem(text: str, name: str) -> ProblemError | None:
    """Return the problem of a ``python_env.yaml`` or ``MLmodel``, or None for another file.

    :param name: the path of the file, as the user would write it.
    """
    path = PurePosixPath(name)
    if path.name == "MLmodel":
        return ProblemError(
            "the description of an MLflow model, not a list of requirements",
            hint=f"pass `-r {path.with_name('requirements.txt')}`, which MLflow writes beside it",
        )
    try:
        tree = load_yaml(text)
    except ProblemError:
        return None
    if not isinstance(tree, dict) or "channels" in tree or not ({"python", "build_dependencies"} & set(tree)):
        return None
    words: list[str] = []
    listed = tree.get("dependencies")
    for item in listed if isinstance(listed, list) else []:
        option, _, value = str(item).partition(" ")
        words += [option, str(path.with_name(value.strip()))] if option in ("-r", "-c") else [str(item)]
    version = str(tree.get("python") or "")
    if version:
        words += ["--python", ".".join(version.split(".")[:2])]
    return ProblemError(
        "the `python_env.yaml` of an MLflow model, not a conda environment file",
        hint=f"pass its entries: `{shlex.join(words)}`",
    )
