"""Faults of wheels, and paths that several distributions install: what is a note, and what an error."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import pytest
from support.layers import layer_with

from bundler.bundle.plan import plan_bundle
from bundler.checks.contents import layer_facts
from bundler.checks.findings import Finding
from bundler.checks.wheels import wheel_findings

SITE = "lib/python3.7/site-packages"


def findings(
    *wheels: tuple[str, Mapping[str, bytes]],
    requested: str = "",
    loaded: Collection[str] = (),
    named: Collection[str] = ("common", "testing_tools", "x"),
    needed: Collection[tuple[str, str]] = (),
    requires: Mapping[str, str] = MappingProxyType({}),
) -> list[Finding]:
    """Return the findings about distributions with these files, paths in site-packages but for `/x`."""
    layers = [
        layer_with(
            name,
            {
                path[1:] if path.startswith("/") else f"{SITE}/{path}": content
                for path, content in files.items()
            },
            requires_dist=(requires[name],) if name in requires else (),
        )
        for name, files in wheels
    ]
    plan = plan_bundle(layers, {requested})
    facts = [layer_facts(layer, SITE) for layer in plan.layers]
    return list(wheel_findings(plan, facts, SITE, loaded, named=named, needed=needed))


def test_w701_each_fault_of_a_wheel() -> None:
    layer = layer_with("demo", {}, faults=("its WHEEL has no Tag", "its RECORD does not list: `x`"))

    assert list(wheel_findings(plan_bundle([layer]), [], SITE, ())) == [
        Finding(
            code="W701", message="`demo-1.0-py3-none-any.whl`: its WHEEL has no Tag", distribution="demo"
        ),
        Finding(
            code="W701",
            message="`demo-1.0-py3-none-any.whl`: its RECORD does not list: `x`",
            distribution="demo",
        ),
    ]


def test_equal_files_are_no_collision() -> None:
    layers = [layer_with(name, {f"{SITE}/LICENSE": b"", f"{SITE}/{name}.py": b""}) for name in "ab"]

    assert list(wheel_findings(plan_bundle(layers), [], SITE, ())) == []


@pytest.mark.parametrize(
    ("path", "code"),
    [
        pytest.param("LICENSE", "W702", id="license"),
        pytest.param("README.md", "W702", id="readme"),
        pytest.param("CHANGELOG.rst", "W702", id="changelog"),
        pytest.param("licenses/MIT.txt", "W702", id="data-directory"),
        pytest.param("/share/doc/x", "W702", id="data-scheme"),
        pytest.param("/etc/jupyter/x.json", "W702", id="settings"),
        pytest.param("tests/__init__.py", "W702", id="tests"),
        pytest.param("tests/data/x.json", "W702", id="data-of-tests"),
        pytest.param("test/test_x.py", "W702", id="test"),
        pytest.param("docs/conf.py", "W702", id="docs"),
        pytest.param("examples/run.py", "W702", id="examples"),
        pytest.param("setup.py", "W702", id="setup"),
        pytest.param("test_x.py", "W702", id="test-module"),
        pytest.param("conftest.py", "W702", id="conftest"),
        pytest.param("/bin/tool", "W703", id="launcher"),
        pytest.param("/libexec/tool", "W703", id="script"),
        pytest.param("common.py", "W704", id="module"),
        pytest.param("common.cpython-37m-x86_64-linux-gnu.so", "W704", id="extension"),
        pytest.param("pkg/__init__.py", "W704", id="package"),
        pytest.param("pkg/data.json", "W704", id="data-of-a-package"),
        pytest.param("ns/sub/x.py", "W704", id="namespace"),
        pytest.param("libx.so.1", "W704", id="library"),
        pytest.param("x.libs/libx.so", "W704", id="library-of-auditwheel"),
        pytest.param("tests/libx.so", "W704", id="library-of-tests"),
        pytest.param("/lib/libx.so.2.1", "W704", id="library-of-the-data-scheme"),
        pytest.param("x.pth", "W704", id="pth"),
        pytest.param("testing_tools.py", "W704", id="almost-tests"),
        pytest.param("/bin/sub/tool", "W702", id="below-bin"),
    ],
)
def test_the_kind_of_file_decides(path: str, code: str) -> None:
    other = {"pkg/x.py": b"", "test_only.py": b""} if path.startswith("pkg/") else {}
    found = findings(("one", {path: b"1", **other}), ("two", {path: b"2"}), requested="two")

    assert [(finding.code, finding.distribution, finding.where) for finding in found] == [
        (code, "two", path.removeprefix("/"))
    ]


@pytest.mark.parametrize(
    ("path", "name"), [("tests/__init__.py", "tests"), ("setup.py", "setup"), ("docs/a/x.txt", "docs")]
)
@pytest.mark.parametrize(
    ("loaded", "code"),
    [
        pytest.param((), "W702", id="none"),
        pytest.param(("other",), "W702", id="other"),
        pytest.param(("NAME",), "W704", id="by-another-module"),
    ],
)
def test_code_that_is_named_as_tests_counts_if_a_module_imports_it(
    path: str, name: str, loaded: tuple[str, ...], code: str
) -> None:
    imports = [name if key == "NAME" else key for key in loaded]
    found = findings(("one", {path: b"1", "docs/conf.py": b""}), ("two", {path: b"2"}), loaded=imports)

    assert [finding.code for finding in found] == [code]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        pytest.param({}, "W702", id="nothing-imports-it"),
        pytest.param({"named": ["common"]}, "W704", id="a-statement-imports-it"),
        pytest.param({"loaded": ["common"]}, "W704", id="an-import-loads-it"),
        pytest.param({"needed": [("two", "common")]}, "W702", id="of-the-one-that-ships"),
        pytest.param({"needed": [("one", "common")]}, "W704", id="of-the-one-that-does-not-ship"),
        pytest.param({"needed": [("one", "other")]}, "W702", id="another-module"),
        pytest.param({"requires": {"two": "three", "three": "one"}}, "W702", id="required-through-another"),
        pytest.param({"requires": {"one": "two"}}, "W704", id="required-by-the-one-that-does-not-ship"),
        pytest.param({"requires": {}}, "W704", id="independent-of-each-other"),
    ],
)
def test_a_single_module_counts_if_it_is_used(given: dict[str, Any], code: str) -> None:
    """As `jupyter.py` of jupyter 1.0.0 and of jupyter-core."""
    arguments: dict[str, Any] = {"named": (), "requires": {"two": "one"}, **given}
    wheels = (("one", {"common.py": b"1"}), ("two", {"common.py": b"2"}), ("three", {"three.py": b""}))
    found = findings(*wheels, requested="two", **arguments)

    assert [(finding.code, finding.distribution) for finding in found] == [(code, "two")]


def test_findings_are_grouped_by_kind_and_distributions() -> None:
    names = ("LICENSE", "NOTICE", "README.md", "AUTHORS")
    found = findings(
        ("rsa", {**dict.fromkeys(names, b"1"), "/bin/x": b"1"}),
        ("aws", {**dict.fromkeys(names, b"2"), "/bin/x": b"2"}),
        ("zed", {"/bin/x": b"3"}),
        requested="rsa",
    )

    assert found == [
        Finding(
            code="W703",
            message="`rsa`, `aws` and `zed` install different launchers at `bin/x`; the bundle has those of `rsa`",
            distribution="rsa",
            where="bin/x",
        ),
        Finding(
            code="W702",
            message=(
                "`rsa` and `aws` install different files at `AUTHORS`, `LICENSE`, `NOTICE` and 1 more; "
                "the bundle has those of `rsa`"
            ),
            distribution="rsa",
            where="AUTHORS",
        ),
    ]


def test_bytecode_is_reported_with_its_source() -> None:
    files = {"x.py": b"1", "__pycache__/x.cpython-37.pyc": b"1"}
    found = findings(("one", files), ("two", dict.fromkeys(files, b"2")))

    assert [(finding.code, finding.where) for finding in found] == [("W704", "x.py")]
