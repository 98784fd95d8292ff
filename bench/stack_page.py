"""Write the results of `scripts/stacks` as a page of the documentation."""
# ruff: noqa: INP001

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping

from stack_list import Result, Stack, StackList, Verdict

SHOWN, COLUMNS = 90, 100
INTRODUCTION = """\
# Public stacks

The verdicts of bundler about public stacks, compared with the imports of their users. The list of
stacks, with the imports, is `bench/stacks.toml`; `scripts/stacks --page docs/stacks.md` measures
them and writes this page.

bundler builds each stack, `tar` unpacks the bundle, and a fresh process with `PATH`, `HOME` and
`PYTHONPATH` runs the imports: over the base in the column, else in an empty environment of the
build host. If bundler refuses a stack, pip installs the same lock with `--target`, and the imports
run there. The base `minimal` is a root filesystem of Debian with a Python and its libraries,
entered by `chroot`; `server` is an environment with the inference server, whose workers' imports
run first.
"""


def page(
    given: StackList,
    measured: Mapping[Stack, Result],
    compared: Mapping[Stack, Mapping[str, Verdict]],
    version: str,
) -> str:
    """Return the page: the counts, the table, the false verdicts, and the comparison with other tools."""
    lines = [INTRODUCTION, *counts(given, measured, version), "", *table(measured)]
    lines += false_verdicts(measured)
    both = {stack: compared[stack] for stack in measured if stack in compared}
    if both:
        lines += comparison(measured, both)
    return "\n".join(lines) + "\n"


def counts(given: StackList, measured: Mapping[Stack, Result], version: str) -> Iterator[str]:
    """Yield the date and the counts."""
    dates = sorted({result.date for result in measured.values()})
    period = " to ".join(sorted({*dates[:1], *dates[-1:]}))
    works = sum(result.truth.works for result in measured.values())
    false = [result.verdict.accepted for result in measured.values() if not result.right]
    yield f"Measured on {period} with bundler {version}."
    yield from ("", "| | stacks |", "|---|---|")
    yield f"| measured | {len(measured)} of {len(given.stack)} |"
    yield f"| the imports succeed | {works} |"
    yield f"| the imports fail | {len(measured) - works} |"
    yield f"| **false refusals** | {len(false) - sum(false)} |"
    yield f"| **false acceptances** | {sum(false)} |"


def table(measured: Mapping[Stack, Result]) -> Iterator[str]:
    """Yield one row per stack; false verdicts are bold."""
    yield "| stack | Python | base | imports | bundler | seconds |"
    yield "|---|---|---|---|---|---|"
    for stack, result in measured.items():
        verdict, truth = result.verdict, result.truth
        codes = " ".join(verdict.codes) or f"exit {verdict.exit_code}"
        text = "accepted" if verdict.accepted else f"refused: {codes}"
        text = text if result.right else f"**{text}**"
        imports = "succeed" if truth.works else f"fail: {cell(truth.line)}"
        cells = (title(stack), stack.python, stack.base, imports, text, f"{verdict.seconds:.0f}")
        yield f"| {' | '.join(cells)} |"


def title(stack: Stack) -> str:
    """Return the requirements of a stack, and how bundler gets them."""
    how = [
        *(["frozen"] if stack.frozen else []),
        *(["env.yml"] if stack.conda else []),
        *(["as entry script"] if stack.entry else []),
        *([f"`{' '.join(stack.options)}`"] if stack.options else []),
    ]
    requires = stack.title or f"`{' '.join(stack.requires)}`"
    return f"{requires} ({', '.join(how)})" if how else requires


def cell(line: str) -> str:
    """Return a line of output as the text of a cell."""
    return re.sub(r"[`*_<>\[\]|]", lambda special: "\\" + special[0], line[:SHOWN])


def false_verdicts(measured: Mapping[Stack, Result]) -> Iterator[str]:
    """Yield each false verdict with its messages and its explanation."""
    false = [(stack, result) for stack, result in measured.items() if not result.right]
    if false:
        yield from ("", "## False verdicts")
    for stack, result in false:
        kind = "acceptance" if result.verdict.accepted else "refusal"
        text = f"{title(stack)}, Python {stack.python}: a false {kind}. {stack.note}"
        yield from ("", textwrap.fill(text, COLUMNS, break_long_words=False, break_on_hyphens=False), "")
        yield from (f"    {line}" for line in result.verdict.messages or [result.truth.line])


def comparison(
    measured: Mapping[Stack, Result], compared: Mapping[Stack, Mapping[str, Verdict]]
) -> Iterator[str]:
    """Yield the verdicts of all tools; false ones are bold."""
    tools = [*next(iter(compared.values())), "bundler"]
    right = dict.fromkeys(tools, 0)
    yield from ("", "## Comparison with other tools", "")
    yield "`pip check` and `uv pip check` check an environment that pip installs, and `pex` builds. Only"
    yield "stacks that these tools were measured with are listed; false verdicts are bold."
    yield ""
    yield f"| stack | Python | base | imports | {' | '.join(tools)} |"
    yield "|---" * (len(tools) + 4) + "|"
    for stack, verdicts in compared.items():
        result = measured[stack]
        cells = [title(stack), stack.python, stack.base, "succeed" if result.truth.works else "fail"]
        for tool, verdict in {**verdicts, "bundler": result.verdict}.items():
            agrees = verdict.accepted == result.truth.works
            right[tool] += agrees
            text = "passes" if verdict.accepted else "fails"
            cells.append(text if agrees else f"**{text}**")
        yield f"| {' | '.join(cells)} |"
    yield f"| right | | | | {' | '.join(f'{right[tool]} of {len(compared)}' for tool in tools)} |"
