"""Write numbers, intervals and verdicts as text: three significant digits, units that read well."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from statistics import median

from inferbench_lib.findings import Interval, Ratio, Verdict
from inferbench_lib.records import Figure, Flag, Machine, Run

_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_BYTES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))


def digits(value: float, significant: int = 3) -> str:
    """Return a number with so many significant digits, never in exponent notation: `0.0123`, `4.61`, `1,250`."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, significant - 1 - math.floor(math.log10(abs(_rounded(value, significant)))))
    return f"{value:,.{decimals}f}"


def _rounded(value: float, significant: int = 3) -> float:
    """Round to the digits that are written: 9.996 becomes 10.0, and 999.6 ms one second."""
    return float(f"{value:.{significant - 1}e}")


def seconds(value: float) -> str:
    """Return a measured time in the unit that reads best: `4.61 s`, `23.4 ms`."""
    if value == 0:
        return "0 s"
    scale, unit = _time_unit(value)
    return f"{digits(value / scale)} {unit}"


def seconds_column(values_s: Iterable[float]) -> tuple[str, Callable[[float], str]]:
    """Return one unit for a column of times, for its head, and the function that writes a time without the unit."""
    scale, unit = _time_unit(median(list(values_s) or [1.0]))
    return unit, lambda value_s: digits(value_s / scale)


def _time_unit(value_s: float) -> tuple[float, str]:
    return next(((scale, unit) for scale, unit in _TIMES if abs(_rounded(value_s)) >= scale), _TIMES[-1])


def duration(value_s: float) -> str:
    """Return how long something took, for a person: `8.4 s`, `1 min 05 s`, `2 h 03 min`."""
    whole_s = round(value_s)
    if whole_s < 60:
        return f"{value_s:.1f} s" if value_s < 9.95 else f"{whole_s} s"
    if whole_s < 3600:
        return f"{whole_s // 60} min {whole_s % 60:02d} s"
    whole_min = round(whole_s / 60)
    return f"{whole_min // 60} h {whole_min % 60:02d} min"


def size(n_bytes: float) -> str:
    """Return an amount of memory in decimal units: `8.3 GB`."""
    scale, unit = next(((scale, unit) for scale, unit in _BYTES if abs(_rounded(n_bytes)) >= scale), _BYTES[-1])
    return f"{digits(n_bytes / scale, 2 if n_bytes < 10 * scale else 3)} {unit}"


def times(value: float) -> str:
    """Return a ratio: `1.83×`, `0.74×`, `0.0040×`."""
    return f"{value:.2f}×" if 0.1 <= value < 9.995 else f"{digits(value, 3 if value > 1 else 2)}×"


FORMS: dict[str, Callable[[float], str]] = {"s": seconds, "×": times}
"""How values of a unit are written."""


def interval(low: float | None, high: float | None, form: Callable[[float], str] = digits) -> str:
    """Return an interval, its unit once where both ends share it: `1.79–1.86`, `23.1–24.6 ms`.

    Ends below zero are joined by "to", because a dash beside a minus sign is hard to read.
    """
    if low is None or high is None:
        return "no interval: too few rounds"
    first, last = form(low), form(high)
    unit = _unit(last)
    is_shared = _unit(first) == unit
    dash = " to " if low < 0 else "–" if is_shared else " – "
    return f"{first.removesuffix(unit) if is_shared else first}{dash}{last}"


def interval_of(value: Interval, form: Callable[[float], str] = times) -> str:
    """Return the interval of a value, by default a ratio."""
    return interval(value.low, value.high, form)


def _unit(text: str) -> str:
    return re.sub(r"^[-−+]?[\d,.]+", "", text)


def ratio(value: Ratio) -> str:
    """Return a speedup with its interval: `1.83× (1.79–1.86)`."""
    return f"{times(value.value)} ({interval_of(value).removesuffix('×')})"


def measured(value: Interval, form: Callable[[float], str] = seconds) -> str:
    """Return a value with its interval: `4.61 s (4.52–4.70 s)`."""
    return f"{form(value.value)} ({interval_of(value, form)})"


def compared(value: Ratio, candidate: str, baseline: str) -> str:
    """Return what a comparison found, as a clause with its figures."""
    match value.verdict:
        case Verdict.FASTER | Verdict.SLOWER:
            spread = interval_of(value).removesuffix("×")
            return f"{candidate} is {times(value.value)} as fast as {baseline} ({spread})"
        case Verdict.INDISTINGUISHABLE:
            return f"{candidate} is statistically tied with {baseline}: {ratio(value)}"
        case _:
            return f"{candidate}: no verdict against {baseline} ({value.verdict}: {value.reason})"


def gathered(flags: Iterable[Flag], n_cells: int) -> tuple[str, ...]:
    """Return one sentence per kind of flag, with the number of cells that carry it."""
    by_name: dict[str, list[str]] = {}
    for flag in flags:
        by_name.setdefault(flag.name, []).append(flag.text)
    return tuple(
        text[0] if n_cells == 1 else f"{text[0]} ({len(text)} of {plural(n_cells, 'cell')})"
        for text in by_name.values()
    )


def share(value: float) -> str:
    """Return a share of a whole: `34 %`; below one percent with a decimal."""
    percent = 100 * value
    return f"{percent:.1f} %" if 0.05 <= abs(percent) < 0.95 else f"{percent:z.0f} %"


def joined(items: Iterable[str]) -> str:
    """Join items as they are spoken: `a`, `a and b`, `a, b and c`."""
    parts = list(items)
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def plural(count: int, noun: str, plural_noun: str = "") -> str:
    """Return a count with its noun: `1 process`, `4 processes`."""
    return f"{count:,} {noun if count == 1 else plural_noun or noun + 's'}"


def capital(text: str) -> str:
    """Return the text with a capital letter at its start."""
    return text[:1].upper() + text[1:]


def marked(run: Run, text: str) -> str:
    """Return a sentence about a run, with the mark of a simulated one in front of it."""
    return f"{run.mark}: {text}" if run.mark else text


def machine_line(machine: Machine) -> str:
    """Return the machine in one line."""
    memory = size(machine.memory_bytes) if machine.memory_bytes else "memory unknown"
    cpus = plural(machine.usable_cpus, "usable CPU")
    accelerators = ", ".join(machine.accelerators) or "no accelerator"
    system, _, _ = machine.operating_system.partition(",")  # without its kernel
    return f"{machine.cpu_model} · {cpus} · {memory} · {accelerators} · {system}"


def valued(value: float | str | None, unit: str) -> str:
    """Return the value of an entry of `summary.json` with its unit: `1.83×`, `23.4 ms`, `16 inputs per call`."""
    match value:
        case None:
            return "–"
        case str():
            return value
        case int() if unit not in FORMS:
            return f"{value:,} {unit}".strip()
    return FORMS[unit](value) if unit in FORMS else f"{digits(value)} {unit}".strip()


def spread(figure: Figure) -> str:
    """Return the interval of an entry of `summary.json`, its unit only where the value's depends on its size."""
    if figure.low is None:
        return ""
    return interval(figure.low, figure.high, seconds if figure.unit == "s" else digits)
