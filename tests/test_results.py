"""`results.md` and `results.txt`: the whole run in plain words."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
import sample_runs as samples

from inferbench_lib.records import Run
from inferbench_lib.report import results
from inferbench_lib.studies import voice

SECTIONS = ["Parameters", "Results", "System information", "Analysis", "Conclusion"]
RUN = samples.multiprocess()


def section(text: str, name: str) -> list[str]:
    """The lines of a Markdown section, headings and empty lines left out."""
    _, _, rest = text.partition(f"### {name}\n")
    return [line for line in rest.partition("\n### ")[0].splitlines() if line.strip() and not line.startswith("#")]


def test_markdown_has_five_sections_a_notebook() -> None:
    """Parameters, results, system information, analysis and conclusion, for each notebook in turn."""
    text = results.markdown({run.notebook: run for run in (RUN, samples.sweep())}, voice)
    assert text.startswith("# inferbench results\n")
    assert re.findall(r"^## (.+)$", text, re.M) == ["cpu_multiprocess", "batch_sweep"]
    assert re.findall(r"^### (.+)$", text, re.M) == SECTIONS * 2


def test_markdown_holds_what_was_asked_found_and_concluded() -> None:
    """Each section holds its run's own facts."""
    text = results.markdown({RUN.notebook: RUN}, voice)
    assert "- **n_samples**: 60000" in section(text, "Parameters")
    assert not any("reuse" in line for line in section(text, "Parameters"))
    assert "- **verification**: PASSED" in section(text, "Results")
    assert any(line.startswith("- **speedup**: 3.33 × · 3.33–3.33 · faster") for line in section(text, "Results"))
    assert "- **CPU**: Example CPU @ 2.60 GHz" in section(text, "System information")
    assert section(text, "Analysis") == [f"- {reading}" for reading in voice.readings(RUN)]
    answer = voice.answer(RUN)
    assert section(text, "Conclusion") == [f"- {line}" for line in (answer.verdict, *answer.flags)]


def test_plain_text_says_the_same_without_markup() -> None:
    """The text file holds the same sections and facts, in columns, without Markdown."""
    text = results.plain_text({RUN.notebook: RUN}, voice)
    lines = text.splitlines()
    assert lines[:4] == ["INFERBENCH RESULTS", "", "CPU_MULTIPROCESS", "=" * 16]
    assert [line for line, below in pairwise(lines) if below and set(below) == {"-"}] == SECTIONS
    assert "**" not in text
    assert re.search(r"^  n_samples +60000$", text, re.M)
    assert f"  {voice.answer(RUN).verdict}" in lines


def test_plain_text_aligns_its_columns() -> None:
    """Within a section every value begins in the same column."""
    text = results.plain_text({RUN.notebook: RUN}, voice)
    parameters = text.partition("Parameters\n----------\n")[2].partition("\n\n")[0].splitlines()
    starts = {len(line) - len(line.split("  ", 2)[-1].lstrip()) for line in parameters}
    assert len(parameters) > 5
    assert len(starts) == 1


@pytest.mark.parametrize("run", samples.ALL, ids=samples.NAMES)
def test_no_run_leaves_a_number_that_is_none(run: Run) -> None:
    """Whatever failed, both files are made and hold neither NaN nor None."""
    for text in (results.markdown({run.notebook: run}, voice), results.plain_text({run.notebook: run}, voice)):
        assert re.findall(r"\b(?:nan|inf|None)\b", text) == []
