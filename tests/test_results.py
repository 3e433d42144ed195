"""`results.md` and `results.txt`: the whole run in plain words."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest
import sample_runs as samples

from inferbench_lib.records import Run
from inferbench_lib.report import results
from inferbench_lib.report.shell import columns
from inferbench_lib.studies import voice

SECTIONS = ["Parameters", "Results", "System information", "Analysis", "Conclusion"]
RUN = samples.multiprocess()


def markdown(*runs: Run) -> str:
    """The text of `results.md`."""
    return results.texts({run.notebook: run for run in runs}, voice, {})["results.md"]


def plain_text(*runs: Run) -> str:
    """The text of `results.txt`."""
    return results.texts({run.notebook: run for run in runs}, voice, {})["results.txt"]


def section(text: str, name: str) -> list[str]:
    """The lines of a Markdown section, headings and empty lines left out."""
    _, _, rest = text.partition(f"## {name}\n")
    return [line for line in rest.partition("\n## ")[0].splitlines() if line.strip() and not line.startswith("#")]


def test_markdown_is_one_page_in_five_sections() -> None:
    """Parameters, results, system, analysis and conclusion stand once each, with a small table per question."""
    text = markdown(RUN, samples.sweep())
    assert text.startswith("# inferbench results\n")
    assert re.findall(r"^## (.+)$", text, re.M) == SECTIONS
    assert re.findall(r"^### (.+)$", text, re.M) == ["One process against several", "Which batch size?"]
    assert text.count("| CPU | Example CPU @ 2.60 GHz |") == 1
    assert text.count("| Seed |") == 1


def test_markdown_holds_what_was_asked_found_and_concluded() -> None:
    """Each section holds its run's own facts, in words: no key of `summary.json` or of a parameter file."""
    text = markdown(RUN)
    assert "| Number of samples | 60,000 |" in section(text, "Parameters")
    assert not any("Reuse" in line for line in section(text, "Parameters"))
    answer = voice.answer(RUN)
    assert section(text, "Results")[2:] == [
        f"| {card.label} | {card.value} | {card.interval} |" for card in answer.cards
    ]
    assert section(text, "Analysis") == [voice.explanation(RUN)]
    warnings = [f"Warning: {flag}" for flag in answer.flags]
    assert section(text, "Conclusion") == [f"- {line}" for line in (answer.verdict, *warnings)]
    assert re.findall(r"\b(?:n_(?!jobs\b)\w+|\w+\[\w+\])", text) == []


def test_analysis_is_at_most_six_sentences() -> None:
    """The questions share the sentences of the analysis; each opens with its most telling one."""
    (line,) = section(markdown(RUN, samples.sweep(), samples.hardware_run()), "Analysis")
    assert 3 <= len(re.findall(r"\.(?: |$)", line)) <= 6


def test_a_shared_parameter_is_listed_once() -> None:
    """What all questions were given stands in one table; a single question has a table of its own."""
    several = plain_text(RUN, samples.sweep())
    parameters, _, _ = several.partition("Results\n")
    assert [line for line in parameters.splitlines() if line[:1].isalpha()][2:] == [
        "All questions", "One process against several", "Which batch size?",
    ]  # fmt: skip
    assert "All questions" not in plain_text(RUN)


def test_the_figures_of_a_simulated_run_are_marked() -> None:
    """Each table of results from a simulated device says so in its heading, in both files."""
    simulated = replace(RUN, simulated=True)
    assert "### SIMULATED: One process against several\n" in markdown(simulated)
    assert "\nSIMULATED: One process against several\n" in plain_text(simulated)


def test_an_incomplete_notebook_is_named_with_its_reason() -> None:
    """The conclusion ends with what is missing, in both files, even where nothing was measured."""
    for text in results.texts({}, voice, {"compare": "failed: no data"}).values():
        assert text.endswith("- INCOMPLETE: compare, failed: no data\n")


def test_plain_text_says_the_same_without_markup() -> None:
    """The text file holds the same sections and facts, in aligned columns and lines of at most 100 characters."""
    text = plain_text(RUN)
    lines = text.splitlines()
    assert lines[:3] == ["INFERBENCH RESULTS", "=" * 18, ""]
    assert [line for line, below in pairwise(lines) if below and set(below) == {"-"}] == SECTIONS
    assert "**" not in text
    assert re.search(r"^  Number of samples +60,000$", text, re.M)
    conclusion = text.partition("Conclusion\n----------\n")[2]
    assert voice.answer(RUN).verdict in " ".join(conclusion.split())
    assert max(map(len, conclusion.splitlines())) <= 100


def test_columns_are_aligned() -> None:
    """Every column begins at the same place, and no line ends in spaces."""
    assert columns([("a", "1", "x"), ("long", "22", "")]) == ["a     1   x", "long  22"]
    assert columns([]) == []


@pytest.mark.parametrize("run", samples.ALL, ids=samples.NAMES)
def test_no_run_leaves_a_number_that_is_none(run: Run) -> None:
    """Whatever failed, both files are made and hold neither NaN nor None."""
    for text in (markdown(run), plain_text(run)):
        assert re.findall(r"\b(?:nan|inf|None)\b", text) == []
