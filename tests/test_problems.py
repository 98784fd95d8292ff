"""Problems of the user's input: one error for all of them, without secrets or control characters."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler import redaction
from bundler.problems import (
    Problem,
    ProblemError,
    closest,
    display_path,
    first_line,
    input_error,
    is_url,
    register_urls,
)
from bundler.redaction import redact, register_secret


@pytest.fixture(autouse=True)
def _empty_register(monkeypatch: pytest.MonkeyPatch) -> None:
    """The register belongs to the process: a secret of one test must not mask the texts of another."""
    monkeypatch.setattr(redaction, "_secrets", set())


def problem(fact: str, *details: str, hint: str | None = None, quoted: str = "", line: int = 1) -> Problem:
    return Problem(
        where=f"requirements.txt:{line}",
        refused=ProblemError(fact, details=details, hint=hint),
        quoted=quoted,
    )


# --- input_error ----------------------------------------------------------------------------------


def test_one_problem_is_the_whole_error() -> None:
    error = input_error([problem("it is bad", "wanted  good", hint="do this", quoted="pkg @ x")])

    assert error.message == "requirements.txt:1: it is bad"
    assert error.evidence == ("line    `pkg @ x`", "wanted  good")
    assert error.hint == "do this"
    assert error.exit_code == 3


def test_a_problem_without_line_and_hint_has_no_evidence() -> None:
    error = input_error([problem("it is bad")])

    assert (error.evidence, error.hint) == ((), None)


def test_several_problems_are_listed_in_their_order_each_with_its_own_evidence() -> None:
    error = input_error(
        [
            problem("it is bad", "wanted  good", hint="do this", quoted="pkg"),
            problem("it is worse", line=2),
            problem("it is worst", line=3, hint="or that"),
        ]
    )

    assert error.message == "3 problems in the requirements"
    assert error.evidence == (
        "requirements.txt:1: it is bad",
        "  line    `pkg`",
        "  wanted  good",
        "  hint    do this",
        "requirements.txt:2: it is worse",
        "requirements.txt:3: it is worst",
        "  hint    or that",
    )
    assert error.hint is None


@pytest.mark.parametrize(("length", "quoted"), [(200, "x" * 200), (201, "x" * 200 + "...")])
def test_a_long_line_is_quoted_in_part(length: int, quoted: str) -> None:
    error = input_error([problem("it is bad", quoted="x" * length)])

    assert error.evidence == (f"line    `{quoted}`",)


@pytest.mark.attack("secrets")
def test_a_secret_at_the_end_of_a_quotation_is_masked_before_it_is_cut() -> None:
    """Half a secret would not be recognized any more."""
    register_secret("hunter2-hunter2")
    error = input_error([problem("it is bad", quoted="x" * 190 + "hunter2-hunter2")])

    assert error.evidence == (f"line    `{'x' * 190}****`",)


@pytest.mark.attack("secrets")
@pytest.mark.parametrize("count", [1, 2])
def test_every_text_of_the_error_is_redacted_and_printable(count: int) -> None:
    register_secret("hunter2")
    bad = "hunter2\x1b[31m https://me:pw@host/"
    error = input_error([problem(bad, bad, hint=bad, quoted=bad)] * count)

    texts = [error.message, *error.evidence, error.hint or ""]
    assert not [text for text in texts if "hunter2" in text or "pw" in text or not text.isprintable()]
    shown = "****\\x1b[31m https://****@host/"
    assert sum(shown in text for text in texts) == (4 if count == 1 else 8)


def test_a_problem_holds_its_parts() -> None:
    error = ProblemError("it is bad", details=("a", "b"), hint="do this", line=7)

    assert (error.fact, error.details, error.hint, error.line) == ("it is bad", ("a", "b"), "do this", 7)
    assert str(error) == "it is bad"
    assert (ProblemError("x").details, ProblemError("x").hint, ProblemError("x").line) == ((), None, None)


# --- URLs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["https://h/x", "HTTP://h", "git+ssh://h", "file:x", "FILE:///x", "a.b-c+1://h"]
)
def test_a_text_that_starts_like_a_url_is_one(text: str) -> None:
    assert is_url(text)


@pytest.mark.parametrize(
    "text", ["", "./x", "C:/x", "x/https://h", " https://h", "profile:x", "1://h", "://h"]
)
def test_any_other_text_is_a_path(text: str) -> None:
    assert not is_url(text)


@pytest.mark.attack("secrets")
@pytest.mark.parametrize(
    ("text", "secret"),
    [
        pytest.param("https://me:hunter2@h/", "hunter2", id="password"),
        pytest.param("a https://x/ b 'git+https://token@h/r' c", "token", id="second-of-two"),
        pytest.param("x https://h/?sig=secret", "sig=secret", id="query"),
        pytest.param("https://me:hunter2@[h/", "me:hunter2", id="malformed-host"),
        pytest.param("https://me:hunter2@h:99@[x", "me:hunter2@h:99", id="malformed-host-last-at-sign"),
        pytest.param('"https://me:hunter2@h">', "hunter2", id="in-quotes"),
    ],
)
def test_the_secrets_of_every_url_in_a_text_are_registered(text: str, secret: str) -> None:
    register_urls(text)

    assert redact(f"<{secret}>") == "<****>"


@pytest.mark.parametrize("text", ["me:hunter2@h", "https://h/path", "://me:hunter2@h", "1://me:hunter2@h"])
def test_a_text_without_a_url_registers_nothing(text: str) -> None:
    register_urls(text)

    assert redact("me:hunter2 path") == "me:hunter2 path"


@pytest.mark.parametrize("end", ["'", '"', "<", ">", " ", "\n"])
def test_quotes_brackets_and_spaces_end_a_url(end: str) -> None:
    register_urls(f"https://h/?sig=secret{end}more")

    assert redact(f"sig=secret{end}more") == f"****{end}more"


# --- words of others ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Expected end.", "expected end"),
        ("\n  Expected\nmore", "expected"),
        ("ABC", "aBC"),
        ("done. .", "done"),
        ("MAX", "mAX"),
        ("", ""),
        ("x", "x"),
    ],
)
def test_the_first_line_of_an_error_continues_a_sentence(text: str, line: str) -> None:
    assert first_line(ValueError(text)) == line


@given(text=st.text())
def test_the_first_line_is_one_line(text: str) -> None:
    line = first_line(ValueError(text))

    assert "\n" not in line
    assert line == line.rstrip(". ")


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/here/a/b.txt", "a/b.txt"),
        ("/here", "."),
        ("/heresy/x", "/heresy/x"),
        ("/etc/x", "/etc/x"),
        ("x", "x"),
        ("/here/a\x1b", "a\\x1b"),
    ],
)
def test_a_path_is_displayed_relative_inside_the_working_directory(path: str, shown: str) -> None:
    assert display_path(Path(path), Path("/here")) == shown


@pytest.mark.parametrize(
    ("word", "known", "match"),
    [
        ("dependencys", ["name", "dependencies", "channels"], "dependencies"),
        ("name", ["names", "name"], "name"),
        ("abcdefghij", ["abcdefgxyz"], "abcdefgxyz"),  # ratio 0.7
        ("abcdefghij", ["abcdefwxyz"], None),  # ratio 0.6
        ("x", [], None),
    ],
)
def test_the_closest_known_word_is_suggested_if_one_is_close(
    word: str, known: list[str], match: str | None
) -> None:
    assert closest(word, iter(known)) == match


def test_a_long_list_ends_after_ten_problems() -> None:
    error = input_error([problem(f"p{number}", line=number) for number in range(1, 2400)])

    assert error.message == "2399 problems in the requirements"
    assert error.evidence == (*(f"requirements.txt:{n}: p{n}" for n in range(1, 11)), "and 2389 more")
    assert "more" not in str(input_error([problem("p")] * 10).evidence)
