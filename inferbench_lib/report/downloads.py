"""Raw data as links inside a page: all of it where there is room, else the most telling part and a note."""

from __future__ import annotations

import base64
import csv
import gzip
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from inferbench_lib.privacy import scrub_text
from inferbench_lib.records import Run, from_plain, plain
from inferbench_lib.store import dump_run

PLAIN_BYTES = 2000
"""A smaller file is embedded without compression."""
ROOM_BYTES = 100_000
"""Raw data that fits into a page of 400 kB beside its pictures, tables and text."""
TABLE = "table"
DIGITS = 4
"""Of a time, where there is no room for all: off by at most 0.05 %, far less than rounds differ."""


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """The links of a page, as HTML, and a note on what they leave out."""

    links: tuple[str, ...]
    note: str = ""


def embed(runs: Sequence[Run], room_bytes: int = ROOM_BYTES) -> Embedded:
    """Link the records of notebooks and one table: the samples of a single one, else the figures of all.

    Without room for all, times lose digits, then additional series go, then whole files. Of a single notebook the table
    goes first; of several, the largest records, which are on their own pages.
    """
    for offered in _less_and_less(runs):
        if sum(map(len, offered.links)) <= room_bytes:
            break
    return offered


def _less_and_less(runs: Sequence[Run]) -> Iterator[Embedded]:
    where = "data/" if len(runs) > 1 else f"data/{runs[0].notebook}.json"
    for left_out, shorten in SHORTER.items():
        links = _links([shorten(_without_spans(run)) for run in runs])
        yield _offer(links, left_out, where)
    records = sorted((name for name in links if name != TABLE), key=lambda name: -len(links[name]))
    reasons = {name: f"the samples of {name} are in {name}.html" for name in records}
    if len(runs) == 1:
        reasons = {TABLE: "the table of samples is left out", records[0]: "the record is left out"}
    for name in filter(links.__contains__, reasons):
        del links[name]
        left_out = f"{left_out}, and {reasons[name]}"
        yield _offer(links, left_out, where)


def _links(runs: Sequence[Run]) -> dict[str, str]:
    """Return the link of each notebook's record and, if there is anything to list, of the table."""
    links = {run.notebook: data_link(f"{run.notebook}.json", dump_run(run), "application/json") for run in runs}
    if len(runs) > 1:
        links[TABLE] = data_link("figures.csv", figures_csv(runs), "text/csv")
    elif runs[0].measurements:
        links[TABLE] = data_link(f"{runs[0].notebook}.csv", samples_csv(runs[0]), "text/csv")
    return links


def _offer(links: Mapping[str, str], left_out: str, where: str) -> Embedded:
    note = f"To keep the page small, {left_out}; {where} in the run's folder has everything."
    return Embedded(links=tuple(links.values()), note=note if left_out else "")


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


SHORTER: Mapping[str, Callable[[Run], Run]] = {
    "": lambda run: run,
    f"times have {DIGITS} digits": _rounded,
    f"times have {DIGITS} digits and additional timing series are left out": lambda run: _without_series(_rounded(run)),
}
"""What ever shorter records leave out, and how."""
