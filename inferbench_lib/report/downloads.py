"""Raw data as links inside a page: all of it where there is room, else the most telling part and a note."""

from __future__ import annotations

import base64
import csv
import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from inferbench_lib import store
from inferbench_lib.privacy import scrub_text
from inferbench_lib.records import Run, from_plain, plain

PLAIN_BYTES = 2000
"""A smaller file is embedded without compression."""
ROOM_BYTES = 100_000
"""Raw data that fits into a page of 400 kB beside its pictures, tables and text."""
DIGITS = 4
"""Of a time, where there is no room for all: off by at most 0.05 %, far less than rounds differ."""


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """The links of a page, as HTML, and a note on what they leave out."""

    links: tuple[str, ...]
    note: str = ""


def embed(run: Run, room_bytes: int = ROOM_BYTES) -> Embedded:
    """Link a notebook's record and a table of its samples, as complete as there is room for."""
    here = f"data/{run.notebook}.json in the run's folder"
    for values, has_table, left_out in _shorter_and_shorter(run):
        links = [_record_link(values)]
        if has_table and values.measurements:
            links.append(data_link(f"{run.notebook}.csv", samples_csv(values), "text/csv"))
        if sum(map(len, links)) <= room_bytes:
            note = f"To keep the page small, {left_out}; {here} has everything." if left_out else ""
            return Embedded(links=tuple(links), note=note)
    return Embedded(links=(), note=f"The raw data is too large for a page: see {here}.")


def embed_all(runs: Sequence[Run], room_bytes: int = ROOM_BYTES) -> Embedded:
    """Link the records of a run's notebooks, and one table of all their figures.

    Without room for all, times lose digits first; then the largest records are left to their own pages.
    """
    table = data_link("figures.csv", figures_csv(runs), "text/csv")
    links = {run.notebook: _record_link(_without_spans(run)) for run in runs}
    left_out: list[str] = []
    if sum(map(len, links.values())) + len(table) > room_bytes:
        links = {run.notebook: _record_link(_without_series(_rounded(_without_spans(run)))) for run in runs}
        left_out = [f"times have {DIGITS} digits and additional timing series are left out"]
    missing = []
    while links and sum(map(len, links.values())) + len(table) > room_bytes:
        missing.append(max(links, key=lambda name: len(links[name])))
        del links[missing[-1]]
    left_out += [f"the samples of {name} are in {name}.html" for name in missing]
    note = f"To keep the page small, {', and '.join(left_out)}; data/ in the run's folder has everything."
    return Embedded(links=(*links.values(), table), note=note if left_out else "")


def data_link(name: str, payload: bytes, media_type: str) -> str:
    """Return the HTML of a download that is embedded in the page.

    A larger file is compressed: the page's script unpacks it on a click; without scripts it is saved as `.gz`.
    """
    file, kind, content, packed = name, media_type, payload, Markup("")
    if len(payload) >= PLAIN_BYTES:
        file, kind, content = f"{name}.gz", "application/gzip", gzip.compress(payload, mtime=0)
        packed = Markup(' data-packed="{}"').format(media_type)
    encoded = base64.b64encode(content).decode("ascii")
    size = f"{len(payload) / 1000:,.1f} kB" if len(payload) >= 1000 else f"{len(payload)} bytes"
    return Markup(
        '<a class="download" download="{file}"{packed} href="data:{kind};base64,{encoded}">{name}</a> '
        "<small>({size})</small>"
    ).format(file=file, packed=packed, kind=kind, encoded=encoded, name=name, size=size)


def samples_csv(run: Run) -> bytes:
    """Return every sample as a row: its cell, its round, and its seconds as they were stored."""
    names = ("workload", "engine", "executor", "device", "precision", "batch_size", "n_processes", "n_threads")
    rows: list[Sequence[object]] = [(*names, "round", "seconds")]
    for cell in run.measurements:
        about = [getattr(cell.case, name) for name in names]
        rows += [(*about, number, sample) for number, of in enumerate(cell.rounds(), start=1) for sample in of]
    return _csv(rows)


def figures_csv(runs: Sequence[Run]) -> bytes:
    """Return every figure of `summary.json` as a row, with its 95 % interval."""
    rows: list[Sequence[object]] = [("figure", "value", "low", "high", "unit", "verdict")]
    rows += [
        (f"{run.notebook}/{name}", figure.value, figure.low, figure.high, figure.unit, figure.verdict)
        for run in runs
        for name, figure in run.summary.items()
    ]
    return _csv(rows)


def _csv(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return scrub_text(text.getvalue()).encode()


def _shorter_and_shorter(run: Run) -> Iterator[tuple[Run, bool, str]]:
    """Yield ever shorter records, whether a table of samples comes with each, and what is left out."""
    whole = _without_spans(run)
    yield whole, True, ""
    short = _rounded(whole)
    digits = f"times have {DIGITS} digits"
    yield short, True, digits
    bare = _without_series(short)
    yield bare, True, f"{digits} and additional timing series are left out"
    yield bare, False, f"{digits}, and additional timing series and the table of samples are left out"


def _record_link(run: Run) -> str:
    return data_link(f"{run.notebook}.json", store.dump_run(run), "application/json")


def _without_spans(run: Run) -> Run:
    """Leave out the spans of single samples, most of a record's bytes; the run's folder keeps them."""
    return replace(run, measurements=tuple(replace(cell, spans=()) for cell in run.measurements))


def _without_series(run: Run) -> Run:
    return replace(run, measurements=tuple(replace(cell, series={}) for cell in run.measurements))


def _rounded(run: Run) -> Run:
    return from_plain(_short(plain(run)))


def _short(values: Any) -> Any:
    """Round the numbers in lists to `DIGITS` digits, except the times at which a gauge was read."""
    if isinstance(values, dict):
        return {name: of if name == "telemetry" else _short(of) for name, of in values.items()}
    if isinstance(values, list):
        return [float(f"{one:.{DIGITS}g}") if isinstance(one, float) else _short(one) for one in values]
    return values
