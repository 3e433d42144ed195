"""The terms that a page may use: what each means, and a link from its first occurrence."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bs4 import BeautifulSoup, Tag
from bs4.element import NavigableString

UNLINKED = ("a", "code", "pre", "h1", "h2", "h3", "h4", "summary", "script", "style", "td", "th", "b")
UNLINKED_CLASSES = frozenset({"answer", "card", "cards", "flag"})


@dataclass(frozen=True)
class Term:
    """A term, its meaning, and the pattern by which it is found in a text: by default the name and its plural."""

    name: str
    meaning: str
    pattern: str = ""

    @property
    def anchor(self) -> str:
        """Return its address on the page."""
        return "term-" + re.sub(r"\W+", "-", self.name.lower()).strip("-")

    def find(self, text: str) -> re.Match[str] | None:
        """Find the first occurrence as a whole word."""
        pattern = self.pattern or rf"{re.escape(self.name)}s?"
        return re.search(rf"(?<![\w-])(?:{pattern})(?![\w-])", text, re.IGNORECASE)


TERMS = (
    Term(
        "95 % interval",
        "The range that contains the true value in 95 % of repetitions. It is computed over rounds, because calls "
        "within a round are not independent.",
    ),
    Term(
        "Amdahl's law",
        "The speedup with p processes is at most 1 ÷ (s + (1 − s) ÷ p), where s is the serial fraction.",
        r"Amdahl['’]s law",
    ),
    Term("arithmetic intensity", "Floating-point operations per byte moved between memory and CPU."),
    Term("batch size", "The number of inputs per call.", r"batch(?: size)?s?|batches"),
    Term(
        "ceiling",
        "The speedup of independent processes that do equal parts at the same time and share nothing. "
        "No executor is expected to exceed it.",
    ),
    Term(
        "cold",
        "The first call, which still loads, compiles or starts everything.",
        r"cold(?: start)?|first call",
    ),
    Term(
        "control workload",
        "A fixed piece of work that runs between the others. If its time drifts, the machine changed.",
    ),
    Term(
        "drift",
        "A change of the measured time between the first and the second half of the rounds.",
        r"drift(?:s|ed)?",
    ),
    Term("efficiency", "Speedup divided by the number of processes. 100 % is ideal."),
    Term(
        "fork, spawn, forkserver",
        "Ways to start a process: copying the parent, starting a new interpreter, or copying a small server process.",
        r"fork(?:server)?|spawn(?:ed|ing)?",
    ),
    Term("GEMM", "General matrix-matrix multiplication: the main operation of neural networks."),
    Term("GFLOP/s", "10⁹ floating-point operations per second.", r"GFLOP/s"),
    Term("knee", "The batch size above which larger batches gain less than 5 % throughput."),
    Term("latency", "The time of one call, from its start to its result.", r"latenc(?:y|ies)"),
    Term("median", "The middle value: half of the samples are smaller. A few slow calls do not change it."),
    Term("memory bandwidth", "Bytes read and written per second."),
    Term("MODEL", "Computed from a datasheet, not measured.", r"(?-i:MODEL)"),
    Term(
        "percentile",
        "p95 is the value that 95 % of the calls do not exceed. It is shown only with enough single calls.",
        r"percentiles?|p9[059]",
    ),
    Term("pickling", "Converting an object to bytes, to copy it to another process.", r"pickl(?:ing|es|ed?)"),
    Term(
        "roofline",
        "The highest performance at a given arithmetic intensity: memory bandwidth times intensity, at most the peak.",
        r"rooflines?|roof",
    ),
    Term(
        "round",
        "One turn of every variant, in random order. Variants are compared within rounds, so a disturbance affects "
        "all of them alike.",
    ),
    Term("serial fraction", "The share of the work that cannot run in parallel."),
    Term("shared-memory pool", "Persistent workers that read rows from shared memory instead of receiving copies."),
    Term(
        "SIMULATED",
        "Run on a simulated device with virtual time. It says nothing about real hardware.",
        r"(?-i:SIMULATED)",
    ),
    Term(
        "speedup",
        "Time of the baseline divided by time of the candidate: 2× is twice as fast, 0.5× half as fast.",
    ),
    Term(
        "statistically tied",
        "The interval of the ratio includes differences below 1 %. This does not prove that both are equally fast.",
        r"statistically tied|indistinguishable",
    ),
    Term("steal", "CPU time that the host gave to other virtual machines."),
    Term("throughput", "Inputs per second."),
    Term("unstable", "Disturbed, or drifting too much for a verdict.", r"unstable|not stable"),
    Term(
        "usable CPUs",
        "CPUs that this process may use under its affinity and container limits, often fewer than the machine has.",
        r"usable CPUs?",
    ),
    Term(
        "verification",
        "A comparison of the outputs of each timed path with a reference, outside the timed region.",
        r"verif(?:ication|ied)|(?-i:PASSED|FAILED)",
    ),
    Term(
        "warm-up",
        "Calls before the measured ones, until times are stable. They are stored but not counted.",
        r"warm-ups?|warm",
    ),
    Term("working set", "The memory that a program accesses repeatedly."),
)
"""In alphabetical order."""


def link_terms(soup: BeautifulSoup) -> tuple[Term, ...]:
    """Link each term from its first occurrence in prose; return the terms that occur anywhere on the page."""
    page_text = soup.get_text(" ")
    found = tuple(term for term in TERMS if term.find(page_text))
    waiting = list(found)
    for text in list(soup.find_all(string=True)):
        if _is_prose(text):
            _link(text, waiting, soup)
    return found


def _is_prose(text: NavigableString) -> bool:
    """Return whether a text is in a paragraph, list item or caption, outside links, code, headings and the answer."""
    within = [parent for parent in text.parents if isinstance(parent, Tag)]
    if type(text) is not NavigableString or not any(tag.name in ("p", "li", "figcaption") for tag in within):
        return False
    return not any(
        tag.name in UNLINKED or UNLINKED_CLASSES & set(map(str, tag.get_attribute_list("class"))) for tag in within
    )


def _link(text: NavigableString, waiting: list[Term], soup: BeautifulSoup) -> None:
    """Link the waiting terms that occur in this text, from left to right, the longer of two at the same place."""
    pieces: list[NavigableString | Tag] = []
    rest = str(text)
    while hits := [(hit.start(), -hit.end(), hit, term) for term in waiting if (hit := term.find(rest))]:
        _, _, hit, term = min(hits, key=lambda one: one[:2])
        link = soup.new_tag("a", attrs={"class": "term", "href": f"#{term.anchor}"})
        link.string = hit[0]
        pieces += [NavigableString(rest[: hit.start()]), link]
        rest = rest[hit.end() :]
        waiting.remove(term)
    if pieces:
        text.replace_with(*pieces, NavigableString(rest))
