"""Which raw data a page carries: all of it where there is room, else what says most, and in words what is left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from inferbench_lib import store
from inferbench_lib.records import Run, from_plain, plain
from inferbench_lib.report.downloads import data_link, figures_csv, samples_csv

ROOM_BYTES = 100_000
"""For raw data: what the page's limit of 400 kB leaves beside its pictures, tables and words."""
LESS_ROOM_BYTES = {"hardware_analysis": 50_000}
"""Where there are more pictures and tables."""
DIGITS = 4
"""Of a time, where there is no room for all: off by at most 0.05 %, far less than one round is from another."""


@dataclass(frozen=True, kw_only=True)
class Carried:
    """The links of a page, as HTML, and what they leave out; empty where they leave out nothing."""

    links: tuple[str, ...]
    note: str = ""


def carried(run: Run, room_bytes: int | None = None) -> Carried:
    """A notebook's record, and its samples as a table, as complete as there is room for."""
    room_bytes = LESS_ROOM_BYTES.get(run.notebook, ROOM_BYTES) if room_bytes is None else room_bytes
    here = f"data/{run.notebook}.json in the run's folder"
    for values, has_table, left_out in _ever_less(run):
        links = [_record_link(values)]
        if has_table and values.measurements:
            links.append(data_link(f"{run.notebook}.csv", samples_csv(values), "text/csv"))
        if sum(map(len, links)) <= room_bytes:
            return Carried(links=tuple(links), note=f"So that the page stays small, {left_out}; {here} has it all."
                           if left_out else "")  # fmt: skip
    return Carried(links=(), note=f"The raw data is too large for a page: it is {here}.")


def carried_together(runs: Sequence[Run], room_bytes: int = ROOM_BYTES) -> Carried:
    """The records of a run's notebooks, and all their figures as a table.

    Where there is no room for all, times are told to fewer digits, then the largest records are left to their pages.
    """
    table = data_link("figures.csv", figures_csv(runs), "text/csv")
    links = {run.notebook: _record_link(_without_spans(run)) for run in runs}
    said: list[str] = []
    if sum(map(len, links.values())) + len(table) > room_bytes:
        links = {run.notebook: _record_link(_bare(_rounded(_without_spans(run)))) for run in runs}
        said = [f"times are told to {DIGITS} digits here and what was timed beside the calls is left out"]
    missing = []
    while links and sum(map(len, links.values())) + len(table) > room_bytes:
        missing.append(max(links, key=lambda name: len(links[name])))
        del links[missing[-1]]
    said += [f"the samples of {name} travel in {name}.html" for name in missing]
    note = f"So that the page stays small, {', and '.join(said)}; data/ in the run's folder has it all." if said else ""
    return Carried(links=(*links.values(), table), note=note)


def _ever_less(run: Run) -> Iterator[tuple[Run, bool, str]]:
    """The record, whether with a table of its samples, and what is left out; each shorter than the one before."""
    whole = _without_spans(run)
    yield whole, True, ""
    short = _rounded(whole)
    digits = f"times are told to {DIGITS} digits here"
    yield short, True, digits
    bare = _bare(short)
    beside = "what was timed beside the calls"
    yield bare, True, f"{digits} and {beside} is left out"
    yield bare, False, f"{digits}, and {beside} and the table of samples are left out"


def _record_link(run: Run) -> str:
    return data_link(f"{run.notebook}.json", store.dump_run(run), "application/json")


def _without_spans(run: Run) -> Run:
    """The spans of single samples, by far the most of a record, stay in the run's folder."""
    return replace(run, measurements=tuple(replace(cell, spans=()) for cell in run.measurements))


def _bare(run: Run) -> Run:
    return replace(run, measurements=tuple(replace(cell, series={}) for cell in run.measurements))


def _rounded(run: Run) -> Run:
    return from_plain(_short(plain(run)))


def _short(values: Any) -> Any:
    """The same values, numbers in lists to `DIGITS` digits, but for the moments at which a gauge was read."""
    if isinstance(values, dict):
        return {name: of if name == "telemetry" else _short(of) for name, of in values.items()}
    if isinstance(values, list):
        return [float(f"{one:.{DIGITS}g}") if isinstance(one, float) else _short(one) for one in values]
    return values
