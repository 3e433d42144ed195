"""Browse stored runs in JupyterLab, filtered by batch size, executor and device. Nothing is measured."""

from __future__ import annotations

from collections.abc import Sequence
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
    from IPython.display import display as show
    from ipywidgets import Dropdown, HBox, Output, VBox

    if store.is_report():
        return
    ids = store.stored_ids(notebook)
    if not ids:
        display.read(f"There is no stored run of {notebook} yet: run the cells above, or make report.")
        return
    runs = Dropdown(options=ids[::-1], description="run", layout={"width": "24rem"})
    filters = {name: Dropdown(description=name.replace("_", " "), layout={"width": "16rem"}) for name in FILTERS}
    shown = Output()
    current: list[Run] = []  # empty while the filters are filled

    @shown.capture(clear_output=True, wait=True)  # type: ignore[untyped-decorator]
    def update() -> None:
        cells = chosen(current[0], **{name: control.value for name, control in filters.items()})
        show(times(current[0], cells).figure())  # not saved
        display.table(rows(current[0], cells))

    @shown.capture(clear_output=True, wait=True)  # type: ignore[untyped-decorator]
    def offer(_: Any = None) -> None:
        """Fill the filters with the values of the selected run, then show it."""
        current.clear()
        try:
            run = store.stored_run(notebook, runs.value)
        except StoreError as error:
            display.read(str(error))
            return
        for name, values in choices(run).items():
            control, kept = filters[name], filters[name].value
            control.options = [ALL, *values]
            control.value = kept if kept in values else ALL
        current.append(run)
        update()

    for control in filters.values():
        control.observe(lambda _: current and update(), "value")
    runs.observe(offer, "value")
    offer()
    show(VBox([HBox([runs, *filters.values()], layout={"flex_flow": "row wrap"}), shown]))


def choices(run: Run) -> dict[str, list[Any]]:
    """Return the values that each filter can take in a run, in order."""
    return {name: sorted({getattr(cell.case, name) for cell in run.measurements}) for name in FILTERS}


def chosen(run: Run, **filters: Any) -> list[Measurement]:
    """Return the cells of a run that have these values; `ALL` matches all."""
    return [
        cell
        for cell in run.measurements
        if all(value == ALL or getattr(cell.case, name) == value for name, value in filters.items())
    ]


def times(run: Run, cells: Sequence[Measurement]) -> View:
    """Return a figure of the seconds per input in each cell."""
    known = [(cell, of) for cell in cells if (of := summarize(cell)).is_measured]
    found: list[tuple[Any, ...]] = []
    for cell, summary in known[:MOST_ROWS]:
        n, centre = cell.inputs_per_call, summary.median_s
        found += [(_label(cell), "sample", sample / n, None, None) for sample in cell.samples_s]
        ends = [None if end is None else end / n for end in (centre.low, centre.high)]
        found.append((_label(cell), "median", centre.value / n, *ends))
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
        centre = summary.median_s
        told = [
            in_unit(centre.value),
            interval(centre.low, centre.high, in_unit),
            digits(summary.throughput_per_s.value),
        ]
        outcome = ": ".join(filter(None, (summary.outcome, summary.reason)))
        found.append((_label(cell), *(told if summary.is_measured else ["–"] * 3), summary.n_samples, outcome))
    counted = f"{len(cells)} of {plural(len(run.measurements), 'cell')} of run {run.run_id}, not measured again."
    return Table(frame=pd.DataFrame(found, columns=columns), reading=marked(run, counted))


def _label(cell: Measurement) -> str:
    return str(cell.case).removesuffix(" · fp32")
