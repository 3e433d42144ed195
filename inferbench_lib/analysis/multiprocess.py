"""What a `cpu_multiprocess` run says: each way of spreading the forest over processes, against one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from inferbench_lib.analysis.breakdown import account, average, beside
from inferbench_lib.analysis.comparison import compare, efficiency
from inferbench_lib.analysis.entries import entry
from inferbench_lib.analysis.statistics import summarize
from inferbench_lib.records import (
    Breakdown,
    Figure,
    Interval,
    Measurement,
    Ratio,
    Run,
    Span,
    Summary,
    Verdict,
    Verification,
)

BASELINE = "single"
CEILING = "ceiling"
"""Independent processes doing an equal part each at the same moment: what the hardware allows, not a way to work."""
THREADS = "threads"
MULTI = "shared_pool"
"""The executor behind `multi_s`, `speedup` and `efficiency`: several processes the way that we recommend."""


@dataclass(frozen=True, kw_only=True)
class MultiprocessStudy:
    """One run read: every mapping is by executor, in the order measured; `ratios` are speedups over one process."""

    run: Run
    cells: Mapping[str, Measurement]
    summaries: Mapping[str, Summary]
    ratios: Mapping[str, Ratio]
    efficiencies: Mapping[str, Interval]
    breakdowns: Mapping[str, Breakdown]
    verification: Verification
    ceiling: Ratio | None

    @property
    def n_processes(self) -> int:
        """Processes (or threads) that each way but the single one was given."""
        return int(self.run.params["n_processes"])

    def share_of_ceiling(self, name: str) -> float | None:
        """How much of what the hardware allows an executor reached; None where either was not measured."""
        ratio = self.ratios.get(name)
        if self.ceiling is None or ratio is None or Verdict.INVALID in (self.ceiling.verdict, ratio.verdict):
            return None
        return ratio.value / self.ceiling.value


def study(run: Run) -> MultiprocessStudy:
    """Everything that a `cpu_multiprocess` run says, from its raw samples."""
    everything = {cell.case.executor: cell for cell in run.measurements}
    cells = {name: cell for name, cell in everything.items() if name != CEILING}
    others = {name: cell for name, cell in cells.items() if name != BASELINE}
    ratios = {name: compare(cells[BASELINE], cell) for name, cell in others.items()} if BASELINE in cells else {}
    n_processes = int(run.params["n_processes"])
    summaries = {name: summarize(cell) for name, cell in cells.items()}
    return MultiprocessStudy(
        run=run,
        cells=cells,
        summaries=summaries,
        ratios=ratios,
        efficiencies={name: efficiency(ratio, n_processes) for name, ratio in ratios.items()},
        breakdowns=_breakdowns({name: cell for name, cell in everything.items() if summarize(cell).is_measured}),
        verification=_verification(everything),
        ceiling=compare(cells[BASELINE], everything[CEILING]) if {BASELINE, CEILING} <= everything.keys() else None,
    )


def figures(said: MultiprocessStudy) -> dict[str, Figure]:
    """The entries of `summary.json`."""
    found: dict[str, Figure] = {}
    for name, key in ((BASELINE, "single_s"), (MULTI, "multi_s")):
        if name in said.summaries:
            summary = said.summaries[name]
            found[key] = entry(summary.median_s, "s", summary.outcome, is_known=summary.is_measured)
    for name, ratio in said.ratios.items():
        found[f"speedup[{name}]"] = entry(ratio, "×", ratio.verdict)
        found[f"efficiency[{name}]"] = entry(said.efficiencies[name], "", ratio.verdict)
        if (reached := said.share_of_ceiling(name)) is not None:
            found[f"share_of_ceiling[{name}]"] = Figure(value=reached, unit="")
        if name == MULTI:
            found["speedup"], found["efficiency"] = found[f"speedup[{name}]"], found[f"efficiency[{name}]"]
    if said.ceiling is not None:
        found["ceiling_speedup"] = entry(said.ceiling, "×", said.ceiling.verdict)
    found["verification"] = Figure(value=said.verification.word, unit="", verdict=said.verification.detail)
    return found


def _breakdowns(cells: Mapping[str, Measurement]) -> dict[str, Breakdown]:
    """Where each sample's time went, averaged over the samples, of every way, held against the ceiling's."""
    if BASELINE not in cells or not cells[BASELINE].spans:
        return {}
    # CPU seconds: what the one process waited for a CPU itself is no part of the work.
    single_s = fmean(sum(s.cpu_s for s in spans if s.kind == "compute") for spans in cells[BASELINE].spans)
    accounts = {
        name: [_account(cell, spans, single_s) for spans in cell.spans]
        for name, cell in cells.items()
        if name != BASELINE
    }
    averages = {name: average(found) for name, found in accounts.items() if found}
    ceiling = averages.pop(CEILING, None)
    return averages if ceiling is None else {name: beside(found, ceiling) for name, found in averages.items()}


def _account(cell: Measurement, spans: Sequence[Span], single_s: float) -> Breakdown:
    """One sample's account: the spans within its `call`. Threads of one process count as a worker each."""
    call = next(span for span in spans if span.kind == "call")
    within = [s for s in spans if s is not call and call.start_s <= s.start_s <= s.end_s <= call.end_s]
    n_threads = cell.case.n_threads
    by_thread = [
        replace(span, worker=worker, cpu_s=span.cpu_s / n_threads) for span in within for worker in range(n_threads)
    ]
    in_one_process = cell.case.executor == THREADS  # a pool of one process has a parent beside it
    return account(
        by_thread if in_one_process else within,
        start_s=call.start_s,
        end_s=call.end_s,
        single_s=single_s,
        n_workers=n_threads if in_one_process else cell.case.n_processes,
        n_threads=1 if in_one_process else n_threads,
    )


def _verification(cells: Mapping[str, Measurement]) -> Verification:
    """One verdict over every path: the first failure, else all that was checked."""
    seen = [cell.verification for cell in cells.values() if cell.verification is not None]
    for one in seen:
        if not one.passed:
            return one
    return Verification(
        passed=bool(seen),
        n_checked=sum(one.n_checked for one in seen),
        detail="" if seen else "nothing was verified: every cell failed",
    )
