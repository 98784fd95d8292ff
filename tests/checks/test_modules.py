"""What to import of a bundle, and which requirements are unmet."""

from __future__ import annotations

import pytest
from packaging.requirements import Requirement
from support.facts import ENVIRONMENT, facts

from bundler.checks.dependencies import unasked_extras, unmet_requirements
from bundler.checks.modules import namesakes, shared_packages, top_level_modules

# --- top_level_modules ------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "modules"),
    [
        pytest.param("six.py six-1.dist-info/RECORD __pycache__/six.cpython-37.pyc", "six", id="module"),
        pytest.param("p/__init__.py p/sub/__init__.py p/x.py", "p", id="package-not-its-parts"),
        pytest.param("p/__init__.py p/__main__.py", "p", id="K30-main-beside-init"),
        pytest.param("p/__main__.py", "p", id="K30-main-alone"),
        pytest.param("p/__main__.py p/data/x.txt p/q/__init__.py", "p.q", id="K30-main-of-a-namespace"),
        pytest.param("__main__.py __init__.py", "", id="K30-main-at-the-root"),
        pytest.param("real.py x-1.dist-info/top_level.txt lied.txt", "real", id="K30-top-level-lies"),
        pytest.param("google/cloud/storage/__init__.py", "google.cloud.storage", id="pep420-deep"),
        pytest.param("jaraco/functools.py jaraco/py.typed", "jaraco.functools", id="pep420-module"),
        pytest.param("ns/a/__init__.py ns/b/c/__init__.py ns/d.py", "ns.a ns.b.c ns.d", id="pep420-several"),
        pytest.param("azure/data/tables/__init__.py", "azure.data.tables", id="pep420-below-named-data"),
        pytest.param("x.cpython-37m-x86_64-linux-gnu.so", "x", id="ext-3.7"),
        pytest.param("_x.cpython-311-x86_64-linux-gnu.so", "_x", id="ext-3.11"),
        pytest.param("x.cpython-313t-aarch64-linux-musl.so", "x", id="ext-free-threaded"),
        pytest.param("x.abi3.so y.so z.pyd w.cp37-win_amd64.pyd", "w x y z", id="ext-others"),
        pytest.param("p/__init__.cpython-37m-x86_64-linux-gnu.so p/a.py", "p", id="ext-init"),
        pytest.param("ns/x.abi3.so", "ns.x", id="ext-in-namespace"),
        pytest.param("libx.so libx.so.1 x.libs/libz-1a2b.so.6 _x.abi3.so", "_x", id="shared-libraries"),
        pytest.param("libx.abi3.so", "libx", id="ext-named-as-a-library"),
        pytest.param("m.pyc p/__init__.pyc", "m p", id="K27-bytecode-only"),
        pytest.param(
            "a-b.py 1x.py class.py x.y.py a b.py".replace("a b", "a\u00a0b"), "", id="no-identifiers"
        ),
        pytest.param("größe.py 模块/__init__.py", "größe 模块", id="K21-non-ascii"),
        pytest.param("pkg-stubs/__init__.pyi typed/py.typed typed/x.pyi d/x.json", "", id="data-and-stubs"),
        pytest.param(
            "share/doc/x.py examples/demo.py docs/conf.py tests/test_x.py bin/run.py", "", id="samples"
        ),
        pytest.param("tests/__init__.py tests/test_x.py", "tests", id="K14-tests-package"),
        pytest.param("../../../bin/x.py /etc/x.py ./x.py", "", id="outside"),
        pytest.param("e.egg-info/PKG-INFO e-1.data/scripts/x.py hook.pth", "", id="metadata"),
        pytest.param("", "", id="K26-nothing"),
    ],
)
def test_modules_come_from_record(files: str, modules: str) -> None:
    assert top_level_modules(files.split(" ")) == tuple(modules.split())


def test_modules_do_not_depend_on_the_order_and_come_once() -> None:
    files = ["b.py", "a/x/__init__.py", "b.cpython-37m-x86_64-linux-gnu.so", "a/c.py"]

    assert top_level_modules(files) == top_level_modules(files[::-1]) == ("a.c", "a.x", "b")


# --- unmet_requirements -----------------------------------------------------


@pytest.mark.parametrize(
    ("present", "roots", "unmet"),
    [
        pytest.param([("a", "1", ("b>=1",)), ("b", "1", ())], [], [], id="met"),
        pytest.param([("a", "1", ("b",))], [], ["a: b: None"], id="K13-missing"),
        pytest.param([("a", "1", ("b>=2",)), ("b", "1.9", ())], [], ["a: b>=2: 1.9"], id="K13-out-of-range"),
        pytest.param([("a", "1", ("B.B>=2",)), ("b-b", "2", ())], [], [], id="names-are-normalised"),
        pytest.param([("a", "1", ("b; python_version>'3.7'",))], [], [], id="K13-marker-false"),
        pytest.param(
            [("a", "1", ("b; python_version=='3.7'",))],
            [],
            ['a: b; python_version == "3.7": None'],
            id="K13-marker-true",
        ),
        pytest.param([("a", "1", ("b; extra=='x'",))], ["a"], [], id="K13-extra-not-asked-for"),
        pytest.param(
            [("a", "1", ("b; extra=='x'",))], ["a[x]"], ['a: b; extra == "x": None'], id="K13-extra-of-a-root"
        ),
        pytest.param(
            [("c", "1", ("a[x]",)), ("a", "1", ("b; extra=='x'",))],
            [],
            ['a: b; extra == "x": None'],
            id="extra-of-a-distribution",
        ),
        pytest.param(
            [("a", "1", ("a[x_1]; extra=='all'", "b; extra=='x-1'"))],
            ["a[all]"],
            ['a: b; extra == "x-1": None'],
            id="extra-of-its-own-extra",
        ),
        pytest.param(
            [("c", "1", ("a[x]; extra=='y'",)), ("a", "1", ("b; extra=='x'",))],
            ["c"],
            [],
            id="extra-behind-an-extra-not-asked-for",
        ),
        pytest.param([("a", "1", ("b>=1",)), ("b", "2.0rc1", ())], [], [], id="prerelease-counts"),
        pytest.param([("a", "1", ())], ["a==2", "z"], ["-: a==2: 1", "-: z: None"], id="roots"),
        pytest.param([], ["z; sys_platform=='win32'"], [], id="root-marker-false"),
        pytest.param(
            [("b", "1", ("y",)), ("a", "1", ("z", "z"))],
            [],
            ["a: z: None", "b: y: None"],
            id="sorted-and-once",
        ),
    ],
)
def test_unmet(present: list[tuple[str, str, tuple[str, ...]]], roots: list[str], unmet: list[str]) -> None:
    distributions = [facts(name, version, requires=requires) for name, version, requires in present]
    found = unmet_requirements(distributions, [Requirement(root) for root in roots], ENVIRONMENT)

    assert [f"{one.distribution or '-'}: {one.requirement}: {one.found}" for one in found] == unmet


def test_a_package_that_two_distributions_share_is_entered() -> None:
    """K17: pkgutil-style; each brings the `__init__`, and their parts are below it."""
    one = facts("one", files=("ns/__init__.py", "ns/a/__init__.py"))
    two = facts("two", files=("ns/__init__.py", "ns/b.py", "tests/__init__.py", "tests/test_b.py"))
    three = facts(
        "three", files=("tests/__init__.py", "tests/conftest.py", "alone/__init__.py", "alone/x.py")
    )
    shared = shared_packages([one, two, three])

    assert shared == {"ns"}
    assert top_level_modules(one.files, shared) == ("ns", "ns.a")
    assert top_level_modules(two.files, shared) == ("ns", "ns.b", "tests")
    assert top_level_modules(three.files, shared) == ("alone", "tests")


def test_the_extras_that_nobody_asked_for() -> None:
    a = facts("a", requires=("b; extra=='x'", "c; extra=='y'", "d; sys_platform=='win32'", "e"))

    assert unasked_extras([a], [Requirement("a[x]")], ENVIRONMENT) == {"a": {"c", "d"}}


@pytest.mark.parametrize(
    ("name", "files", "expected"),
    [
        pytest.param("azureml-core", ("azureml/__init__.py", "azureml/core/__init__.py"), "azureml.core", id="package"),
        pytest.param("ruamel-yaml", ("ruamel/yaml.py", "ruamel/yaml_x.py"), "ruamel.yaml", id="module"),
        pytest.param("a-b", ("a/b.cpython-37m-x86_64-linux-gnu.so",), "a.b", id="extension"),
        pytest.param("six", ("six.py",), "six", id="top"),
        pytest.param("pytest-cov", ("pytest_cov/__init__.py", "pytest/cov.py"), "pytest.cov pytest_cov", id="two"),
        pytest.param("a-b", ("a-b/__init__.py", "a/b/data.txt", "a/b/c.py"), "", id="none"),
        pytest.param("a-1-0-dist-info", ("a-1.0.dist-info/__init__.py",), "", id="not-a-module"),
    ],
)  # fmt: skip
def test_namesakes(name: str, files: tuple[str, ...], expected: str) -> None:
    assert namesakes(name, files) == tuple(expected.split())
