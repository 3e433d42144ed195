"""What the words on a page mean here. Each term: its name, its meaning, and how it is found in a text."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Term:
    """A word, how it is found in a text, and what it means here."""

    name: str
    pattern: str
    meaning: str

    @property
    def anchor(self) -> str:
        """Its address on the page."""
        return "term-" + re.sub(r"\W+", "-", self.name.lower()).strip("-")


def _term(name: str, meaning: str, pattern: str = "") -> Term:
    return Term(name=name, pattern=pattern or rf"{re.escape(name)}s?", meaning=meaning)


TERMS = (
    _term(
        "95 % interval",
        "Where the true value lies, with a chance of error of 5 %. It is taken over rounds, not over single "
        "calls, which resemble their neighbours too much to count as independent.",
        r"95 % intervals?",
    ),
    _term(
        "Amdahl's law",
        "Speedup over p processes is at most 1 ÷ (s + (1 − s) ÷ p), where s is the serial fraction: the share of "
        "the work that cannot be spread.",
        r"Amdahl['’]s law",
    ),
    _term(
        "arithmetic intensity",
        "Floating-point operations for each byte moved between memory and processor.",
    ),
    _term(
        "batch size",
        "How many inputs one call handles.",
        r"batch(?: size)?s?|batches",
    ),
    _term(
        "ceiling",
        "What independent processes reach that share nothing and do equal parts at the same moment: no way of "
        "spreading the work can be expected to beat it.",
    ),
    _term(
        "cold",
        "Of a call: the first one, with everything still to be loaded, compiled or started.",
        r"cold(?: start)?|first call",
    ),
    _term(
        "control workload",
        "A fixed piece of work repeated between the others: if its time drifts, the machine changed, not what is "
        "measured.",
    ),
    _term(
        "drift",
        "A change of the measured time from the first half of the rounds to the second.",
        r"drift(?:s|ed)?",
    ),
    _term(
        "efficiency",
        "Speedup divided by the number of processes; 100 % would waste nothing.",
    ),
    _term(
        "fork, spawn, forkserver",
        "Ways to start a process: as a copy of its parent, from nothing, or as a copy of a small helper that was "
        "started early.",
        r"fork(?:server)?|spawn(?:ed|ing)?",
    ),
    _term(
        "GEMM",
        "Multiplication of two dense matrices: the arithmetic that networks consist of, and the most that a "
        "processor can do.",
    ),
    _term(
        "GFLOP/s",
        "Billions of floating-point operations a second.",
        r"GFLOP/s",
    ),
    _term(
        "indistinguishable",
        "The interval reaches into the 1 % that counts as no difference; said as “not to be told from” too. It "
        "does not prove that two ways are equal.",
        r"indistinguishable|not to be told from",
    ),
    _term(
        "knee",
        "The batch size above which larger batches gain less than 5 % in throughput.",
    ),
    _term(
        "latency",
        "The time that one call takes, from its start to its result.",
        r"latenc(?:y|ies)",
    ),
    _term(
        "median",
        "The middle value: half of the samples lie below it. A few disturbed calls do not move it.",
        r"medians?",
    ),
    _term(
        "memory bandwidth",
        "Bytes that can be read and written in a second.",
    ),
    _term(
        "MODEL",
        "Computed from a datasheet, not measured.",
        r"(?-i:MODEL)",
    ),
    _term(
        "percentile",
        "p95 is the value that 95 % of the calls stay below. It is shown only where there are enough single calls"
        " to know it.",
        r"percentiles?|p9[059]",
    ),
    _term(
        "pickling",
        "Turning an object into bytes so that another process can have a copy.",
        r"pickl(?:ing|es|ed?)",
    ),
    _term(
        "roofline",
        "The most that a program can reach at its arithmetic intensity: memory bandwidth times intensity, up to "
        "the processor's peak.",
        r"rooflines?|roof",
    ),
    _term(
        "round",
        "One turn of every variant, in random order. Variants are compared within rounds, so that what disturbs a"
        " round disturbs all of them alike.",
        r"rounds?",
    ),
    _term(
        "serial fraction",
        "The share of the work that only one process can do.",
    ),
    _term(
        "shared-memory pool",
        "Workers that are kept, and read the rows from memory that they share with their parent instead of "
        "getting a copy.",
    ),
    _term(
        "SIMULATED",
        "Run on a simulated device with virtual time; it says nothing about hardware.",
        r"(?-i:SIMULATED)",
    ),
    _term(
        "speedup",
        "Time of the baseline divided by time of the candidate: 2× is twice as fast, 0.5× half as fast.",
        r"speedups?",
    ),
    _term(
        "steal",
        "CPU time that the host of a virtual machine gave to others.",
    ),
    _term(
        "throughput",
        "Inputs handled in a second.",
    ),
    _term(
        "unstable",
        "Disturbed or drifting too much for a verdict.",
        r"unstable|[Nn]ot stable",
    ),
    _term(
        "usable CPUs",
        "CPUs that this process may run on, under affinity and container limits; often fewer than the machine has.",
        r"usable CPUs?",
    ),
    _term(
        "verification",
        "Outputs of each timed path are compared with a reference outside the timed region: PASSED, or FAILED "
        "with where they differ.",
        r"verif(?:ication|ied)|(?-i:PASSED|FAILED)",
    ),
    _term(
        "warm-up",
        "Calls before the measured ones, until the time is level; kept, but not counted.",
        r"warm-ups?|warm",
    ),
    _term(
        "working set",
        "How much memory a program touches again and again.",
    ),
)
"""In alphabetical order; none is explained by a word that is harder than itself."""
