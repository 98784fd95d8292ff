"""Stage 7, effect: the registered models of an application, as arguments and as layers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bundler.deploy.source_files import tree_files
from bundler.errors import InputError
from bundler.oci.filetree import APP_ROOT, AppLayer
from bundler.paths import printable
from bundler.requirements.text import is_model_folder, similar_path

__all__ = [
    "ModelFiles",
    "distinct_models",
    "model_dir",
    "model_layer",
    "model_meant",
    "parse_model",
]

_MODELS = "azureml-models"
_VERSION = re.compile(r"[0-9A-Za-z][\w.-]*", re.ASCII)
_MODEL = re.compile(
    rf"(?P<name>[A-Za-z0-9][\w.-]{{0,254}}):(?P<version>{_VERSION.pattern})=(?P<path>.+)", re.ASCII
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFiles:
    """A registered model and its files."""

    name: str
    version: str
    path: Path
    """A file or a directory; in the image it is the only entry of the version's directory."""


def parse_model(text: str, cwd: Path) -> ModelFiles:
    """Parse ``--model NAME:VERSION=PATH``, or the directory of an MLflow model as ``NAME:1=PATH``.

    :param cwd: the directory at which a relative path starts.
    :raises InputError: if the text has another form, or the path does not exist.
    """
    if is_model_folder(cwd / text):
        text = model_meant(str(Path(text)), cwd)
    match = _MODEL.fullmatch(text)
    if match is None:
        raise InputError(
            f"invalid `--model {printable(text)}`",
            evidence=("wanted  NAME:VERSION=PATH",),
            hint=f"--model {model_meant(text, cwd)}",
        )
    path = cwd / match["path"]
    if not path.exists():
        meant = model_meant(text, cwd)
        raise InputError(
            f"{printable(match['path'])}: file or directory not found (--model)",
            hint=f"did you mean `--model {meant}`?" if meant != text else None,
        )
    return ModelFiles(name=match["name"], version=match["version"], path=path)


def model_meant(text: str, cwd: Path) -> str:
    """Return the value of ``--model`` that was meant by a wrong one.

    >>> model_meant("iris=model.pkl", Path("/")), model_meant("out/model.pkl", Path("/"))
    ('iris:1=model.pkl', 'model:1=out/model.pkl')
    """
    label, equals, path = text.rpartition("=")
    name, _, version = label.partition(":")
    if not equals:  # `iris:1`, or a path alone
        name, path = (text.partition(":")[0], "model.pkl") if ":" in text else (Path(text).stem, text)
    name = re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-._") or "model"
    near = similar_path(cwd / path) if Path(path).name else None
    path = str(Path(path).with_name(near.name)) if near else path
    return f"{name}:{version if _VERSION.fullmatch(version) else 1}={path}"


def distinct_models(models: Iterable[ModelFiles]) -> Iterator[ModelFiles]:
    """Yield the models; their names and versions are the paths in the image.

    :raises InputError: if a name and version occur twice.
    """
    seen = set()
    for model in models:
        key = (model.name, model.version)
        if key in seen:
            raise InputError(f"duplicate model `{model.name}:{model.version}`")
        seen.add(key)
        yield model


def model_dir(models: tuple[ModelFiles, ...]) -> str:
    """Return AZUREML_MODEL_DIR: with one model the directory of its version, else that of all models.

    Azure ML sets the variable so; scripts rely on it to find their files.
    """
    if len(models) == 1:
        return f"/{APP_ROOT}/{_MODELS}/{models[0].name}/{models[0].version}"
    return f"/{APP_ROOT}/{_MODELS}"


def model_layer(model: ModelFiles) -> AppLayer:
    """Return the layer of a model: the only entry of the directory of its version."""
    below = f"{_MODELS}/{model.name}/{model.version}/{model.path.resolve().name}"
    comment = f"model {model.name} {model.version}"
    return AppLayer(comment=comment, files=tuple(tree_files(model.path, below)))
