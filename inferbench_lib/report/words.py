"""Numbers as words: pretty units, intervals, verdicts; no adjective without a number."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence

from inferbench_lib.records import Figure, Flag, Interval, Machine, Ratio, Run, Verdict

_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_BYTES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))


def digits(value: float, significant: int = 3) -> str:
    """A number with so many significant digits, never in exponent notation: `0.0123`, `4.61`, `1,250`."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, significant - 1 - math.floor(math.log10(abs(_rounded(value, significant)))))
    return f"{value:,.{decimals}f}"


def _rounded(value: float, significant: int = 3) -> float:
    """What will be read: 9.996 is 10.0, and 999.6 ms are a second."""
    return float(f"{value:.{significant - 1}e}")


def seconds(value: float) -> str:
    """A duration in the unit that reads best: `4.61 s`, `23.4 ms`."""
    if value == 0:
        return "0 s"
    scale, unit = next(((scale, unit) for scale, unit in _TIMES if abs(_rounded(value)) >= scale), _TIMES[-1])
    return f"{digits(value / scale)} {unit}"


def size(n_bytes: float) -> str:
    """An amount of memory in decimal units: `8.3 GB`."""
    scale, unit = next(((scale, unit) for scale, unit in _BYTES if abs(_rounded(n_bytes)) >= scale), _BYTES[-1])
    return f"{digits(n_bytes / scale, 2 if n_bytes < 10 * scale else 3)} {unit}"


def times(value: float) -> str:
    """A ratio: `1.83×`, `0.74×`, `0.0040×`."""
    return f"{value:.2f}×" if 0.1 <= value < 9.995 else f"{digits(value, 3 if value > 1 else 2)}×"


def interval(low: float | None, high: float | None, form: object = digits) -> str:
    """An interval: `1.79 to 1.86`; says so where it is withheld."""
    if low is None or high is None:
        return "no interval: too few rounds"
    speak = form if callable(form) else digits
    return f"{speak(low)} to {speak(high)}"


def ratio(value: Ratio) -> str:
    """A speedup with its interval: `1.83× (1.79× to 1.86×)`."""
    return f"{times(value.value)} ({interval(value.low, value.high, times)})"


def measured(value: Interval, form: object = seconds) -> str:
    """A value with its interval: `4.61 s (4.52 s to 4.70 s)`."""
    speak = form if callable(form) else seconds
    return f"{speak(value.value)} ({interval(value.low, value.high, speak)})"


def compared(value: Ratio, candidate: str, baseline: str) -> str:
    """What a comparison says, in one clause, with its figures."""
    match value.verdict:
        case Verdict.FASTER | Verdict.SLOWER:
            return f"{candidate}: {value.verdict}, {ratio(value)} the speed of {baseline}"
        case Verdict.INDISTINGUISHABLE:
            return f"{candidate}: not to be told from {baseline}, {ratio(value)} its speed"
        case _:
            return f"{candidate}: no verdict against {baseline} ({value.verdict}: {value.reason})"


def gathered(flags: Iterable[Flag], n_cells: int) -> tuple[str, ...]:
    """One sentence for each kind of flag, however many cells carry it."""
    by_name: dict[str, list[str]] = {}
    for flag in flags:
        by_name.setdefault(flag.name, []).append(flag.text)
    return tuple(
        text[0] if n_cells == 1 else f"{text[0]} ({len(text)} of {plural(n_cells, 'cell')})"
        for text in by_name.values()
    )


def share(value: float) -> str:
    """A share of a whole: `34 %`; below one percent with a decimal."""
    percent = 100 * value
    return f"{percent:.1f} %" if 0.05 <= abs(percent) < 0.95 else f"{percent:z.0f} %"


def joined(items: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    parts = list(items)
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def plural(count: int, noun: str, plural_noun: str = "") -> str:
    """`1 process`, `4 processes`."""
    return f"{count:,} {noun if count == 1 else plural_noun or noun + 's'}"


def capital(text: str) -> str:
    """The text as a sentence begins."""
    return text[:1].upper() + text[1:]


def marked(run: Run, text: str) -> str:
    """A sentence about a run, never without the mark of a simulated one."""
    return f"{run.mark}: {text}" if run.mark else text


def machine_line(machine: Machine) -> str:
    """The machine in one line."""
    memory = size(machine.memory_bytes) if machine.memory_bytes else "memory unknown"
    cpus = plural(machine.usable_cpus, "usable CPU")
    accelerators = ", ".join(machine.accelerators) or "no accelerator"
    system, _, _ = machine.operating_system.partition(",")  # without its kernel
    return f"{machine.cpu_model} · {cpus} · {memory} · {accelerators} · {system}"


def figure_cells(figures: Sequence[tuple[str, Figure]]) -> list[tuple[str, str, str, str]]:
    """`summary.json` entries as text: name, value with unit, interval, verdict."""
    rows = []
    for name, figure in figures:
        spread = interval(figure.low, figure.high) if figure.low is not None else ""
        rows.append((name, _figure_value(figure), spread, figure.verdict))
    return rows


def _figure_value(figure: Figure) -> str:
    match figure.value:
        case None:
            return "–"
        case int():
            value = f"{figure.value:,}"
        case float():
            value = digits(figure.value, 4)
        case str():
            value = figure.value
    return f"{value} {figure.unit}".strip()


def escaped(text: str) -> str:
    """Text made safe for HTML."""
    return html.escape(text)
