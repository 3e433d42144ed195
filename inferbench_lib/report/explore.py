"""Browse stored runs in JupyterLab, filtered by batch size, executor and device. Nothing is measured."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd

from inferbench_lib import store
from inferbench_lib.errors import StoreError
from inferbench_lib.records import Measurement, Run
from inferbench_lib.report import display, figures
from inferbench_lib.report.display import Table, View
from inferbench_lib.report.words import digits, interval, marked, plural, seconds, seconds_column
from inferbench_lib.stats.statistics import summarize

FILTERS = ("batch_size", "executor", "device")
ALL = "all"
MOST_ROWS = 24
"""Cells in the figure; the table has all."""


def explore(notebook: str) -> None:
    """Show controls to select stored cells of a notebook, and their times; a sentence where there is no stored run.

    Show nothing while a report is made, because controls need a kernel.
    """
    if store.RUN_FOLDER in os.environ:
        return
    ids = store.stored_ids(notebook)
    if not ids:
        display.read(f"There is no stored run of {notebook} yet: run the cells above, or make report.")
        return
    _show_controls(notebook, ids)


def _show_controls(notebook: str, ids: Sequence[str]) -> None:
    from IPython.display import display as show
    from ipywidgets import Dropdown, HBox, Output, VBox

    runs = Dropdown(options=ids[::-1], description="run", layout={"width": "24rem"})
    filters = {name: Dropdown(description=name.replace("_", " "), layout={"width": "16rem"}) for name in FILTERS}
    shown = Output()

    def offer(_: Any = None) -> None:
        """Fill the filters with the values of the selected run, then show it."""
        try:
            run = store.stored_run(notebook, runs.value)
        except StoreError as error:
            with shown:
                shown.clear_output(wait=True)
                display.read(str(error))
            return
        for control in filters.values():
            control.unobserve_all("value")
        for name, values in choices(run).items():
            kept = filters[name].value
            filters[name].options = [(ALL, None), *((str(value), value) for value in values)]
            filters[name].value = kept if kept in values else None
        for control in filters.values():
            control.observe(partial(update, run), "value")
        update(run)

    def update(run: Run, _: Any = None) -> None:
        with shown:
            shown.clear_output(wait=True)
            _show_cells(run, chosen(run, **{name: control.value for name, control in filters.items()}))

    runs.observe(offer, "value")
    offer()
    show(VBox([HBox([runs, *filters.values()], layout={"flex_flow": "row wrap"}), shown]))


def _show_cells(run: Run, cells: Sequence[Measurement]) -> None:
    """Show the selected cells as a figure, which is not saved, and as a table."""
    from IPython.display import display as show

    show(times(run, cells).figure())
    display.table(rows(run, cells))


def choices(run: Run) -> dict[str, list[Any]]:
    """Return the values that each filter can take in a run, in order."""
    return {name: sorted({getattr(cell.case, name) for cell in run.measurements}) for name in FILTERS}


def chosen(run: Run, **filters: Any) -> list[Measurement]:
    """Return the cells of a run that have these values; None matches all."""
    return [
        cell
        for cell in run.measurements
        if all(value is None or getattr(cell.case, name) == value for name, value in filters.items())
    ]


def times(run: Run, cells: Sequence[Measurement]) -> View:
    """Return a figure of the seconds per input in each cell."""
    found: list[dict[str, Any]] = []
    known = [(cell, summarize(cell)) for cell in cells]
    known = [(cell, summary) for cell, summary in known if summary.is_measured]
    for cell, summary in known[:MOST_ROWS]:
        n, at = cell.inputs_per_call, {"label": _label(cell)}
        centre = summary.median_s
        ends = [None if end is None else end / n for end in (centre.low, centre.high)]
        found += [{**at, "kind": "sample", "value": sample / n} for sample in cell.samples_s]
        found.append({**at, "kind": "median", "value": centre.value / n, "low": ends[0], "high": ends[1]})
    frame = pd.DataFrame(found, columns=["label", "kind", "value", "low", "high"]).astype({"low": float, "high": float})
    frame.attrs = {"x": "seconds per input (lower is better)", "say": seconds}
    reading = f"{plural(min(len(known), MOST_ROWS), 'cell')} of run {run.run_id}."
    return View(
        name="explored_times",
        frame=frame,
        draw=figures.strips,
        alt=f"Seconds per input: every sample, the median and its 95 % interval. {reading}",
        reading=reading,
        size_inches=(7.4, 1.2 + 0.5 * max(1, min(len(known), MOST_ROWS))),
        mark=run.mark,
    )


def rows(run: Run, cells: Sequence[Measurement]) -> Table:
    """Return a table of the selected cells, failed ones included."""
    summaries = [summarize(cell) for cell in cells]
    unit, in_unit = seconds_column(summary.median_s.value for summary in summaries if summary.is_measured)
    columns = ["cell", f"median ({unit})", f"95 % interval ({unit})", "inputs/s", "samples", "outcome"]
    found = []
    for cell, summary in zip(cells, summaries, strict=True):
        centre, rate, is_measured = summary.median_s, summary.throughput_per_s, summary.is_measured
        found.append(
            (
                _label(cell),
                in_unit(centre.value) if is_measured else "–",
                interval(centre.low, centre.high, in_unit) if is_measured else "–",
                digits(rate.value) if is_measured else "–",
                summary.n_samples,
                f"{summary.outcome}{f': {summary.reason}' if summary.reason else ''}",
            )
        )
    counted = f"{len(cells)} of {plural(len(run.measurements), 'cell')} of run {run.run_id}, not measured again."
    return Table(frame=pd.DataFrame(found, columns=columns), reading=marked(run, counted))


def _label(cell: Measurement) -> str:
    return str(cell.case).removesuffix(" · fp32")
