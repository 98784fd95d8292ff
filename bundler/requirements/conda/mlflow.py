"""Pure: the description of an MLflow model, its file ``MLmodel``.

Source: MLflow's documentation, "MLflow Models", "Storage Format".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from bundler.problems import ProblemError
from bundler.requirements.conda.yaml import load_yaml, shorten

__all__ = ["REQUIREMENTS", "MlflowModel", "parse_model"]

REQUIREMENTS = "requirements.txt"
"""The file with the requirements that MLflow writes beside each environment."""
_FLAVOR = "python_function"
_ENVIRONMENTS = {"conda": "conda.yaml", "virtualenv": "python_env.yaml"}
"""The environments of a model by the key of their name, the one that Azure ML's images use first."""
_NO_PKG_RESOURCES = 2
"""The first release of MLflow that does not import ``pkg_resources``."""
_VERSION = re.compile(r"3(?:\.\d+){1,2}")


@dataclass(frozen=True, kw_only=True, slots=True)
class MlflowModel:
    """The facts of an ``MLmodel`` that this tool reads."""

    environments: tuple[str, ...]
    """The files that describe its environment, relative to the model, the best first; some may be missing."""
    python: str
    """The version of the Python that saved the model; empty if it is not recorded."""
    loader: str
    """The module whose ``_load_pyfunc`` loads the model; empty if Python cannot load it."""
    code: str
    """The directory of its own modules, relative to the model; empty without any."""
    release: int
    """The first number of the version of MLflow that saved the model; 1 if it is not recorded."""

    @property
    def implied(self) -> tuple[str, ...]:
        """The requirements that its environments have by pip, and do not list.

        MLflow 1 imports ``pkg_resources``, which releases of setuptools from 82 do not contain.
        """
        return ("setuptools<82",) if self.release < _NO_PKG_RESOURCES else ()

    def specification(self) -> str:
        """Return a conda environment file for a model that has requirements alone."""
        listed: list[object] = [f"python={self.python}"] if self.python else []
        return json.dumps({"dependencies": [*listed, {"pip": [f"-r {REQUIREMENTS}"]}]})


def parse_model(text: str) -> MlflowModel:
    """Parse an ``MLmodel``.

    :raises ProblemError: if it is not a description of a model, or names a file outside of the model.

    >>> parse_model("flavors: {python_function: {loader_module: mlflow.sklearn, env: c.yaml}}").environments
    ('c.yaml', 'python_env.yaml')
    """
    # The signature of a model with many columns is one long text.
    tree = load_yaml(text, longest=len(text))
    flavors = tree.get("flavors") if isinstance(tree, dict) else None
    if not isinstance(flavors, dict):
        raise ProblemError("not the description of an MLflow model: expected a mapping with `flavors`")
    flavor = flavors.get(_FLAVOR, {})
    if not isinstance(flavor, dict):
        raise ProblemError(f"the flavor `{_FLAVOR}` is not a mapping")
    env = flavor.get("env") or {}
    named = {"conda": env} if isinstance(env, str) else env
    if not isinstance(named, dict):
        raise ProblemError(f"`env` of the flavor `{_FLAVOR}` is neither text nor a mapping")
    names = [_path(named, key) or default for key, default in _ENVIRONMENTS.items()]
    python = _text(flavor, "python_version")
    release = str(tree.get("mlflow_version")).partition(".")[0]
    return MlflowModel(
        environments=tuple(names),
        python=python if _VERSION.fullmatch(python) else "",
        loader=_text(flavor, "loader_module"),
        code=_path(flavor, "code"),
        release=int(release) if release.isdecimal() else 1,
    )


def _text(flavor: Mapping[str, Any], key: str) -> str:
    value = flavor.get(key)
    if value is None or isinstance(value, str):
        return value or ""
    raise ProblemError(f"`{key}` of the flavor `{_FLAVOR}` is not text: `{shorten(str(value))}`")


def _path(flavor: Mapping[str, Any], key: str) -> str:
    text = _text(flavor, key)
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts:
        raise ProblemError(f"`{key}` is outside of the directory of the model: `{shorten(text)}`")
    return text
