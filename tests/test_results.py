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
    assert "seed" not in text.lower()


def test_markdown_holds_what_was_asked_found_and_concluded() -> None:
    """Each section holds its run's own facts, in words: no key of `summary.json` or of a parameter file."""
    text = markdown(RUN)
    (asked,) = section(text, "Parameters")
    assert asked.startswith("- **One process against several**: 60,000 samples; ")
    answer = voice.answer(RUN)
    assert section(text, "Results")[2:] == [
        f"| {card.label} | {card.value} | {card.interval} |" for card in answer.cards
    ]
    assert section(text, "Analysis") == [voice.explanation(RUN)]
    assert section(text, "Conclusion") == [f"- {answer.verdict}"]
    assert re.findall(r"\b(?:n_(?!jobs\b)\w+|\w+\[\w+\])", text) == []


def test_analysis_is_at_most_six_sentences() -> None:
    """The questions share the sentences of the analysis; each opens with its most telling one."""
    (line,) = section(markdown(RUN, samples.sweep(), samples.hardware_run()), "Analysis")
    assert 3 <= len(re.findall(r"\.(?: |$)", line)) <= 6


def test_parameters_are_sentences_about_what_was_computed() -> None:
    """Numbers with their names and units; how it was measured, words and switches are on the pages."""
    computed = {"n_samples": 60_000, "n_processes": 4, "n_train": 200, "batch_sizes": {"forest": [1, 10]}}
    limits = {"max_latency_s": 0.1, "max_memory_bytes": 2_000_000_000}
    method = {"seed": 0, "min_rounds": 6, "start_method": "spawn", "measure_memory": True, "scaling_rows": []}
    run = replace(RUN, params={**computed, **limits, **method, "reuse": None})
    (asked,) = section(markdown(run), "Parameters")
    assert asked.partition(": ")[2] == (
        "60,000 samples; 4 processes; 200 training rows; batch sizes of forest 1 and 10; "
        "max latency 100 ms; max memory 2.0 GB"
    )


def test_the_system_stands_once_in_few_lines() -> None:
    """Two questions on one machine: its row stands once, the libraries in one line, and no environment variable."""
    lines = section(markdown(RUN, samples.sweep()), "System information")
    assert len(lines) <= 12
    assert len([line for line in lines if "numpy" in line]) == 1
    assert len({line.split("|")[1] for line in lines}) == len(lines)


def test_a_conclusion_warns_once() -> None:
    """The first warning follows the verdict, and how many more its page has."""
    run = samples.RUNS["multiprocess, unstable"]
    answer = voice.answer(run)
    more = len(answer.flags) - 1
    assert more >= 1
    (line,) = section(markdown(run), "Conclusion")
    assert line.startswith(f"- {answer.verdict} Warning: {answer.flags[0].removesuffix('.')}")
    assert f" (and {more} more warning" in line
    assert line.count("Warning: ") == 1


def test_a_whole_report_is_one_page() -> None:
    """Five questions take at most 100 lines of text."""
    runs = [RUN, samples.sweep(), samples.hardware_run(), samples.vs_gpu(gpu=True)]
    assert len(plain_text(*runs).splitlines()) <= 100


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
    assert "  - One process against several: 60,000 samples; " in text
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
