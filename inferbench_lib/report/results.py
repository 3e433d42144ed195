"""`results.md` and `results.txt`: a run in plain words - parameters, results, system, analysis, conclusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inferbench_lib.records import Run
from inferbench_lib.report import studies
from inferbench_lib.report.page_parts import system_rows
from inferbench_lib.report.words import figure_cells

Row = Sequence[str]


def markdown(runs: Mapping[str, Run], incomplete: Sequence[tuple[str, str]] = ()) -> str:
    """All notebooks of a run as Markdown; of those in `incomplete`, name and how they ended."""
    lines = ["# inferbench results", "", *(line for run in runs.values() for line in _markdown(run))]
    lines += [line for name, why in incomplete for line in (f"## {name}", "", f"INCOMPLETE, {why}", "")]
    return "\n".join(lines)


def plain_text(runs: Mapping[str, Run], incomplete: Sequence[tuple[str, str]] = ()) -> str:
    """All notebooks of a run as plain text; of those in `incomplete`, name and how they ended."""
    lines = ["INFERBENCH RESULTS", "", *(line for run in runs.values() for line in _plain_text(run))]
    lines += [line for name, why in incomplete for line in (*_title(name), f"  INCOMPLETE, {why}", "")]
    return "\n".join(lines)


def parameter_rows(run: Run) -> list[Row]:
    """The parameters as rows of name and value."""
    return [(name, str(value)) for name, value in run.params.items() if value is not None]


def _sections(run: Run) -> list[tuple[str, Sequence[Row] | Sequence[str]]]:
    answer = studies.answer(run)
    return [
        ("Parameters", parameter_rows(run)),
        ("Results", [tuple(cell for cell in row if cell) for row in figure_cells(list(run.summary.items()))]),
        ("System information", system_rows(run)),
        ("Analysis", studies.readings(run)),
        ("Conclusion", [answer.verdict, *answer.flags]),
    ]


def _markdown(run: Run) -> list[str]:
    lines = [f"## {run.notebook}", ""]
    for heading, content in _sections(run):
        lines += [f"### {heading}", ""]
        lines += [_markdown_line(item) for item in content]
        lines.append("")
    return lines


def _markdown_line(item: Row | str) -> str:
    return f"- {item}" if isinstance(item, str) else f"- **{item[0]}**: {' · '.join(item[1:])}"


def _plain_text(run: Run) -> list[str]:
    lines = _title(run.notebook)
    for heading, content in _sections(run):
        lines += [heading, "-" * len(heading)]
        width = max((len(item[0]) for item in content if not isinstance(item, str)), default=0)
        for item in content:
            lines.append(f"  {item}" if isinstance(item, str) else f"  {item[0]:<{width}}  {'  '.join(item[1:])}")
        lines.append("")
    return lines


def _title(name: str) -> list[str]:
    return [name.upper(), "=" * len(name), ""]
