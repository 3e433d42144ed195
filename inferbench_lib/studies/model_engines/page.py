"""Show which engine and precision to use at each batch size, their gain, their price, and what was left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from inferbench_lib.findings import Advice, Ratio, Refusal
from inferbench_lib.records import CPU
from inferbench_lib.report import figures
from inferbench_lib.report.display import Answer, Card, View
from inferbench_lib.report.words import (
    capital,
    digits,
    gathered,
    interval,
    joined,
    marked,
    ratio,
    seconds,
    share,
    times,
)
from inferbench_lib.stats.comparison import WORTH
from inferbench_lib.studies.model_engines.page_code import code
from inferbench_lib.studies.model_engines.page_tables import left_out as left_out
from inferbench_lib.studies.model_engines.page_tables import name_of, not_measured, short_name
from inferbench_lib.studies.model_engines.page_tables import price_list as price_list
from inferbench_lib.studies.model_engines.page_tables import table as table
from inferbench_lib.studies.model_engines.study import Cell, Choice, EnginesStudy
from inferbench_lib.studies.model_engines.study import study as study
from inferbench_lib.work import title_of


def answer(said: EnginesStudy) -> Answer:
    """Return the engine of each workload, its gain at each batch size, and the code.

    Where no engine is recommended, the cards tell the time of the library as it comes.
    """
    cards = [
        Card(
            value=times(best.gain.value),
            label=f"{title_of(choice.workload)}, batch {choice.batch_size:,}: {name_of(best)}",
            interval=f"{interval(best.gain.low, best.gain.high, times)} over {name_of(choice.baseline)}",
        )
        for choice in said.choices
        if (best := choice.recommended)
    ] or [
        Card(
            value=seconds(choice.baseline.latency_s.value),
            label=f"per call of {title_of(choice.workload)}, batch {choice.batch_size:,}: {name_of(choice.baseline)}",
            interval=interval(choice.baseline.latency_s.low, choice.baseline.latency_s.high, seconds),
        )
        for choice in said.choices
        if choice.baseline.latency_s.value > 0
    ]
    flags = gathered((flag for cell in said.cells for flag in cell.measurement.flags), len(said.cells))
    refused = [
        f"{capital(title_of(choice.workload))}, batch {choice.batch_size:,}: {choice.best.reason}"
        for choice in said.choices
        if isinstance(choice.best, Refusal)
    ]
    verdict = " ".join(_sentence(said, workload) for workload in said.run.tables["baselines"])
    return Answer(
        verdict=marked(said.run, verdict), cards=tuple(cards), flags=(*flags, *not_measured(said), *refused),
        code=code(said.choices),
    )  # fmt: skip


def advise(said: EnginesStudy) -> Advice | None:
    """Recommend the engine of each workload, or its own library; None where nothing was compared."""
    best = [cell for workload in said.workloads if (cell := _most_gain(said, workload))]
    if not best and not any(isinstance(choice.best, Cell) and choice.best.is_baseline for choice in said.choices):
        return None
    if not best:
        evidence = f"no engine gained more than {share(WORTH - 1)}"
        return Advice(recommendation="keep the library as it comes", evidence=evidence, limits=_limits(said))
    uses = joined(
        f"{name_of(cell)} for {title_of(cell.case.workload)} ({times(cell.gain.value)} at batch "
        f"{cell.case.batch_size:,})"
        for cell in best
    )
    evidence = "; ".join(
        f"{title_of(choice.workload)}, batch {choice.batch_size:,}: {ratio(cell.gain)}"
        for choice in said.choices
        if (cell := choice.recommended)
    )
    most = max(best, key=lambda cell: _low(cell.gain))
    lines = code(choice for choice in said.choices if choice.workload == most.case.workload)
    return Advice(
        recommendation=f"use another engine: {uses}", evidence=evidence, limits=_limits(said), gain=most.gain,
        code=lines,
    )  # fmt: skip


def _most_gain(said: EnginesStudy, workload: str) -> Cell | None:
    """Return the recommended cell of a workload with the largest gain; None without any."""
    cells = [cell for choice in said.choices if choice.workload == workload and (cell := choice.recommended)]
    return max(cells, key=lambda cell: _low(cell.gain), default=None)


def _low(gain: Ratio) -> float:
    return gain.low or 0.0


def _limits(said: EnginesStudy) -> str:
    params = said.run.params
    limits = [f"the class agrees for at least {share(params['min_agreement'])} of the inputs"]
    if params.get("max_latency_s"):
        limits.append(f"latency of at most {seconds(params['max_latency_s'])}")
    return joined(limits)


def _sentence(said: EnginesStudy, workload: str) -> str:
    """Return what to use for a workload: the engine at its smallest batch, and from which batch another one."""
    best = _most_gain(said, workload)
    if best is None:
        return _without_gain(workload, [choice for choice in said.choices if choice.workload == workload])
    text = f"{capital(title_of(workload))}: use {name_of(best)}, {ratio(best.gain)} at batch {best.case.batch_size:,}"
    crossed = said.crossovers.get(workload)
    if crossed is None or (best.case.engine, best.case.precision) != (crossed.before, "fp32"):
        return f"{text}."
    return f"{text}; from {digits(crossed.batch_size.value, 2)} inputs per call {short_name(crossed.after)}."


def _without_gain(workload: str, choices: Sequence[Choice]) -> str:
    """Return why no engine is recommended: no verdict, a library as fast, or nothing within the limits."""
    title = title_of(workload)
    kept = [choice.best for choice in choices if isinstance(choice.best, Cell)]
    if kept:
        return f"{capital(title)}: keep {name_of(kept[0])}; no engine gained more than {share(WORTH - 1)}."
    lost = "its own library was not measured, and nothing can be compared without it"
    reasons = (choice.best.reason for choice in choices if isinstance(choice.best, Refusal))
    return f"No recommendation for {title}: {next(reasons, lost).removesuffix('.')}."


def gain_by_batch(said: EnginesStudy) -> View:
    """Show the gain of each engine over the library as it comes."""
    cells = [cell for cell in said.cells if not cell.is_baseline and not math.isnan(cell.gain.value)]
    frame = pd.DataFrame(
        [
            {
                "workload": title_of(cell.case.workload),
                "label": _label(cell),
                "batch": cell.case.batch_size,
                "gain": cell.gain.value,
            }
            for cell in cells
        ]
    )
    best = max(cells, key=lambda cell: _low(cell.gain), default=None)
    reading = (
        "No engine was measured."
        if best is None
        else (
            f"The largest gain is {ratio(best.gain)}: {name_of(best)} with {title_of(best.case.workload)} at batch "
            f"{best.case.batch_size:,}. Values below 1× are slower than the library as it comes."
        )
    )
    n_panels = max(1, len(said.workloads))
    n_labels = max((rows["label"].nunique() for _, rows in frame.groupby("workload")), default=1) if cells else 1
    return View(
        name="engine_gain", frame=frame, draw=_heat_maps, alt="Gain of each engine by batch size, as a heat map.",
        reading=reading, size_inches=(9.2, 1.4 + 0.42 * n_labels), grid=(1, n_panels), mark=said.run.mark,
    )  # fmt: skip


def _label(cell: Cell) -> str:
    """Return the engine and its precision, and the device where it is not the CPU."""
    name = short_name(cell.case.engine, cell.case.precision)
    return name if cell.case.device == CPU else f"{name}, {cell.case.device}"


def _heat_maps(frame: pd.DataFrame, axes: Sequence[Any]) -> None:
    for (workload, rows), ax in zip(frame.groupby("workload", sort=False), axes, strict=False):
        rows.attrs = {"title": workload, "x": "batch size", "say": times}
        figures.heat_map(rows, [ax])


def time_per_input(said: EnginesStudy) -> View:
    """Show where one engine overtakes another: the time per input against batch size."""
    workload = next(iter(said.crossovers), next(iter(said.workloads), ""))
    rows = [
        {
            "label": f"{_label(cell)}{', as it comes' if cell.is_baseline else ''}",
            "x": cell.case.batch_size,
            "y": cell.latency_s.value / cell.case.batch_size,
            "low": _over(cell.latency_s.low, cell),
            "high": _over(cell.latency_s.high, cell),
        }
        for cell in said.cells
        if cell.case.workload == workload and cell.case.precision == "fp32" and cell.latency_s.value > 0
    ]
    frame = pd.DataFrame(rows, columns=["label", "x", "y", "low", "high"])
    frame.attrs = {"x": "batch size", "y": "time per input (s)", "title": title_of(workload)}
    return View(
        name="engine_crossover", frame=frame, draw=figures.lines, alt="Time per input by batch size.",
        reading=_crossing(said, workload), mark=said.run.mark,
    )  # fmt: skip


def _over(value: float | None, cell: Cell) -> float:
    return math.nan if value is None else value / cell.case.batch_size


def _crossing(said: EnginesStudy, workload: str) -> str:
    crossed = said.crossovers.get(workload)
    if crossed is None:
        return "No engine is shown to overtake another between the batch sizes measured."
    before, after = map(short_name, (crossed.before, crossed.after))
    rows = crossed.batch_size
    spread = (
        rows.reason if rows.low is None else f"95 % interval {interval(rows.low, rows.high, lambda n: digits(n, 2))}"
    )
    return f"{before} is faster up to {digits(rows.value, 2)} inputs per call ({spread}), {after} from there."


VIEWS = (gain_by_batch, time_per_input)
PICTURE = gain_by_batch


KEY_FIGURES = {r"gain\[([\w-]+),(\w+),(\w+),b1\]": r"Gain at batch 1, \1 by \2 in \3"}
