"""Why something is in a bundle, what a finding means, and the commands that say so."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.bundles import VERIFICATION, entries_of, manifest_values, packed

from bundler.bundle.manifest import Manifest, make_manifest
from bundler.checks.explain import findings_of, is_code, rule_of, why
from bundler.data.finding_rules import rules_by_code
from bundler.errors import InputError, InterpreterError
from bundler.target.scripts import script

if TYPE_CHECKING:
    from support.cli import BundlerCli

FOUND = [
    {
        "allowed": True,
        "code": "M101",
        "distribution": "pkg",
        "message": "`pkg` brings `enum`",
        "severity": "error",
        "where": "enum",
    },
    {
        "allowed": False,
        "code": "I203",
        "distribution": "z-last",
        "message": "`z-last` imports `none`",
        "severity": "note",
        "where": "z.py:3",
    },
    {
        "allowed": False,
        "code": "M106",
        "distribution": "pkg",
        "message": "`tool` of `pkg`",
        "severity": "note",
        "where": "",
    },
]


def manifest_of(
    requirements: tuple[str, ...] = ("pkg",),
    requires: Mapping[str, tuple[str, ...]] | None = None,
    **changes: Any,
) -> Manifest:
    """Return the manifest of a bundle that holds `pkg` and the distributions of a mapping, with what they require."""
    requires = {"pkg": (), **(requires or {})}
    (pkg,) = manifest_values()["distributions"]
    listed = [
        {**pkg, "name": name, "requires_dist": list(texts), "wheel": f"{name}-1.0-py3-none-any.whl"}
        for name, texts in sorted(requires.items())
    ]
    values = manifest_values(requirements=list(requirements), distributions=listed)
    return make_manifest({**values, **changes})


# --- why --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requirements", "requires", "chain", "required_by"),
    [
        pytest.param(("X>=1",), {}, "your requirements ask for `X>=1`", "you (X>=1)", id="asked-for"),
        pytest.param(
            ("pkg",),
            {"pkg": ("A_a",), "a-a": ("x<2",)},
            "your requirements ask for `pkg` | `pkg` requires `A_a` | `a-a` requires `x<2`",
            "a-a (x<2)",
            id="through-two",
        ),
        pytest.param(
            ("b", "pkg"),
            {"pkg": ("a",), "a": ("x",), "b": ("x>1",)},
            "your requirements ask for `b` | `b` requires `x>1`",
            "a (x), b (x>1)",
            id="the-shortest-way",
        ),
        pytest.param(
            ("pkg", "x"),
            {"pkg": ("x>1", "x>1")},
            "your requirements ask for `x`",
            "you (x), pkg (x>1)",
            id="you-first-and-each-once",
        ),
        pytest.param(
            ("pkg",),
            {"pkg": ("a",), "a": ("pkg", "x")},
            "your requirements ask for `pkg` | `pkg` requires `a` | `a` requires `x`",
            "a (x)",
            id="circle",
        ),
        pytest.param(
            ("pkg; python_version < '3.8'",),
            {"pkg": ("x; sys_platform == 'linux' and platform_machine == 'x86_64'",)},
            "your requirements ask for `pkg` | `pkg` requires `x`",
            "pkg (x)",
            id="marker-that-holds",
        ),
        pytest.param(
            ("x; python_version >= '3.8'",),
            {"pkg": ("x; os_name == 'nt'", "x; python_full_version > '3.7.16'")},
            "",
            "",
            id="marker-that-does-not",
        ),
        pytest.param(
            ("pkg[fast]",),
            {"pkg": ("x>1; extra == 'fast'",)},
            "your requirements ask for `pkg[fast]` | `pkg` requires `x>1`",
            "pkg (x>1)",
            id="extra-of-yours",
        ),
        pytest.param(
            ("pkg",),
            {"pkg": ("a[Fast_er]",), "a": ("a[all]; extra == 'fast-er'", "x; extra == 'all'")},
            "your requirements ask for `pkg` | `pkg` requires `a[Fast_er]` | `a` requires `x`",
            "a (x)",
            id="extra-of-its-own-extra",
        ),
        pytest.param(
            ("pkg[a]", "pkg[b]"),
            {"pkg": ("x; extra == 'a'", "x>1; extra == 'b'")},
            "your requirements ask for `pkg[a]` | `pkg` requires `x`",
            "pkg (x), pkg (x>1)",
            id="extras-of-several",
        ),
        pytest.param(
            ("pkg",), {"pkg": ("x; extra == 'fast'",)}, "", "", id="extra-that-nobody-asked-for"
        ),
        pytest.param(
            ("./dist/pkg.whl", "x @ https://index.example/x-1.0-py3-none-any.whl"),
            {},
            "your requirements ask for `x @ https://index.example/x-1.0-py3-none-any.whl`",
            "you (x @ https://index.example/x-1.0-py3-none-any.whl)",
            id="paths-and-addresses",
        ),
    ],
)  # fmt: skip
def test_why(
    requirements: tuple[str, ...], requires: dict[str, tuple[str, ...]], chain: str, required_by: str
) -> None:
    reason = why(manifest_of(requirements, {"x": (), **requires}), "X")

    assert " | ".join(reason.chain) == chain
    assert ", ".join(reason.required_by) == required_by
    assert (reason.name, reason.version, reason.wheel) == ("x", "1.0", "x-1.0-py3-none-any.whl")


def test_why_of_what_is_left_to_the_base() -> None:
    reason = why(manifest_of(requires={"pkg": ("Numpy>=1",)}, base={"provided": {"numpy": "1.21"}}), "NumPy")

    assert reason.to_json() == {
        "name": "numpy",
        "version": "1.21",
        "wheel": "",
        "chain": ["your requirements ask for `pkg`", "`pkg` requires `Numpy>=1`"],
        "required_by": ["pkg (Numpy>=1)"],
    }


def test_why_of_what_is_not_there_says_what_is() -> None:
    with pytest.raises(InputError, match="`no\\\\x1b` is not in `small`") as raised:
        why(manifest_of(requires={"a": ()}), "no\x1b")

    assert raised.value.evidence == ("found   a, pkg",)


# --- codes and findings -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [("I201", True), ("i201", True), ("Z999", True), ("six", False), ("h5py", False), ("I20", False),
     ("I2011", False), ("1201", False), ("", False)],
)  # fmt: skip
def test_what_has_the_form_of_a_code(text: str, expected: bool) -> None:
    assert is_code(text) is expected


def test_every_code_has_that_form_and_is_found() -> None:
    for code, rule in rules_by_code().items():
        assert is_code(code)
        assert rule_of(code) is rule_of(code.lower()) is rule


def test_a_code_that_is_none() -> None:
    with pytest.raises(InputError, match="`Z999` is not a finding code") as raised:
        rule_of("Z999")

    assert (raised.value.evidence, raised.value.hint) == ((), "bundler explain")

    with pytest.raises(InputError) as raised:
        rule_of("M199")
    (known,) = raised.value.evidence
    assert sorted(known.removeprefix("known   ").split(", ")) == sorted(
        code for code in rules_by_code() if code[0] == "M"
    )


@pytest.mark.parametrize(
    ("chosen", "codes"),
    [
        ({}, "M101 I203 M106"),
        ({"code": "m101"}, "M101"),
        ({"code": "U303"}, ""),
        ({"distribution": "Z_Last"}, "I203"),
        ({"distribution": "pkg", "code": "M106"}, "M106"),
        ({"distribution": "z-last", "code": "M106"}, ""),
    ],
)
def test_findings_of(chosen: dict[str, str], codes: str) -> None:
    manifest = manifest_of(verification={**VERIFICATION, "findings": FOUND})

    assert [one.code for one in findings_of(manifest, **chosen)] == codes.split()


def imported(module: str, status: str) -> dict[str, Any]:
    """Return the section of one import."""
    facts = {
        "declared": True,
        "detail": "",
        "distribution": module,
        "missing": None,
        "tried": [],
        "wrote": [],
    }
    return {**facts, "module": module, "status": status}


# --- the commands -----------------------------------------------------------------------------------


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle in which everything is found that `inspect` shows."""
    outcomes = [imported("pkg", "ok"), imported("z", "failed")]
    manifest = manifest_of(
        requires={"pkg": ("z-last[x]", "numpy"), "z-last": ()},
        base={"provided": {"numpy": "1.21"}},
        verification={
            **VERIFICATION,
            "findings": FOUND,
            "glibc": "2.17",
            "ways": {"mount": outcomes, "venv": outcomes[:1]},
        },
    )
    path = tmp_path / f"{manifest.stem}.tar.gz"
    path.write_bytes(packed(entries_of(manifest)))
    return path


def test_inspect_shows_what_was_found(bundler_cli: BundlerCli, bundle: Path) -> None:
    said = bundler_cli.run("inspect", str(bundle), "--notes")
    lines = said.stdout.splitlines()

    assert said.returncode == 0
    assert said.stderr.startswith("note      from the manifest; `bundler verify ")
    assert lines[1] == "verdict   works except for 1 accepted error and 1 import that may fail"
    assert "base      must have numpy 1.21" in lines
    assert lines[10] == "error, allowed  M101  `pkg` brings `enum`  [enum]"
    assert lines[-2:] == [
        "note      I203  `z-last` imports `none`  [z.py:3]",
        "note      M106  `tool` of `pkg`",
    ]


def test_inspect_of_a_bundle_in_which_nothing_was_found(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    manifest = manifest_of()
    path = tmp_path / "small.tar.gz"
    path.write_bytes(packed(entries_of(manifest)))
    said = bundler_cli.run("inspect", str(path), "--notes").stdout

    assert said.splitlines()[-1].endswith("pkg-1.0-py3-none-any.whl")
    assert "base      nothing is left to the base\nfindings  0 errors, 0 warnings, 0 notes\n" in said


@pytest.mark.parametrize(("code", "columns"), [("I205", 100), ("I204", 200), ("M101", 60)])
def test_explain_a_code(code: str, columns: int, bundler_cli: BundlerCli) -> None:
    rule = rules_by_code()[code]
    ended = bundler_cli.run("explain", code.lower(), env={"COLUMNS": str(columns)})

    assert (ended.returncode, ended.stderr) == (0, "")
    first, *rest = ended.stdout.split("\n\n")
    assert first.startswith(f"{code}  {rule.title[:20]}")
    assert " ".join(first.split()) == f"{code} {rule.title} ({rule.severity})"
    assert [" ".join(part.split()) for part in rest] == [" ".join(rule.text.split()), f"Fix: {rule.fix}."]
    assert all(len(line) <= min(columns, 100) for line in ended.stdout.splitlines())


def test_explain_fills_the_lines_of_a_wide_terminal(bundler_cli: BundlerCli) -> None:
    stdout = bundler_cli.run("explain", "I204", env={"COLUMNS": "200"}).stdout
    first, text, _ = stdout.split("\n\n")

    assert first.splitlines()[1].startswith("      ")
    for part in (first, text):
        line, following, *_ = part.splitlines()
        assert len(line) <= 100 < len(f"{line} {following.split()[0]}")


def test_explain_a_code_in_a_bundle(bundler_cli: BundlerCli, bundle: Path) -> None:
    lines = bundler_cli.run("explain", "M101", str(bundle)).stdout.splitlines()
    result = bundler_cli.run("explain", "M101", str(bundle), "--json").json["result"]

    assert lines[-2:] == ["", "error, allowed  M101  `pkg` brings `enum`  [enum]"]
    assert result == {
        "code": "M101",
        "severity": "error",
        "title": rules_by_code()["M101"].title,
        "text": rules_by_code()["M101"].text,
        "fix": rules_by_code()["M101"].fix,
        "findings": FOUND[:1],
    }


def test_explain_a_distribution(bundler_cli: BundlerCli, bundle: Path) -> None:
    ended = bundler_cli.run("explain", "Z_Last", str(bundle))
    result = bundler_cli.run("explain", "numpy", str(bundle), "--json").json["result"]

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "z-last 1.0  z-last-1.0-py3-none-any.whl",
        "because      your requirements ask for `pkg`",
        "because      `pkg` requires `z-last[x]`",
        "required by  pkg (z-last[x])",
        "note      I203  `z-last` imports `none`  [z.py:3]",
    ]
    assert set(result) == {"name", "version", "wheel", "chain", "required_by", "findings"}
    assert (result["version"], result["wheel"], result["findings"]) == ("1.21", "", [])


def test_explain_what_is_left_to_the_base(bundler_cli: BundlerCli, bundle: Path) -> None:
    assert bundler_cli.run("explain", "numpy", str(bundle)).stdout.splitlines()[0] == (
        "numpy 1.21  provided by the base"
    )


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        pytest.param(["explain", "Z999"], InputError.exit_code, "`Z999` is not a finding code", id="no-code"),
        pytest.param(
            ["explain", "six"], 2, "bundler: hint: bundler inspect small-1.0-cp37-linux_x86_64.tar.gz --notes", id="distribution-without-bundle"
        ),
        pytest.param(
            ["explain", "six", "{bundle}"], InputError.exit_code, "`six` is not in `small`", id="not-in-it"
        ),
        pytest.param(["explain", "I201", "missing"], 11, "missing: file not found", id="no-bundle"),
        pytest.param(["profile", "missing"], 3, "missing: file or directory not found", id="no-source"),
        pytest.param(["profile", "--script", "--python", "3.7"], 2, "exclude each other", id="script-and-python"),
        pytest.param(["profile", "{bundle}", "--script"], 2, "exclude each other", id="source-and-script"),
        pytest.param(
            ["profile", "{bundle}", "--python", "3.7"], 2, "exclude each other", id="source-and-python"
        ),
        pytest.param(["profile", "--python", "2.99"], InterpreterError.exit_code, "Python 2.99 is not supported", id="no-python"),
    ],
)  # fmt: skip
def test_what_cannot_be_said(
    args: list[str], code: int, said: str, bundler_cli: BundlerCli, bundle: Path
) -> None:
    ended = bundler_cli.run(*(arg.format(bundle=bundle) for arg in args), cwd=bundle.parent)

    assert (ended.returncode, ended.stdout) == (code, "")
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_profile_prints_the_script_that_makes_one(
    bundler_cli: BundlerCli, python37: Path, tmp_path: Path
) -> None:
    """Byte for byte, so that what the target prints is what `profile` prints of a Python here."""
    ended = bundler_cli.run("profile", "--script")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == script("capture").read_text("utf-8")

    (tmp_path / "capture.py").write_text(ended.stdout)
    there = subprocess.run(
        [python37, "-s", "capture.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    here = bundler_cli.run("profile", "--python", str(python37))
    assert (here.returncode, here.stderr) == (0, "")
    assert json.loads(there) == json.loads(here.stdout)
    assert json.loads(here.stdout)["python"]["version"].startswith("3.7.")


def test_profile_of_a_profile_and_of_a_freeze(bundler_cli: BundlerCli, tmp_path: Path) -> None:
    (tmp_path / "freeze.txt").write_text("Flask==2.0.1\n# a comment\nazureml_core==1.2\n")
    first = bundler_cli.run("profile", "freeze.txt", cwd=tmp_path)
    (tmp_path / "base.json").write_text(first.stdout)
    again = bundler_cli.run("profile", "base.json", cwd=tmp_path)

    assert (first.returncode, first.stderr) == (0, "")
    assert sorted(one["name"] for one in json.loads(first.stdout)["distributions"]) == [
        "azureml-core",
        "flask",
    ]
    assert again.stdout == first.stdout
