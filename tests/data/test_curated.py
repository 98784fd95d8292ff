"""The shipped set of curated environments: whole, dated, sourced, and as the documents print it."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from support.paths import PACKAGE

from bundler.data.curated import Curated, curated_date, curated_environments, find_curated

CONTENT = json.loads((PACKAGE / "data/curated.json").read_text("utf-8"))
SET = curated_environments()
NAMES = [one.name for one in SET]

# The listing of the documents, to the character.
PYTORCH = """\
channels:
- conda-forge
dependencies:
- python=3.6.2
- pip:
  - azureml-core==1.15.0
  - azureml-defaults==1.15.0
  - azureml-telemetry==1.15.0
  - azureml-train-restclients-hyperdrive==1.15.0
  - azureml-train-core==1.15.0
  - torch==1.1
  - torchvision==0.2.1
  - mkl==2018.0.3
  - horovod==0.16.1
  - tensorboard==1.14.0
  - future==0.17.1
name: azureml_eb61e39e20e87ad998ae2c88df1dd0af
"""


def as_yaml(value: Any, indent: str = "") -> Iterator[str]:
    """Yield the lines of a document of mappings, lists and plain words, in the order they stand in."""
    for key, held in value.items():
        if isinstance(held, str):
            yield f"{indent}{key}: {held}"
            continue
        yield f"{indent}{key}:"
        for item in held:
            if isinstance(item, str):
                yield f"{indent}- {item}"
            else:
                first, *rest = as_yaml(item, f"{indent}  ")
                yield f"{indent}- {first.strip()}"
                yield from rest


def conda_specs(one: Curated) -> list[str]:
    return [item for item in one.conda["dependencies"] if isinstance(item, str)]


def pip_requirements(one: Curated) -> list[str]:
    return [text for item in one.conda["dependencies"] if isinstance(item, dict) for text in item["pip"]]


def test_what_the_documents_name_is_there() -> None:
    assert {"AzureML-Chainer-5.1.0-GPU", "AzureML-Scikit-learn-0.20.3", "AzureML-PyTorch-1.1-GPU"} <= {*NAMES}


def test_the_environment_of_the_documents_is_theirs_to_the_character() -> None:
    pytorch = find_curated("AzureML-PyTorch-1.1-GPU")

    assert pytorch is not None
    assert "\n".join(as_yaml(pytorch.conda)) + "\n" == PYTORCH


def test_the_file_is_sorted_and_dated_and_each_source_is_used() -> None:
    assert CONTENT["format_version"] == 1
    assert NAMES == sorted(set(NAMES)) == [one["name"] for one in CONTENT["environments"]]
    assert dt.date(2026, 11, 21) <= dt.date.fromisoformat(curated_date())
    assert {one["from"] for one in CONTENT["environments"]} == {*CONTENT["sources"]}


def test_a_name_that_is_not_there_is_none() -> None:
    assert find_curated("AzureML-PyTorch-1.1") is None
    assert find_curated("azureml-pytorch-1.1-gpu") is None
    assert [find_curated(name) for name in NAMES] == list(SET)


@pytest.mark.parametrize("one", SET, ids=NAMES)
def test_an_entry_can_be_read(one: Curated) -> None:
    assert one.name.startswith("AzureML-")
    assert one.source
    assert one.why
    assert not one.why.endswith(".")
    assert one.base_image is None or re.fullmatch(
        r"mcr\.microsoft\.com/azureml/[a-z0-9.-]+:[a-z0-9.]+", one.base_image
    )
    assert one.version is None or one.version.isdigit()
    assert list(one.conda) == [key for key in ("channels", "dependencies", "name") if key in one.conda]


@pytest.mark.parametrize("one", SET, ids=NAMES)
def test_every_dependency_can_be_read_and_stands_once(one: Curated) -> None:
    specs = [re.fullmatch(r"([a-z0-9-]+)(?:=([0-9][0-9.]*))?", text) for text in conda_specs(one)]
    assert all(specs)
    names = [spec[1] for spec in specs if spec]
    names += [canonicalize_name(Requirement(text).name) for text in pip_requirements(one)]

    assert len(names) == len({*names})
    assert f"python={one.python}" in conda_specs(one)


@pytest.mark.parametrize("one", SET, ids=NAMES)
def test_nothing_below_the_floor_is_called_buildable(one: Curated) -> None:
    below = Version(one.python) < Version("3.7")

    assert not (below and one.buildable)
    assert one.why.startswith(f"Python {one.python} is below") == below
    assert one.why.startswith("built ") == one.buildable


def test_some_can_be_built_and_only_inference_images_are_reconstructed() -> None:
    assert sum(one.buildable for one in SET) >= 2
    assert {one.name for one in SET if one.reconstructed} == {
        name for name in NAMES if name.endswith("-inference")
    }
    assert all(one.source.startswith("reconstructed") == one.reconstructed for one in SET)
