"""The commands on the pages of the documentation, run as a reader runs them.

A block with the language ``console`` contains commands after ``$ `` (continued after ``> ``) and their output.
A block with ``title="PATH"`` is a file that the reader creates. All commands of a page are run in one shell.
"""

from __future__ import annotations

import difflib
import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from support.paths import ROOT

PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("bench/*.md"),
        *ROOT.glob("examples/**/README.md"),
    ]
)

_BLOCK = re.compile(r"^( *)```(\w*) *([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')
NOT_TESTED = re.compile(r"# not tested: (needs [\w' ]+)$", re.MULTILINE)
"""The mark of a command that is shown and not run; its only effect is that the command is left out."""

# Values that differ between machines, runs and releases of a compressor. Both texts are compared without them.
_VARYING = (
    (re.compile(r"\b[0-9a-f]{12,64}\b"), "DIGEST"),
    (re.compile(r"\b\d[\d.,]* ?(?:(?:[kKMG]i?)?B|bytes)\b"), "SIZE"),
    (re.compile(r"\b\d{6,}\b"), "NUMBER"),
    (re.compile(r"\b\d+(?:\.\d+)? (?:ms|s|min)\b"), "TIME"),
)
# Lines that a page may leave out: notes, progress, times, and the remarks of pip about its configuration.
_LEFT_OUT = r"(?:(?:note  |done  |installing into |WARNING: |\[notice\] |make-test-base: (?!base))[^\n]*|\w+  (?:[^\n]*, |\s*)TIME)\n|\n"
_FAILS = re.compile(r"^(?:bundler: error|[\w.]+Error): ", re.MULTILINE)
_READY_SECONDS = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A command and the output that the page shows."""

    line: int
    text: str
    output: str = ""

    @property
    def not_tested(self) -> str:
        """Return the reason for which it is not run, or ""."""
        mark = NOT_TESTED.search(self.text)
        return mark[1] if mark else ""

    @property
    def in_background(self) -> bool:
        """Whether it continues to run: the next command follows when the shown output is complete."""
        return self.text.endswith("&")


@dataclass(frozen=True, kw_only=True, slots=True)
class PageFile:
    """A file that the page tells its reader to create."""

    line: int
    path: str
    content: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A command whose result is not the shown one."""

    command: Command
    text: str


def read_page(text: str) -> list[Command | PageFile]:
    """Return the commands and files of a page in their order."""
    steps: list[Command | PageFile] = []
    for block in _BLOCK.finditer(text):
        indent, language, options, content = block.groups()
        content = re.sub(f"^{indent}", "", content, flags=re.MULTILINE)
        line = text.count("\n", 0, block.start()) + 1
        if title := _TITLE.search(options):
            steps.append(PageFile(line=line, path=title[1], content=content))
        elif language == "console":
            steps += _read_console(content, line)
    return steps


def _read_console(content: str, line: int) -> list[Command]:
    commands: list[Command] = []
    for number, row in enumerate(content.splitlines(), line + 1):
        if row.startswith("$ "):
            commands.append(Command(line=number, text=row[2:]))
            continue
        assert commands, f"line {number}: a console block starts with `$ `"
        last = commands[-1]
        if row.startswith("> ") and not last.output:
            commands[-1] = Command(line=last.line, text=f"{last.text}\n{row[2:]}")
        else:
            commands[-1] = Command(line=last.line, text=last.text, output=f"{last.output}{row}\n")
    return commands


def run_page(
    steps: list[Command | PageFile], folder: Path, env: Mapping[str, str], log: Path
) -> list[Problem]:
    """Run the commands of a page in one shell, up to the first one with another result.

    :param folder: the working directory.
    :param log: a directory for the outputs of the commands.
    :returns: the problem, if any; each further command may depend on the one that failed.
    """
    (log / "page.sh").write_text(_script(steps, log), "utf-8")
    ended = subprocess.run(
        ["bash", "--noprofile", "--norc", log / "page.sh"],
        cwd=folder,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    for number, step in enumerate(steps):
        if isinstance(step, Command) and not step.not_tested:
            status = _read(log / f"{number}.status")
            output = _read(log / f"{number}.output")
            if not status:
                return [Problem(command=step, text=f"the shell ended: {ended.stderr}")]
            fails = _FAILS.search(step.output) is not None
            if (int(status) != 0) != fails:
                return [Problem(command=step, text=f"exit code {status.strip()}\n{output}")]
            shown = f"{step.output}...\n" if step.in_background else step.output
            if not is_expected(shown, output):
                return [Problem(command=step, text=compare(step.output, output))]
    return []


def _script(steps: list[Command | PageFile], log: Path) -> str:
    """Return one shell script that runs the steps and stops after an unexpected exit code."""
    lines = []
    for number, step in enumerate(steps):
        output, status = (shlex.quote(str(log / f"{number}.{name}")) for name in ("output", "status"))
        if isinstance(step, PageFile):
            path = shlex.quote(step.path)
            lines.append(
                f'mkdir -p "$(dirname {path})" && printf %s {shlex.quote(step.content)} > {path} || exit'
            )
        elif step.not_tested:
            continue
        elif step.in_background:
            # The reader sees the output and goes on: wait for its last line.
            last = shlex.quote(step.output.splitlines()[-1])
            lines += [
                f"eval {shlex.quote(f'{step.text[:-1]} > {output} 2>&1 &')}",
                f"for _ in $(seq {_READY_SECONDS * 4}); do",
                f"  grep -qF -- {last} {output} && break; kill -0 $! || break; sleep 0.25",
                "done",
                f"grep -qF -- {last} {output}; echo $? > {status}",
            ]
        else:
            wanted = "-ne" if _FAILS.search(step.output) else "-eq"
            lines += [
                f"eval {shlex.quote(step.text)} > {output} 2>&1",
                f"status=$?; echo $status > {status}; [ $status {wanted} 0 ] || exit",
            ]
    # Programs that the page left in the background.
    lines = ["trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT", *lines]
    return "\n".join(lines) + "\n"


def _read(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.exists() else ""


def mask(text: str) -> str:
    """Return a text without the values that vary and without spaces at the ends of lines."""
    for pattern, name in _VARYING:
        text = pattern.sub(name, text)
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)


def is_expected(shown: str, output: str) -> bool:
    """Whether an output is the shown one; ``...`` stands for any text in a line, or for any lines."""
    pattern = f"(?:{_LEFT_OUT})*"
    for row in mask(shown).splitlines():
        if row == "...":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += re.escape(row).replace(r"\.\.\.", r"[^\n]*?") + rf"\n(?:{_LEFT_OUT})*"
    return re.fullmatch(pattern, f"{mask(output).rstrip()}\n" if output.strip() else "") is not None


def compare(shown: str, output: str) -> str:
    """Return the difference between the shown and the real output."""
    rows = difflib.unified_diff(
        mask(shown).splitlines(), mask(output).splitlines(), "page", "output", lineterm=""
    )
    return "\n".join(rows) + f"\n--- whole output\n{output}"
