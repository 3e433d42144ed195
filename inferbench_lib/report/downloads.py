"""Files that travel inside a page as links."""

from __future__ import annotations

import base64
import csv
import gzip
import html
import io
from collections.abc import Iterable, Sequence

from inferbench_lib.privacy import scrub_text
from inferbench_lib.records import Run

PLAIN_BYTES = 2000
"""A smaller file travels as it is."""


def data_link(name: str, payload: bytes, media_type: str) -> str:
    """HTML of a download that travels inside the page; display it with `IPython.display.HTML`.

    A larger file travels packed: the page's script unpacks it when it is asked for, and without scripts it is a `.gz`.
    """
    about, kind = f'download="{html.escape(name)}"', media_type
    if len(payload) >= PLAIN_BYTES:
        about = f'download="{html.escape(name)}.gz" data-packed="{html.escape(media_type)}"'
        kind = "application/gzip"
    packed = gzip.compress(payload, mtime=0) if kind != media_type else payload
    encoded = base64.b64encode(packed).decode("ascii")
    size = f"{len(payload) / 1000:,.1f} kB" if len(payload) >= 1000 else f"{len(payload)} bytes"
    return (
        f'<a class="download" {about} href="data:{html.escape(kind)};base64,{encoded}">{html.escape(name)}</a> '
        f"<small>({size})</small>"
    )


def samples_csv(run: Run) -> bytes:
    """Every sample of a run as a row: its cell, its round, and its seconds as they were stored."""
    names = ("workload", "engine", "executor", "device", "precision", "batch_size", "n_processes", "n_threads")
    rows: list[Sequence[object]] = [(*names, "round", "seconds")]
    for cell in run.measurements:
        about = [getattr(cell.case, name) for name in names]
        rows += [(*about, number, sample) for number, of in enumerate(cell.rounds(), start=1) for sample in of]
    return _csv(rows)


def figures_csv(runs: Sequence[Run]) -> bytes:
    """Every figure of `summary.json` as a row, its 95 % interval beside it."""
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
