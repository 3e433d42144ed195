"""Raw data as links inside a page: all of it where there is room, else the most telling part and a note."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, fields, replace
from typing import Any

import pandas as pd
from markupsafe import Markup

from inferbench_lib.privacy import scrub_text
from inferbench_lib.records import Figure, Run, from_plain, plain
from inferbench_lib.store import dump_run

PLAIN_BYTES = 2000
"""A smaller file is embedded without compression."""
ROOM_BYTES = 100_000
"""Raw data that fits into a page of 400 kB beside its pictures, tables and text."""
TABLE = "table"
DIGITS = 4
"""Of a time, where there is no room for all: off by at most 0.05 %, far less than rounds differ."""


def embed(runs: Sequence[Run], room_bytes: int = ROOM_BYTES) -> tuple[list[str], str]:
    """Link the records of notebooks and one table: the samples of a single one, else the figures of all.

    Return the links as HTML, and a note on what they leave out. Without room for all, times lose digits, then
    additional series go, then whole files. Of a single notebook the table goes first; of several, the largest records,
    which are on their own pages.
    """
    where = "data/" if len(runs) > 1 else f"data/{runs[0].notebook}.json"
    for links, left_out in _less_and_less(runs):
        note = f"To keep the page small, {left_out}; {where} in the run's folder has everything." if left_out else ""
        if sum(map(len, links.values())) <= room_bytes:
            break
    return list(links.values()), note


def _less_and_less(runs: Sequence[Run]) -> Iterator[tuple[dict[str, str], str]]:
    """Yield ever fewer links by name, with what they leave out."""
    for left_out, shorten in SHORTER.items():
        links = _links([shorten(_without(run, spans=())) for run in runs])
        yield links, left_out
    records = sorted((name for name in links if name != TABLE), key=lambda name: -len(links[name]))
    reasons = {name: f"the samples of {name} are in {name}.html" for name in records}
    if len(runs) == 1:
        reasons = {TABLE: "the table of samples is left out", records[0]: "the record is left out"}
    for name in filter(links.__contains__, reasons):
        del links[name]
        left_out = f"{left_out}, and {reasons[name]}"
        yield links, left_out


def _links(runs: Sequence[Run]) -> dict[str, str]:
    """Return the link of each notebook's record and, if there is anything to list, of the table."""
    links = {run.notebook: data_link(f"{run.notebook}.json", dump_run(run), "application/json") for run in runs}
    if len(runs) > 1:
        links[TABLE] = data_link("figures.csv", figures_csv(runs), "text/csv")
    elif runs[0].measurements:
        links[TABLE] = data_link(f"{runs[0].notebook}.csv", samples_csv(runs[0]), "text/csv")
    return links


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
    rows = [
        (*(getattr(cell.case, name) for name in names), number, sample)
        for cell in run.measurements
        for number, samples in enumerate(cell.rounds(), start=1)
        for sample in samples
    ]
    return _csv(rows, [*names, "round", "seconds"])


def figures_csv(runs: Sequence[Run]) -> bytes:
    """Return every figure of `summary.json` as a row, with its ends and what they are."""
    rows = [(f"{run.notebook}/{name}", *astuple(figure)) for run in runs for name, figure in run.summary.items()]
    return _csv(rows, ["figure", *(field.name for field in fields(Figure))])


def _csv(rows: list[tuple[Any, ...]], columns: list[str]) -> bytes:
    return scrub_text(pd.DataFrame(rows, columns=columns, dtype=object).to_csv(index=False)).encode()


def _without(run: Run, **empty: Any) -> Run:
    """Empty these fields of every cell. Spans of single samples are most of a record; the run's folder keeps them."""
    return replace(run, measurements=tuple(replace(cell, **empty) for cell in run.measurements))


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
    f"times have {DIGITS} digits and additional timing series are left out": lambda run: _rounded(
        _without(run, series={})
    ),
}
"""What ever shorter records leave out, and how."""
