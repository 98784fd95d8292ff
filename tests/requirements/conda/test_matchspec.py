"""Conda's match specifications and what they ask of an index; row L03 of the corpus.

``ACCEPTED`` is what conda 26.7.1 (``conda.models``) and rattler (py-rattler 0.28.0) both said on 2026-11-21.
"""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.paths import PACKAGE

from bundler.data.conda_names import look_up
from bundler.problems import ProblemError
from bundler.redaction import redact
from bundler.requirements.conda.matchspec import (
    MatchSpec,
    clean_channel,
    parse_match_spec,
    register_channels,
    translate,
)

VERSIONS = [
    "0.9",
    "1.0",
    "1.1.9",
    "1.2",
    "1.2.0.1",
    "1.2.3",
    "1.2.3.4",
    "1.2.10",
    "1.3",
    "1.10",
    "1.20",
    "2.0",
    "2.1",
    "3.7.5",
    "10.0",
    "2019.1",
    "1!1.2",
]

# A specification, and an x below each of VERSIONS that it takes.
ACCEPTED = [
    ("x", "xxxxxxxxxxxxxxxxx"),
    ("x=1", ".xxxxxxxxxx......"),
    ("x=1.2", "...xxxxx........."),
    ("x==1.2", "...x............."),
    ("x 1.2", "...x............."),
    ("x =1.2", "...xxxxx........."),
    ("x = 1.2", "...xxxxx........."),
    ("x=1.2.0", "...xx............"),
    ("x==1.2.0.0", "...x............."),
    ("x=1.2.3", ".....xx.........."),
    ("x=1.2.*", "...xxxxx........."),
    ("x 1.2.*", "...xxxxx........."),
    ("x==1.2.*", "...xxxxx........."),
    ("x=1.2*", "...xxxxx........."),
    ("x 1.2*", "...xxxxx........."),
    ("x 1.*", ".xxxxxxxxxx......"),
    ("x=1!1", "................x"),
    ("x==1!1.2", "................x"),
    ("x=2019.01", "...............x."),
    ("x=*", "xxxxxxxxxxxxxxxxx"),
    ("x *", "xxxxxxxxxxxxxxxxx"),
    ("x==*", "xxxxxxxxxxxxxxxxx"),
    ("x=1.2=py37_0", "...x............."),
    ("x==1.2=py37_0", "...x............."),
    ("x 1.2 py37_0", "...x............."),
    ("x=1.2.*=py37_0", "...xxxxx........."),
    ("x=1.2=*", "...x............."),
    ("x>=1.2", "...xxxxxxxxxxxxxx"),
    ("x>1.2", "....xxxxxxxxxxxxx"),
    ("x<1.2", "xxx.............."),
    ("x<=1.2", "xxxx............."),
    ("x!=1.2", "xxx.xxxxxxxxxxxxx"),
    ("x!=1.2.*", "xxx.....xxxxxxxxx"),
    ("x>=1.2.*", "...xxxxxxxxxxxxxx"),
    ("x<1.2.*", "xxx.............."),
    ("x~=1.2", "...xxxxxxxx......"),
    ("x~=1.2.3", ".....xxx........."),
    ("x >=1.2,<2", "...xxxxxxxx......"),
    ("x>=1.2,<2.0a0", "...xxxxxxxx......"),
    ("x >= 1.2 , < 2", "...xxxxxxxx......"),
    ("x>=1.2,<2=py37_0", "...xxxxxxxx......"),
    ("x>=1.2,!=1.3,<3", "...xxxxx.xxxx...."),
    ("x=1.2,!=1.2.3", "...xx.xx........."),
    ("x==1.2,<3", "...x............."),
    ("x 1.2.*,<1.2.5", "...xxxx.........."),
    ("x 1.2|1.2.*", "...xxxxx........."),
    ("x >=1.2|>=1.3", "...xxxxxxxxxxxxxx"),
    ("x >=1.3|>=1.2", "...xxxxxxxxxxxxxx"),
    ("x <=1.2|<=1.3", "xxxxxxxxx........"),
    ("x >=1.3,<2|>=1.2", "...xxxxxxxxxxxxxx"),
    ("x 1.2.3|>=1.2", "...xxxxxxxxxxxxxx"),
    ("x[version='1.2']", "...x............."),
    ("x[version='=1.2']", "...xxxxx........."),
    ("x[version='>=1.2,<2']", "...xxxxxxxx......"),
    ("x[version=>=1.2]", "...xxxxxxxxxxxxxx"),
    ("x[version='1.2.*',build=py37_0]", "...xxxxx........."),
    ("x=1.2[build=py37_0]", "...xxxxx........."),
    ("conda-forge::x=1.2", "...xxxxx........."),
    ("conda-forge/linux-64::x>=1.2", "...xxxxxxxxxxxxxx"),
]


@pytest.mark.parametrize(("text", "taken"), [pytest.param(*row, id=f"L03-{row[0]}") for row in ACCEPTED])
def test_the_same_versions_are_taken_as_by_conda(text: str, taken: str) -> None:
    requirement = translate(parse_match_spec(text)).requirement

    assert requirement is not None
    found = "".join("x" if requirement.specifier.contains(item) else "." for item in VERSIONS)
    assert found == taken


# Name, version, build, channel.
PARSED = {
    "numpy": ("numpy", None, None, None),
    "NumPy": ("numpy", None, None, None),
    " numpy  # why": ("numpy", None, None, None),
    "numpy=1.2": ("numpy", "1.2.*", None, None),
    "numpy==1.2": ("numpy", "==1.2", None, None),
    "numpy 1.2": ("numpy", "==1.2", None, None),
    "numpy=1.2=py37_0": ("numpy", "==1.2", "py37_0", None),
    "numpy=1.2 py37_0": ("numpy", "==1.2", "py37_0", None),
    "numpy 1.2 =py37_0": ("numpy", "==1.2", "py37_0", None),
    "numpy=1.2.*=*": ("numpy", "1.2.*", None, None),
    "numpy * *mkl*": ("numpy", None, "*mkl*", None),
    "numpy=1.1|1.3=py36_0": ("numpy", "1.1.*|==1.3", "py36_0", None),
    "numpy >= 1.2 , < 2 py37_0": ("numpy", ">=1.2,<2", "py37_0", None),
    "numpy>=1,<2|>3": ("numpy", ">=1,<2|>3", None, None),
    "numpy >=1|*": ("numpy", None, None, None),
    "numpy=*": ("numpy", None, None, None),
    "numpy>=1,*": ("numpy", ">=1", None, None),
    "openssl=1.1.1k": ("openssl", "1.1.1k.*", None, None),
    "jpeg==9e": ("jpeg", "==9e", None, None),
    "openssl>=1.0.2_": ("openssl", ">=1.0.2_", None, None),
    "_libgcc_mutex=0.1=main": ("_libgcc_mutex", "==0.1", "main", None),
    "__glibc>=2.17": ("__glibc", ">=2.17", None, None),
    "ruamel.yaml": ("ruamel.yaml", None, None, None),
    "conda-forge::numpy=1.2": ("numpy", "1.2.*", None, "conda-forge"),
    "pytorch/linux-64::torchvision": ("torchvision", None, None, "pytorch/linux-64"),
    "https://conda.example/main::numpy": ("numpy", None, None, "https://conda.example/main"),
    "numpy[version='>=1.2,<2',build=py37_0]": ("numpy", ">=1.2,<2", "py37_0", None),
    'numpy [ version = ">=1.2" , build="py37_0*" ]': ("numpy", ">=1.2", "py37_0*", None),
    "numpy=1.2[channel=main, build_number=3]": ("numpy", "1.2.*", None, "main"),
    "numpy[version=1.2 build=py37_0]": ("numpy", "==1.2", "py37_0", None),
}


@pytest.mark.parametrize(("text", "parts"), PARSED.items(), ids=[f"L03-{text}" for text in PARSED])
def test_parts(text: str, parts: tuple[str, str | None, str | None, str | None]) -> None:
    name, version, build, channel = parts

    assert parse_match_spec(text) == MatchSpec(name=name, version=version, build=build, channel=channel)


MALFORMED = {
    "": ("the name of a package is missing", None),
    " # only": ("the name of a package is missing", None),
    "=1.2": ("`=1.2` does not begin with the name of a package", None),
    ">=1.2": ("`>=1.2` does not begin with the name of a package", None),
    "num py[": ("`num py[` has no `]` at its end", None),
    "py*": ("`py*` is a pattern, not one package", None),
    "a..b": ("`a..b` is not the name of a conda package", None),
    "___a": ("`___a` is not the name of a conda package", None),
    "numpy?": ("`numpy?` is not the name of a conda package", None),
    "conda-forge/numpy": ("`conda-forge/numpy` is not the name of a conda package", "write `channel::name`"),
    "a:b:numpy": ("`a:b:numpy` is not the name of a conda package", "write `channel::name`"),
    "numpy=": ("a version is missing after `=`", None),
    "numpy>=": ("a version is missing after `>=`", None),
    "numpy>=1,": ("a version is missing", None),
    "numpy 1|": ("a version is missing", None),
    "numpy===1.2": ("`===` is not an operator", "write `==1.2`"),
    "numpy=>1.2": ("`=>` is not an operator", "write `>=1.2`"),
    "numpy=<1.2": ("`=<` is not an operator", "write `<=1.2`"),
    "numpy <> 1.2": ("`<>` is not an operator", "write `!=1.2`"),
    "numpy>=1.2 <2": ("`<2` is not a build string", "write `>=1.2,<2`"),
    "numpy 1.2 py 3": ("`py 3` is not a build string", None),
    "numpy 1.2 py-3": ("`py-3` is not a build string", None),
    "numpy 1..2": ("`1..2` is not a version", None),
    "numpy 1._": ("`1._` is not a version", None),
    "numpy 1!2!3": ("`1!2!3` is not a version", None),
    "numpy ^1.*$": ("`^1.*$` is a regular expression, which PEP 440 cannot express", None),
    "numpy=1.*.3": ("`=1.*.3` has a star inside, which PEP 440 cannot express", None),
    "numpy>*": ("`>*` has a star inside, which PEP 440 cannot express", None),
    "numpy>=1,=*": ("`=*` has a star inside, which PEP 440 cannot express", None),
    "numpy>=1,==1.2.*": ("conda's tools disagree about the meaning of `==1.2.*`", "write `=1.2`"),
    "numpy==1.2.*=py37_0": ("conda's tools disagree about the meaning of `==1.2.*`", "write `=1.2`"),
    "numpy!=1.2*": ("conda's tools disagree about the meaning of `!=1.2*`", "write `!=1.2.*`"),
    "numpy>1.2.*": ("conda's tools disagree about the meaning of `>1.2.*`", "write `>1.2`"),
    "numpy<=1.2.*": ("conda's tools disagree about the meaning of `<=1.2.*`", "write `<=1.2`"),
    "numpy>=1.2*": ("conda's tools disagree about the meaning of `>=1.2*`", "write `>=1.2`"),
    "numpy~=1.2.*": ("conda's tools disagree about the meaning of `~=1.2.*`", "write `=1.2`"),
    "numpy=1.2*,<2": ("conda's tools disagree about the meaning of `=1.2*`", "write `=1.2`"),
    "numpy~=1": ("`~=1` needs a second number", "write `=1`"),
    "numpy (>=1,<2)|3": (
        "conda's tools disagree about the meaning of the parentheses in `numpy (>=1,<2)|3`",
        None,
    ),
    "numpy; python_version<'3.8'": (
        "`numpy; python_version<'3.8'` has a condition",
        "move it to the `pip` section",
    ),
    "numpy if python<3": ("`numpy if python<3` has a condition", "move it to the `pip` section"),
    "numpy @ https://x.example/n.whl": (
        "`numpy @ https://x.example/n.whl` is not a conda package",
        "move it to the `pip` section",
    ),
    "mkl|blas": ("a version is missing", None),
    "mkl@": ("`mkl@` is not a conda package", "move it to the `pip` section"),
    "./numpy-1.2-py37_0.tar.bz2": (
        "`./numpy-1.2-py37_0.tar.bz2` is a package file of conda, which is unsupported",
        "write `name=1.2`",
    ),
    "https://x.example/n-1-0.conda": (
        "`https://x.example/n-1-0.conda` is a package file of conda, which is unsupported",
        "write `name=1.2`",
    ),
    "uvicorn[standard]": (
        "`[standard]` is not a list of `key=value`",
        "move a name with extras to the `pip` section",
    ),
    "numpy[version=]": ("`[version=]` is not a list of `key=value`", None),
    "numpy[version='']": ("the field `version` is empty", None),
    "numpy[version=1,version=2]": ("the field `version` is given twice", None),
    "numpy[version=1] x": ("`numpy[` has no `]` at its end", None),
    "numpy[verison=1]": ("unsupported field `verison`", "did you mean `version`?"),
    "numpy[md5=00]": ("unsupported field `md5`", None),
    "numpy=1[version=2]": ("`numpy` has a version inside and outside of its brackets", None),
    "numpy\u202f1.2": ("`numpy\u202f1.2` contains a character that is invalid in conda packages", None),
    "numpy\t1.2": ("`numpy\t1.2` contains a character that is invalid in conda packages", None),
    "\uff4eumpy": ("`\uff4eumpy` contains a character that is invalid in conda packages", None),
    "a" * 1001: ("a package has more than 1000 characters", None),
    "https://[x/main::numpy": ("`https://[` has no `]` at its end", None),
}
MALFORMED_ROWS = [pytest.param(text, *row, id=f"L03-{text[:40]}") for text, row in MALFORMED.items()]


@pytest.mark.attack("input")
@pytest.mark.parametrize(("text", "fact", "hint"), MALFORMED_ROWS)
def test_malformed_is_refused(text: str, fact: str, hint: str | None) -> None:
    with pytest.raises(ProblemError) as caught:
        parse_match_spec(text)

    assert (caught.value.fact, caught.value.hint) == (fact, hint)


ASSUMED = "`{}` is assumed to have the same name on PyPI"
BUILD = "build `py37_0` is ignored"
# The requirement and the notes.
REQUIREMENTS = {
    "numpy": ("numpy", ()),
    "numpy=1.2=py37_0": ("numpy==1.2", (BUILD,)),
    "conda-forge::numpy": ("numpy", ("channel `conda-forge` is ignored",)),
    "numpy>=1.20,<2.0a0": ("numpy>=1.20,<2.0", ()),
    "numpy<2.0.dev0": ("numpy<2.0", ()),
    "numpy<2.0a1": ("numpy<2.0a1", ()),
    "numpy=1.2rc1": ("numpy==1.2rc1", ("`1.2rc1.*` is taken as `==1.2rc1`",)),
    "numpy!=1.2rc1.*": ("numpy!=1.2rc1", ("`!=1.2rc1.*` is taken as `!=1.2rc1`",)),
    "numpy~=1.2.post1": ("numpy>=1.2.post1,==1.2.*", ()),
    "numpy==1.2+cpu": ("numpy==1.2+cpu", ()),
    "certifi=2022.09.24": ("certifi==2022.9.24.*", ()),
    "my-own": ("my-own", (ASSUMED.format("my-own"),)),
    "annoy": ("annoy", (ASSUMED.format("annoy") + "; there, that project is `python-annoy` in conda",)),
    "torch": ("torch", (ASSUMED.format("torch") + "; there, that project is `pytorch` in conda",)),
    "pytorch=1.13=py3.7_cuda11.7_0": (
        "torch==1.13",
        ("`pytorch` is `torch` on PyPI", "build `py3.7_cuda11.7_0` is ignored"),
    ),
    "pytorch_geometric": ("torch-geometric", ("`pytorch_geometric` is `torch-geometric` on PyPI",)),
    "pytables>=3": ("tables>=3", ("`pytables` is `tables` on PyPI",)),
    "msgpack-python": ("msgpack", ("`msgpack-python` is `msgpack` on PyPI",)),
    "ruamel_yaml": ("ruamel_yaml", ()),
    "dask=2.0": ("dask[complete]==2.0.*", ("`dask` is `dask[complete]` on PyPI",)),
    "opencv==4.5.5": (
        "opencv-python==4.5.5.*",
        (
            "`opencv` is `opencv-python` on PyPI",
            "`opencv-python-headless` is an alternative",
            "`==4.5.5` is taken as `==4.5.5.*`: releases on PyPI have one more number",
        ),
    ),
    "librosa": ("librosa", ()),
    "antlr-python-runtime=4.9.3": (
        "antlr4-python3-runtime==4.9.3.*",
        ("`antlr-python-runtime` is `antlr4-python3-runtime` on PyPI",),
    ),
    "setuptools": ("setuptools", ()),
    "setuptools=46.1.3.post20200330=py37_0": (
        "setuptools==46.1.3",
        (
            "`==46.1.3.post20200330` is taken as `==46.1.3`: the date of a build is not part of a release",
            BUILD,
        ),
    ),
    "setuptools=49.6.0.post20200814": (
        "setuptools==49.6.0.*",
        ("`49.6.0.post20200814.*` is taken as `49.6.0.*`: the date of a build is not part of a release",),
    ),
    "pytz=2022.1.post1": ("pytz==2022.1.post1", ("`2022.1.post1.*` is taken as `==2022.1.post1`",)),
    "sip=4.19.8": ("sip==4.19.8.*", (ASSUMED.format("sip"),)),
    "cuda-python": ("cuda-python", ()),
}


@pytest.mark.parametrize(
    ("text", "requirement", "notes"),
    [pytest.param(text, *row, id=f"L03-{text}") for text, row in REQUIREMENTS.items()],
)
def test_requirement(text: str, requirement: str, notes: tuple[str, ...]) -> None:
    found = translate(parse_match_spec(text))

    assert (found.role, found.requirement, found.notes) == ("requirement", Requirement(requirement), notes)
    assert (found.python, found.libraries) == (None, ())


@pytest.mark.parametrize(
    ("text", "role", "libraries"),
    [
        pytest.param("pip=20.2", "tool", (), id="L02-pip"),
        pytest.param("wheel=0.34", "tool", (), id="L02-wheel"),
        pytest.param("cudatoolkit=11.3.1=h2bc3f7f_2", "base", ("libcudart.so",), id="L02-cudatoolkit"),
        pytest.param("nvidia::cuda-nvcc", "base", (), id="L02-cuda"),
        pytest.param("openssl=1.1.1k=h27cfd23_0", "base", ("libssl.so",), id="L02-version-not-pep440"),
        pytest.param("mkl=2021.4", "base", ("libmkl_rt.so",), id="L02-mkl"),
        pytest.param("mkl 1|>3", "base", ("libmkl_rt.so",), id="L02-choice-of-no-matter"),
        pytest.param("libsomething", "base", (), id="L02-lib"),
        pytest.param("r-ggplot2", "base", (), id="L02-r"),
        pytest.param("gcc_linux-64", "base", (), id="L02-compiler"),
        pytest.param("graphviz", "base", ("libgvc.so",), id="L02-namesake"),
        pytest.param("__cuda>=11", "base", ("libcuda.so",), id="L02-virtual"),
        pytest.param("__glibc>=2.17", "base", (), id="L02-virtual-unknown"),
        pytest.param("_libgcc_mutex=0.1=main", "nothing", (), id="L02-mutex"),
        pytest.param("ld_impl_linux-64", "nothing", (), id="L02-ld"),
        pytest.param("cpuonly", "nothing", (), id="L02-cpuonly"),
        pytest.param("dataclasses=0.8=pyhc8e2a94_3", "nothing", (), id="L02-backport"),
        pytest.param("mkl_fft", "nothing", (), id="L02-mkl-fft"),
        pytest.param("vs2015_runtime", "nothing", (), id="L02-windows"),
    ],
)
def test_what_is_no_requirement(text: str, role: str, libraries: tuple[str, ...]) -> None:
    found = translate(parse_match_spec(text))

    assert (found.role, found.libraries) == (role, libraries)
    assert (found.requirement, found.python) == (None, None)
    assert found.notes


def test_a_library_with_a_namesake_says_how_to_get_that() -> None:
    assert translate(parse_match_spec("redis")).notes == (
        "`redis` is not a Python project: the base must have it",
        "the Python project `redis` is `redis-py` in conda",
    )


@pytest.mark.parametrize(
    ("text", "specifier", "inside", "outside"),
    [
        pytest.param("python", "", "3.7.16", None, id="L04-any"),
        pytest.param("python=3.7", "==3.7.*", "3.7.16", "3.11.1", id="L04-series"),
        pytest.param("python=3.7.*=*_cpython", "==3.7.*", "3.7.16", "3.8.0", id="L04-build"),
        pytest.param("python=3.7.16=h7a1cb2a_0", "==3.7.16", "3.7.16", "3.7.15", id="L04-exact"),
        pytest.param("python>=3.7,<3.8.0a0", ">=3.7,<3.8.0", "3.7.16", "3.8.0", id="L04-range"),
        pytest.param("python>3.6", ">3.6", "3.7.16", "3.6.0", id="L04-above"),
        pytest.param("conda-forge::python 3.7.*", "==3.7.*", "3.7.16", "3.10.0", id="L04-channel"),
        pytest.param("python 3.7|3.7.*", "==3.7.*", "3.7.16", "3.8.0", id="L04-reducible"),
    ],
)
def test_python(text: str, specifier: str, inside: str, outside: str | None) -> None:
    found = translate(parse_match_spec(text))

    assert (found.role, found.requirement, found.notes) == ("python", None, ())
    assert str(found.python) == str(Requirement(f"x{specifier}").specifier)
    assert found.python is not None
    assert found.python.contains(inside)
    assert outside is None or not found.python.contains(outside)


def test_python_of_two_numbers_is_one_release() -> None:
    assert translate(parse_match_spec("python==3.7")).notes == (
        "`==3.7` is 3.7.0 only; write `python=3.7` for all its releases",
    )


REFUSED = {
    "numpy 1.2|1.3": (
        "`numpy ==1.2|==1.3` has alternative ranges, which PEP 440 cannot express",
        "keep one of them: `numpy ==1.3`",
    ),
    "numpy=1.2|>=2": (
        "`numpy 1.2.*|>=2` has alternative ranges, which PEP 440 cannot express",
        "keep one of them: `numpy >=2`",
    ),
    "python=3.7|3.8": (
        "`python 3.7.*|==3.8` has alternative ranges, which PEP 440 cannot express",
        "keep one of them: `python ==3.8`",
    ),
    "numpy==9e": (
        "`==9e` of `numpy` is a valid version in conda, but not in PEP 440",
        "omit the version: `numpy`",
    ),
    "numpy=1.1.1k": (
        "`1.1.1k.*` of `numpy` is a valid version in conda, but not in PEP 440",
        "omit the version: `numpy`",
    ),
    "numpy==1.0-1": (
        "`==1.0-1` of `numpy` is a valid version in conda, but not in PEP 440",
        "omit the version: `numpy`",
    ),
    "numpy==v1": (
        "`==v1` of `numpy` is a valid version in conda, but not in PEP 440",
        "omit the version: `numpy`",
    ),
    "numpy>=1.2+cpu": (
        "`>=1.2+cpu` of `numpy` is a valid version in conda, but not in PEP 440",
        "omit the version: `numpy`",
    ),
    "python=3.9=0_73_pypy": (
        "build `0_73_pypy` of `python` is PyPy; only CPython is supported",
        None,
    ),
    "anaconda=2021.5": (
        "`anaconda` is a collection of several hundred packages",
        "list those that are imported",
    ),
    "spacy-model-en_core_web_sm": (
        "`spacy-model-en_core_web_sm` is not on PyPI",
        "list the URL of the model's wheel in the `pip` section",
    ),
    "foo_": ("`foo_` is not a valid project name", None),
}


@pytest.mark.attack("input")
@pytest.mark.parametrize(
    ("text", "fact", "hint"),
    [pytest.param(text, *row, id=f"L03-{text}") for text, row in REFUSED.items()],
)
def test_what_no_index_has_is_refused(text: str, fact: str, hint: str | None) -> None:
    with pytest.raises(ProblemError) as caught:
        translate(parse_match_spec(text))

    assert (caught.value.fact, caught.value.hint) == (fact, hint)


@pytest.mark.attack("secrets")
@pytest.mark.parametrize(
    ("channel", "clean", "secret"),
    [
        ("conda-forge", "conda-forge", None),
        ("https://conda.example/t/tk-secret-a/main", "https://conda.example/main", "tk-secret-a"),
        ("conda.example/t/tk-secret-b/main", "conda.example/main", "tk-secret-b"),
        ("https://me:tk-secret-c@conda.example/main", "https://conda.example/main", "tk-secret-c"),
        ("me:tk-secret-d@conda.example/main", "conda.example/main", "tk-secret-d"),
        ("https://conda.example/main?sig=tk-secret-e", "https://conda.example/main", "tk-secret-e"),
    ],
)
def test_a_channel_loses_its_credentials(channel: str, clean: str, secret: str | None) -> None:
    """Row L02; the register is the process's, so each row has its own secret."""
    assert clean_channel(channel) == clean
    if secret:
        assert secret not in redact(channel)
        assert parse_match_spec(f"{channel}::numpy").channel == clean


@pytest.mark.attack("secrets")
def test_an_address_that_cannot_be_read_is_refused_without_its_password() -> None:
    with pytest.raises(ProblemError) as caught:
        clean_channel("https://me:tk-secret-f@[x/main")

    assert caught.value.fact == "the URL of a channel is malformed"
    assert "tk-secret-f" not in redact("tk-secret-f me:tk-secret-f")


@pytest.mark.attack("secrets")
def test_a_refused_specification_does_not_show_its_token() -> None:
    with pytest.raises(ProblemError) as caught:
        parse_match_spec("https://conda.example/t/tk-secret-g/main/numpy-1-0.conda")

    assert "tk-secret-g" not in redact(caught.value.fact)


def test_registering_takes_no_folder_for_a_token() -> None:
    register_channels("-r ../t/requirements-of-folder.txt")

    assert redact("requirements-of-folder.txt") == "requirements-of-folder.txt"


@pytest.mark.attack("input")
def test_registering_is_linear() -> None:
    """Each would take minutes if it were quadratic; the runner's timeout is the guard."""
    for text in ("a" * (1 << 20), "a." * (1 << 19), "/t/" * (1 << 18), "a://" * (1 << 18)):
        register_channels(text)


PIECES = st.sampled_from(
    [*"abz019.*_-!+=<>~|,;:[]()'\"#@ \t/", "::", "numpy", "1.2", "version=", " if ", "\u2028"]
)


@pytest.mark.attack("input")
@given(st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=40))
@example("0[version=0 0]")
def test_only_ever_refused(text: str) -> None:
    try:
        spec = parse_match_spec(text)
        assert re.fullmatch(r"[a-z0-9._-]+", spec.name)
        found = translate(spec)
    except ProblemError:
        return

    again = parse_match_spec(f"{spec.name} {spec.version or '*'}")
    assert (again.name, again.version) == (spec.name, spec.version)
    assert (found.requirement is not None) == (found.role == "requirement")
    assert (found.python is not None) == (found.role == "python")


def table(name: str) -> Any:
    return json.loads(files("bundler.data").joinpath(name).read_text("utf-8"))


@pytest.mark.parametrize("file", ["conda_known.json", "conda_names.json"])
def test_tables_are_sorted_and_one_entry_a_line(file: str) -> None:
    """So that a difference between two versions can be read."""
    text = (PACKAGE / "data" / file).read_text("utf-8")
    content = json.loads(text, object_pairs_hook=list)

    for key, entries in content:
        if key != "source" and not isinstance(entries, str):
            names = [item[0] if isinstance(item, (list, tuple)) else item for item in entries]
            assert names == sorted(set(names)), key
            assert all(f'\n  "{name}"' in text for name in names)
    assert text.endswith("}\n")


def test_the_names_say_where_they_are_from() -> None:
    source = table("conda_names.json")["source"]

    assert source.keys() == {"file", "licence", "project", "sha256", "taken", "version"}
    assert re.fullmatch("[0-9a-f]{64}", source["sha256"])


def test_names_are_normalised_and_differ_from_the_project() -> None:
    made, known = table("conda_names.json")["names"], table("conda_known.json")["names"]

    for name, project in (*made.items(), *known.items()):
        requirement = Requirement(project)
        assert name == canonicalize_name(name)
        assert requirement.extras or name != canonicalize_name(requirement.name)
        assert not re.search("[0-9a-f]{32}", project)
    assert not made.keys() & known.keys()


def test_no_name_stands_in_two_tables() -> None:
    """The first would hide the second."""
    known, made = table("conda_known.json"), table("conda_names.json")
    names = [name for key in ("base", "names", "nothing", "same", "tool", "refused") for name in known[key]]
    names += [*made["names"], *made["projects"]]

    assert sorted(name for name in set(names) if names.count(name) > 1) == []
    assert known["or"].keys() <= known["names"].keys()
    assert set(known["longer"]) <= known["names"].keys()


def test_every_name_of_the_tables_has_its_role() -> None:
    """No pattern takes a name away from the table it stands in."""
    known = table("conda_known.json")

    assert {look_up(name).role for name in known["tool"]} == {"tool"}
    assert {look_up(name).role for name in known["base"] if not name.startswith("-")} == {"base"}
    assert {look_up(name).role for name in known["nothing"]} == {"nothing"}
    assert {look_up(name).notes for name in known["same"]} == {()}
    assert all(look_up(name).project == project for name, project in known["names"].items())
