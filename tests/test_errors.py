"""Every expected failure has a kind and an exit code of its own, and shows its evidence."""

from __future__ import annotations

import re
import traceback

import pytest
from support.paths import ROOT

from bundler import errors
from bundler.errors import BundlerError, InputError

KINDS = [value for name, value in vars(errors).items() if name in errors.__all__]
# 0 is success, 6 is reserved for signatures, 130 and 143 are the signals.
RESERVED = {0, 6, 130, 143}


def test_each_class_has_its_exit_code_and_its_kind() -> None:
    """The numbers are an interface: scripts compare them."""
    assert {kind.__name__: (kind.exit_code, kind.slug) for kind in KINDS} == {
        "BundlerError": (1, "unexpected"),
        "ClosureError": (10, "closure"),
        "InputError": (3, "input"),
        "IntegrityError": (5, "integrity"),
        "InterpreterError": (8, "interpreter"),
        "MalformedError": (7, "malformed"),
        "NetworkError": (9, "network"),
        "OutputError": (11, "output"),
        "ResolutionError": (4, "resolution"),
        "UsageError": (2, "usage"),
    }


def test_no_two_classes_share_an_exit_code_and_none_is_reserved() -> None:
    codes = [kind.exit_code for kind in KINDS]

    assert len(set(codes)) == len(codes) == len({kind.slug for kind in KINDS})
    assert not RESERVED.intersection(codes)


def test_the_documentation_lists_every_exit_code_with_its_kind() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", text, re.MULTILINE)

    assert sorted(rows) == sorted((str(kind.exit_code), kind.slug) for kind in KINDS)
    assert all(f"## {kind.slug}\n" in text for kind in KINDS)


def test_every_exported_class_is_an_expected_failure() -> None:
    assert all(issubclass(kind, BundlerError) for kind in KINDS)
    assert [kind.__name__ for kind in BundlerError.__subclasses__()] == [
        name for name in errors.__dict__ if name in errors.__all__ and name != "BundlerError"
    ]


def test_an_error_holds_its_parts() -> None:
    error = InputError("it failed", evidence=("wanted  a", "found   b"), hint="do this", facts={"a": 1})

    assert (error.message, error.evidence, error.hint, error.facts) == (
        "it failed",
        ("wanted  a", "found   b"),
        "do this",
        {"a": 1},
    )
    assert str(error) == "it failed"


def test_a_traceback_shows_evidence_and_hint_as_notes() -> None:
    error = InputError("it failed", evidence=("wanted  a", "found   b"), hint="do this")

    assert "".join(traceback.format_exception_only(error)) == (
        "bundler.errors.InputError: it failed\n  wanted  a\n  found   b\nhint: do this\n"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_needs_a_message_alone(kind: type[BundlerError]) -> None:
    error = kind("it failed")

    assert (error.evidence, error.hint, error.facts) == ((), None, None)
    assert not hasattr(error, "__notes__")
