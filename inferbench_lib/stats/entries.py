"""Name and write the entries of `summary.json`; the same names in words, and the same values as columns of a frame."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields

from inferbench_lib.findings import Interval, Ratio
from inferbench_lib.records import Case, Figure

SHORT = {"n_processes": "p", "n_threads": "t", "batch_size": "b"}
NOUNS = {"n_processes": ("process", "processes"), "n_threads": ("thread", "threads"), "batch_size": ("input",) * 2}


@dataclass(frozen=True, kw_only=True)
class Label:
    """A name for cells: `key` within the names of figures, `more` the words for what is not usual about them."""

    key: str
    more: tuple[str, ...] = ()

    def inside(self, name: str) -> str:
        """Return the name of a figure: `name[key]`, or `name` where nothing has to be added."""
        return f"{name}[{self.key}]" if self.key else name


def labels(cases: Iterable[Case], *named: str, apart_from: Collection[str] = ()) -> dict[Case, Label]:
    """Label cases by their fields `named` and by whatever else tells them apart, except the fields `apart_from`.

    A label always holds a precision other than fp32, and an engine other than that of the workload's first case. It
    holds any other field where that differs from the first case with the same name. Cases that differ only in fields
    `apart_from` share a label.
    """
    found: dict[Case, Label] = {}
    engines: dict[str, str] = {}
    firsts: dict[tuple[str, ...], Case] = {}
    for case in cases:
        usual = {"engine": engines.setdefault(case.workload, case.engine), "precision": "fp32"}
        free = [of.name for of in fields(case) if of.name not in (*named, *apart_from)]
        unusual = [name for name in free if name in usual and getattr(case, name) != usual[name]]
        lead = tuple(str(getattr(case, name)) for name in (*named, *unusual))
        first = firsts.setdefault(lead, case)
        differing = [name for name in free if name not in unusual and getattr(case, name) != getattr(first, name)]
        found[case] = Label(
            key=",".join((*lead, *(_short(case, name) for name in differing))),
            more=(*lead[len(named) :], *(_words(case, name) for name in differing)),
        )
    return found


def _short(case: Case, name: str) -> str:
    value = getattr(case, name)
    return ("cold" if value else "warm") if name == "cold" else f"{SHORT.get(name, '')}{value}"


def _words(case: Case, name: str) -> str:
    value = getattr(case, name)
    return f"{value:,} {NOUNS[name][value != 1]}" if isinstance(value, int) and name in NOUNS else _short(case, name)


def entry(value: Interval | Ratio, unit: str, verdict: str = "", *, is_known: bool = True) -> Figure:
    """Return a value with its interval; None where it is unknown or withheld, since JSON has no NaN."""
    if not is_known or math.isnan(value.value):
        return Figure(value=None, unit=unit, verdict=verdict)
    return Figure(value=value.value, low=value.low, high=value.high, unit=unit, verdict=verdict, kind="interval")


def columns(of: Interval | Ratio, unit: float = 1.0) -> dict[str, float]:
    """Return a value with its interval, over a unit, as columns of a frame; NaN where the interval is withheld."""
    low, high = (math.nan if end is None else end / unit for end in (of.low, of.high))
    return {"value": of.value / unit, "low": low, "high": high}
