"""The table of images: each row agrees with its name, and its variant with the history of the images."""

from __future__ import annotations

import pytest

from bundler.data.azure_image import IMAGE_VARIANTS, image_by_name, image_glibc, image_python, image_variant

ROWS = {
    "minimal-ubuntu18.04-py37-cpu-inference": ("3.7", "2.27", "classic"),
    "mlflow-ubuntu18.04-py37-cpu-inference": ("3.7", "2.27", "mlflow"),
    "minimal-ubuntu20.04-py38-cpu-inference": ("3.8", "2.31", "py38"),
    "minimal-ubuntu20.04-py38-cuda11.6.2-gpu-inference": ("3.8", "2.31", "py38"),
    "mlflow-ubuntu20.04-py38-cpu-inference": ("3.8", "2.31", "mlflow"),
    "minimal-ubuntu20.04-py39-cpu-inference": ("3.9", "2.31", "stripped"),
    "minimal-ubuntu22.04-py39-cuda11.8-gpu-inference": ("3.9", "2.31", "stripped"),
    "mlflow-ubuntu20.04-py39-cpu-inference": ("3.9", "2.31", "mlflow"),
    "minimal-ubuntu22.04-py310-cpu-inference": ("3.10", "2.35", "stripped"),
    "minimal-ubuntu22.04-py311-cpu-inference": ("3.11", "2.35", "stripped"),
    "minimal-py311-inference": ("3.11", "2.35", "stripped"),
    "minimal-py312-inference": ("3.12", "2.35", "stripped"),
    "minimal-py312-cuda12.4-inference": ("3.12", "2.35", "stripped"),
    "mlflow-ubuntu22.04-py312-cpu-inference": ("3.12", "2.35", "mlflow"),
    "mlflow-py312-inference": ("3.12", "2.35", "mlflow"),
}


@pytest.mark.parametrize("name", ROWS)
def test_an_image_by_its_name(name: str) -> None:
    python, glibc, variant = ROWS[name]
    row = image_by_name(f"mcr.microsoft.com/azureml/curated/{name}:20240401.v1@sha256:00")

    assert row is not None
    assert (row.python, row.glibc) == (python, glibc)
    assert image_variant(name, None) == variant
    assert image_python(name) == python


@pytest.mark.parametrize(
    ("release", "glibc"), [((3, 6), "2.27"), ((3, 9), "2.31"), ((3, 11), "2.31"), ((3, 14), "2.35")]
)
def test_the_oldest_glibc_of_a_python(release: tuple[int, int], glibc: str) -> None:
    assert image_glibc(release).glibc == glibc


def test_an_image_that_is_in_no_row() -> None:
    assert image_by_name("minimal-py313-inference") is None
    assert image_by_name("") is None


def test_the_script_that_an_image_contains() -> None:
    assert IMAGE_VARIANTS["mlflow"].own_script == "/var/mlflow_resources/mlflow_score_script.py"
    assert [name for name, variant in IMAGE_VARIANTS.items() if variant.own_script] == ["mlflow"]
