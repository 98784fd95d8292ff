"""Which distributions were asked for, and which of their modules must import."""

from __future__ import annotations

import pytest
from packaging.requirements import Requirement
from support.facts import ENVIRONMENT, facts

from bundler.checks.needed import main_modules, requested_distributions


@pytest.mark.parametrize(
    ("name", "modules", "main"),
    [
        pytest.param("mlflow", {"mlflow": 9, "pylint_plugins": 50}, "mlflow", id="its-own-name"),
        pytest.param("pyyaml", {"yaml": 90, "_yaml": 1}, "yaml", id="largest-public"),
        pytest.param("azureml-core", {"azureml": 99, "azureml.core": 9}, "azureml.core", id="namesake"),
        pytest.param("ipython", {"IPython": 1, "tests": 9}, "IPython", id="case"),
        pytest.param("google-cloud-storage", {"google.cloud.storage": 1}, "google.cloud.storage", id="ns"),
        pytest.param(
            "google-cloud-core",
            {"google.cloud.client": 9, "google.cloud.obsolete": 1, "google.cloud._http": 8},
            "google.cloud.client",
            id="never-a-small-side-module",
        ),
        pytest.param("python-dateutil", {"dateutil": 1, "x": 9}, "dateutil", id="part-of-the-name"),
        pytest.param("tensorflow-cpu", {"tensorflow": 9, "x": 90}, "tensorflow", id="variant"),
        pytest.param("core", {"ns.core": 1, "ns.obsolete": 9}, "ns.core", id="below-a-namespace"),
        pytest.param("jupyter-core", {"jupyter": 9, "jupyter_core": 1}, "jupyter_core", id="exact-first"),
        pytest.param(
            "paste",
            {"paste.deploy": 9, "paste.flup_session": 1, "paste.x": 5},
            "paste.deploy paste.x",
            id="no-init",
        ),
        pytest.param(
            "google-cloud-foo",
            {"google": 1, "google.cloud": 1, "google.cloud.bar": 9},
            "google.cloud.bar",
            id="namespaces-say-nothing",
        ),
        pytest.param("opencv-python", {"cv2": 9}, "cv2", id="only-one"),
        pytest.param("nvidia-ml-py", {"pynvml": 90, "example": 1}, "pynvml", id="example"),
        pytest.param("pair", {"left": 9, "right": 7}, "left right", id="two-large-ones"),
        pytest.param("hidden", {"_a": 9, "_b": 1}, "_a", id="all-private"),
        pytest.param("only-tests", {"tests": 9}, "tests", id="all-tests"),
        pytest.param("empty", {"a": 0, "b": 0}, "a b", id="no-sizes"),
        pytest.param("scripts-only", {}, "", id="no-modules"),
    ],
)
def test_main_modules(name: str, modules: dict[str, int], main: str) -> None:
    assert sorted(main_modules(name, modules)) == main.split()


def asked(requirements: str, *distributions: str) -> str:
    """Return the requested distributions of a bundle, ``name: requirement requirement`` each."""
    present = []
    for text in distributions:
        name, _, requires = text.partition(":")
        present.append(facts(name, requires=tuple(requires.split())))
    roots = [Requirement(text) for text in requirements.split()]
    return " ".join(sorted(requested_distributions(present, roots, ENVIRONMENT)))


TEN = ("a: b", "b: c[x]", "c: d;extra=='x'", *"defghij")


@pytest.mark.parametrize(
    ("requirements", "distributions", "expected"),
    [
        pytest.param("a", ("a: b", "b"), "a", id="one"),
        pytest.param("a B==1", ("a: b", "b"), "a b", id="a-short-list-means-what-it-names"),
        pytest.param("a==1 b==1", ("a: b", "b"), "a b", id="short-though-pinned"),
        pytest.param(" ".join(f"{x}==1" for x in "abcdefghij"), TEN, "a e f g h i j", id="frozen"),
        pytest.param(" ".join(f"{x}==1" for x in "abcdefghi"), TEN, "a e f g h i j", id="all-but-one"),
        pytest.param(" ".join(f"{x}==1" for x in "abcdefgh"), TEN, "a b c d e f g h i j", id="many-absent"),
        pytest.param("a " + " ".join(f"{x}==1" for x in "bcdefghij"), TEN, " ".join("abcdefghij"), id="one-range"),
        pytest.param("a==1.* " + " ".join(f"{x}==1" for x in "bcdefghij"), TEN, " ".join("abcdefghij"), id="a-series"),
        pytest.param("", ("a: b", "b"), "a", id="a-lock-without-requirements"),
        pytest.param("x", ("x", "path: dep", "dep"), "path x", id="a-path-has-no-name"),
        pytest.param("", ("a: b", "b: a"), "a b", id="a-cycle"),
        pytest.param("a absent;python_version>'3.9'", ("a", "absent"), "a absent", id="marker-false-but-present"),
    ],
)  # fmt: skip
def test_requested_distributions(requirements: str, distributions: tuple[str, ...], expected: str) -> None:
    assert asked(requirements, *distributions) == expected
