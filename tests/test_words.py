"""Numbers as words: each form, at its edges, and one sentence for every verdict."""

from __future__ import annotations

import math

import pytest

from inferbench_lib.findings import Interval, Ratio, Verdict
from inferbench_lib.records import Figure, Machine
from inferbench_lib.report import words


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (4.6149, "4.61"),
        (0.01234, "0.0123"),
        (0.999, "0.999"),
        (1250.4, "1,250"),
        (1_234_567.0, "1,234,567"),
        (12.35, "12.3"),
        (-4.615, "-4.62"),
        (1e-9, "0.00000000100"),
        (math.inf, "inf"),
    ],
)
def test_digits(value: float, expected: str) -> None:
    """Three significant digits, thousands parted, never an exponent."""
    assert words.digits(value) == expected


def test_digits_that_round_up_keep_their_number() -> None:
    """9.996 is 10.0: rounding up to the next power of ten adds no digit."""
    assert words.digits(9.996) == "10.0"
    assert words.digits(0.09996) == "0.100"
    assert words.digits(999.96) == "1,000"


def test_digits_as_many_as_asked() -> None:
    """Two or four significant digits, of whole numbers too."""
    assert (words.digits(0.0456, 2), words.digits(3.14159, 4), words.digits(123456, 4)) == ("0.046", "3.142", "123,456")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (4.607, "4.61 s"),
        (125.0, "125 s"),
        (1.0, "1.00 s"),
        (0.0234, "23.4 ms"),
        (0.001, "1.00 ms"),
        (95e-6, "95.0 µs"),
        (95e-9, "95.0 ns"),
        (0.4e-9, "0.400 ns"),
        (0.0, "0 s"),
        (-0.0234, "-23.4 ms"),
        (0.9999, "1.00 s"),
        (0.0009996, "1.00 ms"),
    ],
)
def test_seconds(value: float, expected: str) -> None:
    """The unit that reads best, and never `1,000 ms`."""
    assert words.seconds(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1e3, "1.0 kB"),
        (8.3e9, "8.3 GB"),
        (15.79e9, "15.8 GB"),
        (2e9, "2.0 GB"),
        (81.4e6, "81.4 MB"),
        (3.35e12, "3.4 TB"),
        (999.96e6, "1.0 GB"),
    ],
)
def test_size(value: float, expected: str) -> None:
    """Decimal units; two digits below ten, three above."""
    assert words.size(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.738, "0.74×"), (1.8349, "1.83×"), (9.99, "9.99×"), (12.34, "12.3×"), (145.6, "146×"), (0.004, "0.0040×")],
)
def test_times(value: float, expected: str) -> None:
    """A ratio keeps two decimals below ten and enough digits to tell it from nothing."""
    assert words.times(value) == expected


@pytest.mark.parametrize(
    ("value_s", "expected"),
    [(0.04, "0.0 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (65, "1 min 05 s"), (3570, "59 min 30 s"),
     (3599.7, "1 h 00 min"), (7380, "2 h 03 min")],
)  # fmt: skip
def test_duration(value_s: float, expected: str) -> None:
    """How long something took, in the two units that matter."""
    assert words.duration(value_s) == expected


def test_a_column_of_times_has_one_unit() -> None:
    """The unit of the median, for the head; each time without it."""
    unit, in_unit = words.seconds_column([0.9e-3, 1.2e-3, 0.5])
    assert (unit, [in_unit(value) for value in (0.9e-3, 0.5)]) == ("ms", ["0.900", "500"])
    assert words.seconds_column([])[0] == "s"


def test_interval() -> None:
    """The unit once where both ends share it, "to" beside a minus sign; a withheld one says so."""
    assert words.interval(1.791, 1.859) == "1.79–1.86"
    assert words.interval(0.0231, 0.0246, words.seconds) == "23.1–24.6 ms"
    assert words.interval(0.00095, 0.00105, words.seconds) == "950 µs – 1.05 ms"
    assert words.interval(-0.03, 0.02, words.share) == "-3 to 2 %"
    assert words.interval(None, 2.0) == words.interval(1.0, None) == "no interval: too few rounds"


def ratio(verdict: Verdict, reason: str = "", low: float | None = 1.79, high: float | None = 1.86) -> Ratio:
    return Ratio(value=1.83, low=low, high=high, verdict=verdict, n_rounds=6, reason=reason)


def test_ratio_and_measured() -> None:
    """A value with its interval, or with what is missing."""
    assert words.ratio(ratio(Verdict.FASTER)) == "1.83× (1.79–1.86)"
    assert words.ratio(ratio(Verdict.TOO_FEW, low=None, high=None)) == "1.83× (no interval: too few rounds)"
    assert words.measured(Interval(value=4.61, low=4.52, high=4.7)) == "4.61 s (4.52–4.70 s)"
    assert words.measured(Interval(value=4.61), words.digits) == "4.61 (no interval: too few rounds)"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (ratio(Verdict.FASTER), "threads is 1.83× as fast as one process (1.79–1.86)"),
        (ratio(Verdict.SLOWER), "threads is 1.83× as fast as one process (1.79–1.86)"),
        (
            ratio(Verdict.INDISTINGUISHABLE),
            "threads is statistically tied with one process: 1.83× (1.79–1.86)",
        ),
        (
            ratio(Verdict.TOO_FEW, "needs 6 rounds, has 3"),
            "threads: no verdict against one process (too few samples: needs 6 rounds, has 3)",
        ),
        (
            ratio(Verdict.UNSTABLE, "candidate is unstable: throttled"),
            "threads: no verdict against one process (unstable: candidate is unstable: throttled)",
        ),
        (
            ratio(Verdict.INVALID, "candidate has wrong outputs: shape"),
            "threads: no verdict against one process (invalid: candidate has wrong outputs: shape)",
        ),
    ],
    ids=lambda value: str(value.verdict) if isinstance(value, Ratio) else "",
)
def test_every_verdict_has_its_sentence(said: Ratio, expected: str) -> None:
    """What may be said is said with its figures; what may not be said comes with its reason and without a figure."""
    assert words.compared(said, "threads", "one process") == expected


def test_no_verdict_is_forgotten() -> None:
    """The sentences above are of all verdicts that there are."""
    (marker,) = test_every_verdict_has_its_sentence.pytestmark  # type: ignore[attr-defined]
    assert {said.verdict for said, _ in marker.args[1]} == set(Verdict)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.34, "34 %"),
        (1.0, "100 %"),
        (0.0, "0 %"),
        (0.004, "0.4 %"),
        (-0.12, "-12 %"),
        (0.0001, "0 %"),
        (-0.0001, "0 %"),
        (0.0098, "1 %"),
        (2.5, "250 %"),
    ],
)
def test_share(value: float, expected: str) -> None:
    """Whole percents, and one decimal below one."""
    assert words.share(value) == expected


def test_joined() -> None:
    """A list as it is spoken."""
    assert [words.joined(items) for items in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert words.joined(name for name in "ab") == "a and b"


def test_plural() -> None:
    """One of a thing, several of it, its own plural."""
    assert (words.plural(1, "round"), words.plural(0, "round"), words.plural(1200, "round")) == (
        "1 round",
        "0 rounds",
        "1,200 rounds",
    )
    assert words.plural(4, "process", "processes") == "4 processes"


def test_machine_line() -> None:
    """The machine in one line; what it does not tell is said to be unknown."""
    machine = Machine(
        cpu_model="Example CPU",
        usable_cpus=2,
        memory_bytes=8_300_000_000,
        operating_system="Linux 6",
        accelerators=("Example GPU, 2 GB",),
    )
    assert words.machine_line(machine) == "Example CPU · 2 usable CPUs · 8.3 GB · Example GPU, 2 GB · Linux 6"
    assert words.machine_line(Machine()) == "unknown · 1 usable CPU · memory unknown · no accelerator · unknown"


def test_entries_of_the_summary() -> None:
    """Counts are whole, measured values have three digits, nothing is a dash; an interval has the value's unit."""
    entries = [
        Figure(value=1.83456, low=1.79, high=1.86, unit="×", verdict="faster"),
        Figure(value=0.0234, low=0.0231, high=0.0246, unit="s"),
        Figure(value=8765066, unit="parameters"),
        Figure(value="PASSED"),
        Figure(value=None, unit="inputs per call", verdict="refused: why"),
    ]
    assert [(words.valued(of.value, of.unit), words.spread(of)) for of in entries] == [
        ("1.83×", "1.79–1.86"),
        ("23.4 ms", "23.1–24.6 ms"),
        ("8,765,066 parameters", ""),
        ("PASSED", ""),
        ("–", ""),
    ]
