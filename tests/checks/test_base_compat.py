"""What is wrong with a bundle in a base, and what of it the base can stand in for."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from support.paths import CAPTURE
from support.venvs import NSPKG, OLD_NSPKG, make_venv

from bundler.base_image.profile import BaseProfile
from bundler.base_image.reader import read_base
from bundler.checks.base_compat import check_base
from bundler.checks.modules import DistributionFacts
from bundler.checks.provided import plan_provided
from bundler.data.inference_server import server_requirements
from bundler.target.target import Target

ENVIRONMENT = {
    "implementation_name": "cpython",
    "implementation_version": "3.7.16",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_release": "",
    "platform_system": "Linux",
    "platform_version": "",
    "python_full_version": "3.7.16",
    "python_version": "3.7",
    "sys_platform": "linux",
}
TARGET = Target(
    version="3.7.16", abi="cp37m", platform="linux_x86_64", libc="glibc 2.31", markers=ENVIRONMENT
)
SERVER = "azureml-inference-server-http"


def base_of(distributions: Mapping[str, Sequence[str]] | None = None, **changes: Any) -> BaseProfile:
    """Return a base from ``name version`` to what that requires."""
    python = {"version": "3.7.10", "abi": "cp37m", "platform": "linux_x86_64", "libc": ["glibc", "2.27"]}
    values: dict[str, Any] = {
        "format": "bundler-base",
        "format_version": 1,
        "source": "interpreter",
        "python": {**python, **changes.pop("python", {})},
        "libraries": ["libc.so.6"],
        "distributions": [
            {
                "name": name.split()[0],
                "version": name.split()[1],
                "requires": list(requires),
                "top_level": [name.split()[0].replace("-", "_")],
                "pth": False,
            }
            for name, requires in (distributions or {}).items()
        ],
        **changes,
    }
    return BaseProfile.from_json(values, Path("base.json"))


def facts(text: str, *files: str) -> DistributionFacts:
    name, version = text.split()
    return DistributionFacts(
        name=canonicalize_name(name),
        display_name=name,
        version=Version(version),
        requires_dist=(),
        files=files,
    )


def told(base: BaseProfile, *present: DistributionFacts, **options: Any) -> list[str]:
    return [f"{one.code} {one.message}" for one in check_base(base, TARGET, present, **options)]


# --- B501, B502 ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("distributions", "present", "expected"),
    [
        pytest.param({"numpy 1.19.5": [], "h5py 3.1.0": ["numpy>=1.14"]}, "numpy 1.19.5", [], id="equal"),
        pytest.param({"numpy 1.19.5": []}, "numpy 1.21.6", [], id="nobody-uses-it"),
        pytest.param({"h5py 3.1.0": ["numpy>=1.14"]}, "numpy 1.21.6", [], id="not-in-base"),
        pytest.param(
            {"numpy 1.19.5": [], "h5py 3.1.0": ["numpy>=1.14"]},
            "numpy 1.21.6",
            [
                (
                    "B501 the bundle's `numpy` 1.21.6 hides 1.19.5 of the base,"
                    " which `h5py` of the base uses; their requirements are met"
                )
            ],
            id="met",
        ),
        pytest.param(
            {"numpy 1.19.5": [], "tensorflow 2.4": ["numpy~=1.19.2"], "h5py 3.1.0": ["numpy"]},
            "numpy 1.21.6",
            [
                (
                    "B501 the bundle's `numpy` 1.21.6 hides 1.19.5 of the base,"
                    " which `h5py`, `tensorflow` of the base use; `tensorflow` requires `numpy~=1.19.2`"
                )
            ],
            id="violated",
        ),
        pytest.param(
            {"numpy 1.19.5": [], "h5py 3.1.0": ["numpy<1.20; python_version < '3'", "numpy<1; extra == 'x'"]},
            "numpy 1.21.6",
            [],
            id="marker",
        ),
        pytest.param(
            {"pydantic 1.10.2": [], f"{SERVER} 0.8.4.2": ["pydantic<1.11,>=1.9"]},
            "pydantic 2.5.3",
            [
                f"B502 the base's `{SERVER}` 0.8.4.2 requires `pydantic<1.11,>=1.9`, the bundle has `pydantic` 2.5.3"
            ],
            id="server",
        ),
        pytest.param(
            {"pydantic 1.10.2": [], f"{SERVER} 0.8.4.2": ["pydantic<1.11,>=1.9"]},
            "pydantic 1.10.13",
            [
                (
                    "B501 the bundle's `pydantic` 1.10.13 hides 1.10.2 of the base,"
                    f" which `{SERVER}` of the base uses; their requirements are met"
                )
            ],
            id="server-met",
        ),
    ],
)
def test_what_the_bundle_hides(
    distributions: Mapping[str, Sequence[str]], present: str, expected: list[str]
) -> None:
    assert told(base_of(distributions), facts(present)) == expected


def test_a_dependent_that_is_in_the_bundle_too_does_not_count() -> None:
    base = base_of({"numpy 1.19.5": [], "h5py 3.1.0": ["numpy<1.20"]})

    assert told(base, facts("numpy 1.21.6"), facts("h5py 3.8.0")) == []


def test_a_freeze_cannot_say_what_uses_a_distribution() -> None:
    base = base_of({"numpy 1.19.5": []}, source="freeze")

    assert told(base, facts("numpy 1.21.6")) == [
        "B501 the bundle's `numpy` 1.21.6 hides 1.19.5 of the base; its dependents there are not known"
    ]


def test_the_server_is_taken_from_the_table_where_the_base_does_not_say() -> None:
    server = server_requirements("0.8.4.2")
    expected = ["B502 the base's server requires `pydantic<1.11,>=1.9`, the bundle has `pydantic` 2.5.3"]

    assert told(base_of(), facts("pydantic 2.5.3"), server=server) == expected
    assert told(base_of(), facts("pydantic 1.10.13"), server=server) == []
    frozen = base_of({f"{SERVER} 0.8.4.2": []}, source="freeze")
    assert len(told(frozen, facts("pydantic 2.5.3"), server=server)) == 1
    own = base_of({f"{SERVER} 9.0": ["pydantic>=2"]})
    assert told(own, facts("pydantic 2.5.3"), server=server) == []
    assert told(base_of(), facts("pydantic 2.5.3"), facts(f"{SERVER} 1.1.0"), server=server) == []


# --- B503, B504 ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("python", "floor", "expected"),
    [
        ({}, "", []),
        ({}, "2.27", []),
        ({}, "2.9", []),
        ({}, "2.28", ["B503 the bundle needs glibc `2.28`, the base has `2.27`"]),
        ({"version": "3.8.1"}, "", ["B503 the bundle is for Python `3.7`, the base has `3.8`"]),
        ({"version": "3.7"}, "", []),
        ({"abi": "cp37dm"}, "", ["B503 the bundle is for ABI `cp37m`, the base has `cp37dm`"]),
        (
            {"platform": "linux_aarch64"},
            "",
            ["B503 the bundle is for platform `linux_x86_64`, the base has `linux_aarch64`"],
        ),
    ],
)
def test_another_python_or_an_older_libc(python: dict[str, str], floor: str, expected: list[str]) -> None:
    assert told(base_of(python=python), glibc_floor=floor) == expected


def test_what_is_not_known_is_not_compared() -> None:
    base = BaseProfile.from_json({**base_of().to_json(), "python": {}, "libraries": None}, Path("x"))
    musl = BaseProfile.from_json({**base_of().to_json(), "python": {}, "libraries": ["libz.so.1"]}, Path("x"))

    assert told(base, glibc_floor="2.17") == []
    assert told(musl, glibc_floor="2.17") == [
        "B503 the bundle needs glibc `2.17`, the base has no GNU C library"
    ]


def test_what_was_left_to_the_base_must_be_there() -> None:
    base = base_of({"a 1.0": [], "b 2.0": []})
    provided = {
        canonicalize_name(name): Version(version) for name, version in (("a", "1"), ("b", "2.1"), ("c", "3"))
    }

    assert told(base, provided=provided) == [
        "B504 the bundle leaves `b` 2.1 to the base, which has 2.0",
        "B504 the bundle leaves `c` 3 to the base, which does not have it",
    ]


# --- B505, against what Python really does -----------------------------------------

EXTENDS = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
CORE = {"google/core/__init__.py": ""}


@pytest.mark.parametrize(
    ("base", "bundle", "is_hidden"),
    [
        pytest.param(CORE, ["google/storage/__init__.py"], False, id="two-portions"),
        pytest.param(
            {**CORE, "a-nspkg.pth": NSPKG}, ["google/storage/__init__.py"], False, id="pth-follows-the-path"
        ),
        pytest.param(
            {**CORE, "a-nspkg.pth": NSPKG},
            ["google/__init__.py", "google/storage/__init__.py"],
            True,
            id="pth-over-package",
        ),
        pytest.param({**CORE, "a-nspkg.pth": OLD_NSPKG}, ["google/storage/__init__.py"], True, id="old-pth"),
        pytest.param(
            {**CORE, "a-nspkg.pth": OLD_NSPKG},
            ["google/__init__.py", "google/storage/__init__.py"],
            True,
            id="old-pth-over-package",
        ),
        pytest.param(
            {**CORE, "google/__init__.py": "", "a-nspkg.pth": NSPKG},
            ["google/storage/__init__.py"],
            True,
            id="pth-of-package",
        ),
        pytest.param(
            {**CORE, "google/__init__.py": ""},
            ["google/storage/__init__.py"],
            True,
            id="package-over-portion",
        ),
        pytest.param(
            {**CORE, "google/__init__.py": "", "a-nspkg.pth": OLD_NSPKG},
            ["google/storage/__init__.py"],
            True,
            id="old-pth-of-package",
        ),
        pytest.param(
            {**CORE, "google/__init__.py": EXTENDS},
            ["google/storage/__init__.py"],
            False,
            id="extending-package",
        ),
        pytest.param({"google.py": ""}, ["google/storage/__init__.py"], True, id="module-over-portion"),
        pytest.param(
            {**CORE, "google/__init__.py": ""},
            ["google/__init__.py", "google/storage/__init__.py"],
            False,
            id="package-over-package",
        ),
        pytest.param({"other.pth": "/nowhere\n"}, ["google/storage/__init__.py"], False, id="other-pth"),
    ],
)
@pytest.mark.parametrize("version", ["3.7", "3.13"])
def test_what_the_base_hides_is_what_cannot_be_imported(
    pythons: dict[str, Path],
    tmp_path: Path,
    version: str,
    base: dict[str, str],
    bundle: list[str],
    is_hidden: bool,
) -> None:
    """The finding is compared with an import by a real interpreter that has the bundle on PYTHONPATH."""
    if version not in pythons:
        pytest.skip(f"no CPython {version} was found")
    program, site = make_venv(pythons[version], tmp_path / "env")
    mounted = tmp_path / "bundle"
    for root, files in ((site, base), (mounted, dict.fromkeys(bundle, ""))):
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("{0}", "google"))
    ended = subprocess.run([program, CAPTURE], capture_output=True, text=True, check=True, env={})
    profile = tmp_path / "base.json"
    profile.write_text(ended.stdout)

    imported = subprocess.run(
        [program, "-c", "import google.storage; print(google.storage.__file__)"],
        env={"PYTHONPATH": str(mounted)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    target = json.loads(ended.stdout)["python"]["markers"]["python_version"]
    codes = {
        one.code for one in check_base(read_base(profile), TARGET, [facts("google-storage 1.0", *bundle)])
    }

    assert target == version
    assert (str(mounted) not in imported.stdout) == is_hidden, imported.stderr
    assert ("B505" in codes) == is_hidden


def test_a_hidden_distribution_is_told_with_the_one_that_hides_it() -> None:
    base = base_of({"google 1.0": []}, occupied={"google": "fixed", "six": "regular"})
    present = [
        facts("google-cloud-storage 2.0", "google/cloud/storage/__init__.py"),
        facts("six 1.16", "six.py"),
    ]

    assert told(base, *present) == [
        (
            "B505 a `.pth` file of the base creates the module `google` at start, with its own path (`google`):"
            " `google.cloud.storage` of the bundle is never imported"
        )
    ]


def test_a_hidden_distribution_that_the_base_has_in_the_same_version_is_none() -> None:
    base = base_of({"google-auth 2.0": []}, occupied={"google": "fixed"})

    assert told(base, facts("google-auth 2.0", "google/auth/__init__.py")) == []
    assert len(told(base, facts("google-auth 2.1", "google/auth/__init__.py"))) == 1


# --- what may be left out -------------------------------------------------------


def omitted(
    base: BaseProfile, roots: str, locked: Mapping[str, Sequence[str]], **versions: str
) -> tuple[dict[str, str], set[str]]:
    """Return what is left to the base, and what nobody needs then."""
    plan = plan_provided(
        base,
        [Requirement(one) for one in roots.split()],
        {
            canonicalize_name(name): tuple(Requirement(one) for one in requires)
            for name, requires in locked.items()
        },
        ENVIRONMENT,
        versions={canonicalize_name(name): Version(version) for name, version in versions.items()},
    )
    return {name: str(version) for name, version in plan.provided.items()}, set(plan.unneeded)


WEB = {"flask": ["werkzeug>=0.15", "click"], "werkzeug": [], "click": ["colorama; sys_platform == 'win32'"]}
BASE = {"flask 1.0.3": ["werkzeug>=0.14", "click"], "werkzeug 0.16": [], "click 7.0": []}


@pytest.mark.parametrize(
    ("base", "roots", "locked", "versions", "provided", "unneeded"),
    [
        pytest.param(
            BASE, "flask", WEB, {}, {"flask": "1.0.3", "werkzeug": "0.16", "click": "7.0"}, set(), id="all"
        ),
        pytest.param(
            BASE, "flask>=2", WEB, {}, {"werkzeug": "0.16", "click": "7.0"}, set(), id="root-too-old"
        ),
        pytest.param(
            BASE,
            "flask>=2",
            {**WEB, "flask": ["werkzeug>=2", "click"]},
            {},
            {"click": "7.0"},
            set(),
            id="then-its-needs-too",
        ),
        pytest.param(
            {"flask 1.0.3": []},
            "flask",
            WEB,
            {},
            {"flask": "1.0.3"},
            {"werkzeug", "click"},
            id="brings-its-own",
        ),
        pytest.param(
            {"flask 1.0.3": []},
            "flask click",
            WEB,
            {},
            {"flask": "1.0.3"},
            {"werkzeug"},
            id="reached-otherwise",
        ),
        pytest.param({"click 7.0": []}, "flask", WEB, {}, {"click": "7.0"}, set(), id="leaf"),
        pytest.param({}, "flask", WEB, {}, {}, set(), id="empty-base"),
        pytest.param({"numpy 1": []}, "flask", WEB, {}, {}, set(), id="other-base"),
        pytest.param(
            {"a 1": ["c<2"], "c 1": []},
            "a c==2",
            {"a": ["c"], "c": []},
            {"c": "2"},
            {},
            set(),
            id="contradicted",
        ),
        pytest.param(
            {"a 1": ["b"], "b 1": ["c<2"], "c 1": []},
            "a c==2",
            {"a": ["b"], "b": ["c"], "c": []},
            {"c": "2"},
            {},
            set(),
            id="contradicted-below",
        ),
        pytest.param(
            {"a 1": ["c<2"], "c 1": []},
            "a c==2",
            {"a": ["c"], "c": []},
            {},
            {"a": "1"},
            set(),
            id="versions-not-given",
        ),
        pytest.param(
            {"b 1": []},
            "b c",
            {"b": [], "c": ["b @ https://index.example/b.whl"]},
            {},
            {},
            set(),
            id="direct-address",
        ),
        pytest.param({"b 1rc1": []}, "b>=1rc1", {"b": []}, {}, {"b": "1rc1"}, set(), id="pre-release"),
    ],
)
def test_the_base_stands_in_for_what_it_has(
    base: Mapping[str, Sequence[str]],
    roots: str,
    locked: Mapping[str, Sequence[str]],
    versions: dict[str, str],
    provided: dict[str, str],
    unneeded: set[str],
) -> None:
    found, left = omitted(base_of(base), roots, locked, **versions)

    assert (found, left) == (provided, unneeded)


@pytest.mark.parametrize(
    ("base", "locked", "provided"),
    [
        pytest.param(
            {"requests 2.28": ["PySocks>=1.5; extra == 'socks'"], "pysocks 1.7": []},
            {"requests": ["pysocks>=1.5; extra == 'socks'"], "pysocks": []},
            {"requests", "pysocks"},
            id="base-has-it",
        ),
        pytest.param(
            {"requests 2.28": ["PySocks>=1.5; extra == 'socks'"]},
            {"requests": ["pysocks>=1.5; extra == 'socks'"], "pysocks": []},
            {"requests"},
            id="it-stays",
        ),
        pytest.param(
            {"requests 2.28": ["PySocks>=1.5; extra == 'socks'"], "pysocks 1.0": []},
            {"requests": ["pysocks>=1.5; extra == 'socks'"], "pysocks": []},
            {"requests"},
            id="base-has-it-too-old",
        ),
        pytest.param(
            {"requests 2.28": ["win-inet>=1; extra == 'socks'"]},
            {"requests": ["pysocks>=1.5; extra == 'socks'"], "pysocks": []},
            set(),
            id="needs-another",
        ),
    ],
)
def test_an_extra_must_be_met_as_well(
    base: Mapping[str, Sequence[str]], locked: Mapping[str, Sequence[str]], provided: set[str]
) -> None:
    found, unneeded = omitted(base_of(base), "requests[socks]", locked)

    assert set(found) == provided
    assert unneeded == set()
    assert not set(omitted(base_of(base, source="freeze"), "requests[socks]", locked)[0]) & {"requests"}


NAMES = "abcdef"
LOCKS = st.fixed_dictionaries(
    {name: st.lists(st.tuples(st.sampled_from(NAMES), st.integers(1, 3)), max_size=3) for name in NAMES}
)


@settings(max_examples=200)
@given(
    locked=LOCKS,
    roots=st.lists(st.tuples(st.sampled_from(NAMES), st.integers(1, 3)), min_size=1, max_size=3),
    versions=st.dictionaries(st.sampled_from(NAMES), st.integers(1, 3)),
)
def test_the_set_is_sound_and_cannot_grow(
    locked: dict[str, list[tuple[str, int]]], roots: list[tuple[str, int]], versions: dict[str, int]
) -> None:
    """Compared with trying every set: the answer is the union of all sets that stand, and stands itself."""
    base = base_of({f"{name} {version}": [] for name, version in versions.items()})
    requires = {
        canonicalize_name(name): tuple(Requirement(f"{one}>={least}") for one, least in wants)
        for name, wants in locked.items()
    }
    asked = [Requirement(f"{name}>={least}") for name, least in roots]

    def stands(out: frozenset[str]) -> bool:
        waiting, kept = list(asked), set()
        while waiting:
            one = waiting.pop()
            if one.name in out:
                if not one.specifier.contains(str(versions[one.name])):
                    return False
            elif one.name not in kept:
                kept.add(one.name)
                waiting += requires[canonicalize_name(one.name)]
        return True

    subsets = [
        frozenset(name for at, name in enumerate(sorted(versions)) if bits >> at & 1)
        for bits in range(1 << len(versions))
    ]
    standing = [one for one in subsets if stands(one)]

    shuffled = random.Random(0).sample(asked, len(asked))
    found = frozenset(plan_provided(base, shuffled, requires, ENVIRONMENT).provided)

    assert stands(found)
    assert found == frozenset().union(*standing)
