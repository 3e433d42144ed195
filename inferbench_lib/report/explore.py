"""Stored runs to look around in, in JupyterLab: filters by batch size, executor and device; nothing is measured."""

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
from inferbench_lib.report.pictures import png
from inferbench_lib.report.words import digits, interval, marked, plural, seconds
from inferbench_lib.stats.statistics import summarize

FILTERS = ("batch_size", "executor", "device")
ALL = "all"
MOST_ROWS = 24
"""Cells in the figure; more are in the table alone."""


def explore(notebook: str) -> None:
    """Show controls over the stored runs of a notebook, and what they choose; a sentence where there is no run.

    Nothing at all while a report is made: controls without a kernel behind them are dead.
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
        """Of the chosen run, what can be chosen; then show it."""
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
    """The chosen cells as a figure, which no folder keeps, and as a table."""
    from IPython.display import Image
    from IPython.display import display as show

    view = times(run, cells)
    show(Image(png(view.figure()), format="png"), metadata={"image/png": {"alt": view.alt}})
    display.table(rows(run, cells))


def choices(run: Run) -> dict[str, list[Any]]:
    """The values that each filter can take in a run, in order."""
    return {name: sorted({getattr(cell.case, name) for cell in run.measurements}) for name in FILTERS}


def chosen(run: Run, **filters: Any) -> list[Measurement]:
    """The cells of a run that have these values; None lets everything through."""
    return [
        cell
        for cell in run.measurements
        if all(value is None or getattr(cell.case, name) == value for name, value in filters.items())
    ]


def times(run: Run, cells: Sequence[Measurement]) -> View:
    """How long does an input take in each of the cells?"""
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
    frame.attrs = {"x": "seconds of an input (less is better)", "say": seconds}
    reading = f"{plural(min(len(known), MOST_ROWS), 'cell')} of run {run.run_id}."
    return View(
        name="explored_times",
        frame=frame,
        draw=figures.strips,
        alt=f"Seconds of an input, every sample with median and 95 % interval. {reading}",
        reading=reading,
        size_inches=(7.4, 1.2 + 0.5 * max(1, min(len(known), MOST_ROWS))),
        mark=run.mark,
    )


def rows(run: Run, cells: Sequence[Measurement]) -> Table:
    """Every chosen cell as a row, whatever became of it."""
    found = []
    for cell in cells:
        summary = summarize(cell)
        centre, rate, is_measured = summary.median_s, summary.throughput_per_s, summary.is_measured
        found.append(
            {
                "cell": _label(cell),
                "median": seconds(centre.value) if is_measured else "–",
                "95 % interval": interval(centre.low, centre.high, seconds) if is_measured else "–",
                "inputs/s": digits(rate.value) if is_measured else "–",
                "samples": summary.n_samples,
                "outcome": f"{summary.outcome}{f': {summary.reason}' if summary.reason else ''}",
            }
        )
    columns = ["cell", "median", "95 % interval", "inputs/s", "samples", "outcome"]
    counted = (
        f"{len(cells)} of {plural(len(run.measurements), 'cell')} of run {run.run_id}, read and not measured again."
    )
    return Table(frame=pd.DataFrame(found, columns=columns), reading=marked(run, counted))


def _label(cell: Measurement) -> str:
    return str(cell.case).removesuffix(" · fp32")
