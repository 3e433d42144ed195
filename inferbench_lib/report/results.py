"""Write `results.md` and `results.txt`: parameters, results, system, analysis and conclusion of each notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from inferbench_lib.records import Run
from inferbench_lib.report.display import Answer
from inferbench_lib.report.page_parts import system_rows
from inferbench_lib.report.words import figure_cells

Row = Sequence[str]


class Voice(Protocol):
    """Access to the texts of a run's pages: first screen and readings of each, and the front page."""

    def answer(self, run: Run) -> Answer: ...

    def readings(self, run: Run) -> list[str]: ...

    def front(self, runs: Mapping[str, Run]) -> Answer: ...

    def headlines(self) -> Mapping[str, str]: ...


def markdown(runs: Mapping[str, Run], voice: Voice, incomplete: Sequence[tuple[str, str]] = ()) -> str:
    """Return all notebooks of a run as Markdown; of those in `incomplete`, name and status."""
    lines = ["# inferbench results", "", *(line for run in runs.values() for line in _markdown(run, voice))]
    lines += [line for name, why in incomplete for line in (f"## {name}", "", f"INCOMPLETE, {why}", "")]
    return "\n".join(lines)


def plain_text(runs: Mapping[str, Run], voice: Voice, incomplete: Sequence[tuple[str, str]] = ()) -> str:
    """Return all notebooks of a run as plain text; of those in `incomplete`, name and status."""
    lines = ["INFERBENCH RESULTS", "", *(line for run in runs.values() for line in _plain_text(run, voice))]
    lines += [line for name, why in incomplete for line in (*_title(name), f"  INCOMPLETE, {why}", "")]
    return "\n".join(lines)


def parameter_rows(run: Run) -> list[Row]:
    """Return the parameters as rows of name and value."""
    return [(name, str(value)) for name, value in run.params.items() if value is not None]


def _sections(run: Run, voice: Voice) -> list[tuple[str, Sequence[Row] | Sequence[str]]]:
    answer = voice.answer(run)
    return [
        ("Parameters", parameter_rows(run)),
        ("Results", [tuple(cell for cell in row if cell) for row in figure_cells(list(run.summary.items()))]),
        ("System information", system_rows(run)),
        ("Analysis", voice.readings(run)),
        ("Conclusion", [answer.verdict, *answer.flags]),
    ]


def _markdown(run: Run, voice: Voice) -> list[str]:
    lines = [f"## {run.notebook}", ""]
    for heading, content in _sections(run, voice):
        lines += [f"### {heading}", ""]
        lines += [_markdown_line(item) for item in content]
        lines.append("")
    return lines


def _markdown_line(item: Row | str) -> str:
    return f"- {item}" if isinstance(item, str) else f"- **{item[0]}**: {' · '.join(item[1:])}"


def _plain_text(run: Run, voice: Voice) -> list[str]:
    lines = _title(run.notebook)
    for heading, content in _sections(run, voice):
        lines += [heading, "-" * len(heading)]
        width = max((len(item[0]) for item in content if not isinstance(item, str)), default=0)
        for item in content:
            lines.append(f"  {item}" if isinstance(item, str) else f"  {item[0]:<{width}}  {'  '.join(item[1:])}")
        lines.append("")
    return lines


def _title(name: str) -> list[str]:
    return [name.upper(), "=" * len(name), ""]
