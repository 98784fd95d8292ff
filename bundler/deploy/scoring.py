"""Stage 7, effect: choose the code of a package without an entry script of the user.

The server of Azure ML's images for MLflow loads the script of the image; for another image a package with
an MLflow model has a script of its own. Any other image starts its own server (BYOC).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bundler.bundle.reader import read_manifest
from bundler.checks.user_code import UserCode
from bundler.data.azure_image import IMAGE_VARIANTS, image_variant
from bundler.deploy.models import ModelFiles
from bundler.errors import InputError, UsageError
from bundler.paths import printable
from bundler.problems import ProblemError
from bundler.requirements.conda.mlflow import MlflowModel
from bundler.requirements.model import MODEL_FILE, is_model_folder, read_model
from bundler.target.scripts import script

__all__ = ["ScoringCode", "has_own_script", "scoring_code"]

_SCRIPT = "mlflow_scoring/score"
_LOADER = re.compile(r"(?!mlflow\b)(\w+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringCode:
    """The code of a package without an entry script of the user."""

    code: UserCode | None = None
    """None if the image has the script, or a server of its own."""
    env: Mapping[str, str] = field(default_factory=dict)
    """The variables by which the script finds the model."""
    warnings: tuple[str, ...] = ()


def has_own_script(image: str | None) -> bool:
    """Return whether an image has an entry script for MLflow, by its name."""
    variant = image_variant(image, None)
    return variant is not None and bool(IMAGE_VARIANTS[variant].own_script)


def scoring_code(bundle: Path, models: Sequence[ModelFiles], image: str | None) -> ScoringCode:
    """Return the code that serves the only MLflow model of a package; none without such a model.

    :raises UsageError: if there are several, or the image is for MLflow and there is none.
    :raises InputError: if the description of the model is malformed, or Python cannot load it.
    """
    found = [model for model in models if is_model_folder(model.path)]
    if len(found) > 1:
        raise UsageError(
            "several MLflow models, but one script serves one model",
            evidence=tuple(f"model   {model.name}:{model.version}" for model in found),
            hint="pass `--source-dir` and `--entry-script`, or one model",
        )
    if not found:
        if has_own_script(image):
            raise UsageError(
                f"`{printable(image or '')}` serves an MLflow model, and none is given",
                hint="--model model:1=DIRECTORY",
            )
        return ScoringCode()
    model = found[0]
    facts = _read(model.path)
    folder = model.path.resolve().name
    if len(models) > 1:  # AZUREML_MODEL_DIR is the directory of all models
        folder = f"{model.name}/{model.version}/{folder}"
    path = script(_SCRIPT)
    return ScoringCode(
        code=None if has_own_script(image) else UserCode(folder=path.parent, script=path.name),
        env={"MLFLOW_MODEL_FOLDER": folder},
        warnings=tuple(_missing_loader(facts, model.path, bundle)),
    )


def _read(path: Path) -> MlflowModel:
    try:
        facts = read_model(path)
    except ProblemError as refused:
        line = f":{refused.line}" if refused.line else ""
        raise InputError(
            f"{printable(str(path / MODEL_FILE))}{line}: {refused.fact}",
            hint="pass `--source-dir` and `--entry-script`, to load it with code of your own",
        ) from None
    if not facts.loader:
        raise InputError(
            f"{printable(str(path / MODEL_FILE))}: no `loader_module` of the flavor `python_function`,"
            " so Python cannot load the model",
            hint="pass `--source-dir` and `--entry-script`, to load it with code of your own",
        )
    return facts


def _missing_loader(facts: MlflowModel, folder: Path, bundle: Path) -> Iterator[str]:
    """Yield a warning if the module of the loader is neither in the code of the model nor in the bundle."""
    match = _LOADER.match(facts.loader)
    if match is None:  # a module of MLflow, which the script imports
        return
    name = match[1]
    own = folder / facts.code if facts.code else folder
    if (own / name).is_dir() or (own / f"{name}.py").is_file():
        return
    manifest = read_manifest(bundle)
    start = f"{manifest.target.site_packages}/{name}"
    if not any(file.path.startswith((f"{start}/", f"{start}.")) for file in manifest.files):
        yield (
            f"`loader_module` of the MLflow model is `{printable(facts.loader)}`:"
            f" neither the bundle nor the model contains `{printable(name)}`"
        )
