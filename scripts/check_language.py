"""Count the words and phrases that CONTRIBUTING.md, section "Language", replaces with better ones.

    python scripts/check_language.py [ROOT]
    python scripts/check_language.py --list HABIT [ROOT]

Reads the docstrings, comments and string messages of bundler/**/*.py, the strings and comments of
bundler/data/*.toml, and the prose of *.md and docs/*.md. Code does not count: code blocks, `code spans`,
doctests and the targets of links. Prints the rate of each habit, and exits with 1 if one of them occurs
more than 5 times per 10,000 words. With --list, prints file, line and sentence of each occurrence.
"""

import argparse
import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

MAX_RATE = 5
PER_WORDS = 10_000

# The verb "hold" and "keep" of rule 4 are not counted: locks are held and files are kept.
HABITS = {
    # Rule 1. Memory and network hosts have addresses; an index has a URL.
    "address": r"\b(?<!IP )(?<!memory )address(?:es)?\b(?! space)",
    "folder": r"\bfolders?\b",
    # Rule 2. "There is no X" and "is no longer" are good English, "X is no Y" is not.
    "is no": r"\b(?<!there )(?:is|are|was|were) no\b(?! longer\b| more than\b| less than\b)",
    "is there": r"\b(?:is|are|was|were)(?: not)? there\b(?=\s+already|\s+again|\s*[.,;:)]|\s*$)",
    # Rule 3. A question is not a noun.
    "what": r"\bwhat(?:ever)?\b(?![^.!?]*\?)",
    # Rule 4. "Stands for" explains an abbreviation; "stand-in" and "stand-alone" are nouns.
    "say, tell": r"\b(?:say|says|said|saying|tell|tells|told|telling)\b",
    "bring": r"\b(?:bring|brings|bringing|brought)\b",
    "stand, lie": r"\b(?:stand|stands|stood|standing|lie|lies|lying)\b(?!-| for\b| by itself\b)",
    "somebody": r"\b(?:nobody|somebody|everybody|anybody|whoever)\b",
}
PATTERNS = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in HABITS.items()}

WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")
# A code span becomes this character: it is not a word, and the words around it stay apart.
PLACEHOLDER = "\N{BULLET}"
CODE = re.compile(r"``.+?``|`[^`]+`", re.DOTALL)
DOCTEST = re.compile(r"^[ \t]*(?:>>>|\.\.\. ).*$", re.MULTILINE)
MIN_MESSAGE_WORDS = 3  # fewer are keys, names and options

# TOML: whichever of these begins first ends where its own rule says, so `#` in a string is not a comment.
TOML = re.compile(
    r'"""(?P<block>.*?)"""|"(?P<basic>(?:\\.|[^"\\\n])*)"|\'(?P<literal>[^\'\n]*)\'|#(?P<comment>[^\n]*)',
    re.DOTALL,
)
FENCE = re.compile(r"^```.*?^```[^\n]*$", re.MULTILINE | re.DOTALL)
# A block of code in Markdown: indented lines after an empty one.
INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?: {4}[^\n]*\n|\n(?= {4}))+", re.MULTILINE)
LINK_TARGET = re.compile(r"\]\([^)\s]*\)")


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of prose; newlines in its text are lines of the file."""

    path: Path
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A habit in a passage."""

    habit: str
    path: Path
    line: int
    text: str


def blank(match: re.Match[str]) -> str:
    """Return the newlines of a match, so that the lines after it keep their numbers."""
    return "\n" * match[0].count("\n")


class Strings(ast.NodeVisitor):
    """Collects the docstrings and messages of a module, each f-string as one text."""

    def __init__(self) -> None:
        self.texts: list[tuple[int, str]] = []

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.add(node.lineno, node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        parts = []
        for part in node.values:
            if isinstance(part, ast.Constant):
                parts.append(str(part.value))
            else:
                parts.append(PLACEHOLDER)
                # The expression may contain messages of its own; the format specification does not.
                assert isinstance(part, ast.FormattedValue)  # noqa: S101 - a fact of the grammar
                self.visit(part.value)
        self.add(node.lineno, "".join(parts))

    def add(self, line: int, text: str) -> None:
        if len(WORD.findall(text)) >= MIN_MESSAGE_WORDS:
            self.texts.append((line, text))


def python_passages(path: Path) -> Iterator[Passage]:
    """Yield the strings of a module, and each block of comment lines as one passage."""
    source = path.read_text("utf-8")
    strings = Strings()
    strings.visit(ast.parse(source, str(path)))
    for line, text in strings.texts:
        yield Passage(path, line, DOCTEST.sub("", text))
    start, lines = 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        if lines and line != start + len(lines):
            yield Passage(path, start, "\n".join(lines))
            lines = []
        if not lines:
            start = line
        lines.append(token.string.lstrip("#! "))
    if lines:
        yield Passage(path, start, "\n".join(lines))


def toml_passages(path: Path) -> Iterator[Passage]:
    """Yield the strings and comments of a TOML file."""
    source = path.read_text("utf-8")
    for match in TOML.finditer(source):
        text = next(group for group in match.groups() if group is not None)
        if match["comment"] is not None or len(WORD.findall(text)) >= MIN_MESSAGE_WORDS:
            yield Passage(path, source.count("\n", 0, match.start()) + 1, text)


def markdown_passages(path: Path) -> Iterator[Passage]:
    """Yield the prose of a page as one passage."""
    text = path.read_text("utf-8")
    text = FENCE.sub(blank, text)
    text = INDENTED.sub(blank, text)
    yield Passage(path, 1, LINK_TARGET.sub("]", text))


def passages(root: Path) -> Iterator[Passage]:
    """Yield all prose of the project."""
    for path in sorted((root / "bundler").rglob("*.py")):
        yield from python_passages(path)
    for path in sorted((root / "bundler/data").glob("*.toml")):
        yield from toml_passages(path)
    for path in sorted([*root.glob("*.md"), *root.glob("docs/*.md")]):
        yield from markdown_passages(path)


def occurrences(passage: Passage) -> Iterator[Occurrence]:
    """Yield the habits of a passage, code spans left out."""
    text = CODE.sub(lambda match: PLACEHOLDER + blank(match), passage.text)
    # The patterns contain single spaces; a phrase may be split by the end of a line.
    flat = text.replace("\n", " ")
    for habit, pattern in PATTERNS.items():
        for match in pattern.finditer(flat):
            line = passage.line + text.count("\n", 0, match.start())
            around = flat[max(0, match.start() - 60) : match.end() + 60]
            yield Occurrence(habit, passage.path, line, " ".join(around.split()))


def count_words(passage: Passage) -> int:
    """Return the number of words, code spans left out."""
    return len(WORD.findall(CODE.sub(PLACEHOLDER, passage.text)))


def rates(words: int, habits: Iterable[Occurrence]) -> dict[str, tuple[int, float]]:
    """Return the count of each habit, and its rate per 10,000 words."""
    counts = dict.fromkeys(HABITS, 0)
    for occurrence in habits:
        counts[occurrence.habit] += 1
    return {habit: (count, count * PER_WORDS / max(words, 1)) for habit, count in counts.items()}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).parent.parent)
    parser.add_argument("--list", metavar="HABIT", choices=HABITS, help="print each occurrence of this habit")
    arguments = parser.parse_args(argv)
    root: Path = arguments.root

    texts = list(passages(root))
    habits = [occurrence for passage in texts for occurrence in occurrences(passage)]
    if arguments.list:
        for occurrence in habits:
            if occurrence.habit == arguments.list:
                print(f"{occurrence.path.relative_to(root)}:{occurrence.line}: {occurrence.text}")
        return 0

    words = sum(map(count_words, texts))
    table = rates(words, habits)
    print(f"{'habit':12}{'count':>7}{f'per {PER_WORDS:,} words':>24}")
    for habit, (count, rate) in table.items():
        print(f"{habit:12}{count:7}{rate:24.1f}")
    too_often = [habit for habit, (_, rate) in table.items() if rate > MAX_RATE]
    for habit in too_often:
        print(f'"{habit}" occurs more than {MAX_RATE} times per {PER_WORDS:,} words: --list "{habit}"')
    return 1 if too_often else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
