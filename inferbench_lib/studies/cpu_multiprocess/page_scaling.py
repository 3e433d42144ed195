"""Show how far more processes help: by rows and processes for the forest, by processes and threads for the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from inferbench_lib.findings import Interval, Ratio, Refusal, Verdict
from inferbench_lib.report import figures
from inferbench_lib.report.display import View
from inferbench_lib.report.look import INK, outlined
from inferbench_lib.report.words import digits, interval, joined, measured, plural, ratio, share, times
from inferbench_lib.stats.comparison import best_and_ties, efficiency
from inferbench_lib.stats.entries import columns
from inferbench_lib.stats.scaling import AmdahlFit, UslFit
from inferbench_lib.studies.cpu_multiprocess.page_ways import bars, by_reason, is_open, no_verdicts, title
from inferbench_lib.studies.cpu_multiprocess.scaling import Spreading
from inferbench_lib.studies.cpu_multiprocess.study import MultiprocessStudy
from inferbench_lib.studies.cpu_multiprocess.ways import Way, is_known

NO_SCALING = "Rows by processes were not measured: `scaling_rows` is empty."
MOST_SPEEDUP = 1000
"""A serial fraction that allows as much limits nothing."""


def scaling_curve(said: MultiprocessStudy) -> View:
    """Show how far more processes help."""
    seen = [one for one in said.spreadings if one.strong]
    processes = sorted({n for one in seen for n in one.processes})
    rows = [{"x": n, "label": "ideal", **columns(Interval(value=n))} for n in processes]
    for one in seen:
        for name, speedups in (("same rows", one.strong), ("rows grow too", one.weak)):
            points = {1: Interval(value=1.0), **speedups} if speedups else {}
            rows += [{"x": n, "label": f"{name}{_more(one)}", **columns(at)} for n, at in points.items()]
    frame = pd.DataFrame(rows).rename(columns={"value": "y"})
    frame.attrs = {"x": "processes", "y": "times as fast as one process"}
    if is_known(ceiling := said.ceilings.get("")):
        frame.attrs["limit"] = (ceiling.value, "ceiling: independent processes")
    return View(
        name="scaling_curve",
        frame=frame,
        draw=lambda data, axes: figures.lines(data, axes, log_y=False),
        alt="Speedup by number of processes, with the same rows and with rows that grow too, beside the ideal.",
        reading=" ".join(_scaling(one, said.usable_cpus) for one in seen) or NO_SCALING,
    )


def _more(one: Spreading) -> str:
    return "".join(f", {word}" for word in one.label.more)


def _scaling(seen: Spreading, usable: int) -> str:
    strong = {f"{_processes(n)}{' (more than CPUs)' if n > usable else ''}": r for n, r in seen.strong.items()}
    spoken = "; ".join([*_judged(strong), *no_verdicts(strong)])
    sentences = [f"With {max(seen.rows):,} rows{_more(seen)}: {spoken}."]
    if all(map(is_open, (*seen.strong.values(), *seen.weak.values()))):
        return sentences[0]
    within = [n for n, r in seen.strong.items() if n <= usable and not is_open(r)]
    if within:
        n = max(within)
        sentences.append(f"{_processes(n)} reach {share(seen.strong[n].value / n)} of the ideal {n}×.")
    judged = {n: r for n, r in seen.weak.items() if not is_open(r)}
    if judged:
        weak = "; ".join(f"{_processes(n)} {measured(efficiency(r, n), share)}" for n, r in judged.items())
        sentences.append(f"Efficiency with {seen.weak_rows:,} rows per process: {weak}.")
    return " ".join([*sentences, _amdahl(seen.amdahl, usable), _usl(seen.usl)])


def _judged(ratios: Mapping[str, Ratio]) -> list[str]:
    return [f"{name} {ratio(r)}" for name, r in ratios.items() if not is_open(r)]


def _amdahl(law: AmdahlFit | Refusal, usable: int) -> str:
    if isinstance(law, Refusal):
        return f"No serial fraction up to {plural(usable, 'usable CPU')}: {law.reason}."
    most = law.max_speedup.value
    bound = f"so no number of processes exceeds {times(most)}" if most < MOST_SPEEDUP else "too little to set a limit"
    fraction = measured(law.serial_fraction, share)
    return f"Amdahl's law: {fraction} of the work is serial, {bound} (worst misfit {share(law.misfit)})."


def _usl(law: UslFit | Refusal) -> str:
    if isinstance(law, Refusal):
        return f"No universal scalability law: {law.reason}."
    peak = f"throughput peaks at {digits(law.peak_workers, 2)}" if law.peak_workers < MOST_SPEEDUP else "no peak"
    return (
        f"Universal scalability law: contention {measured(law.contention, share)}, coherency "
        f"{measured(law.coherency, digits)}; {peak} (worst misfit {share(law.misfit)})."
    )


def crossover_map(said: MultiprocessStudy) -> View:
    """Show from how many rows on several processes pay."""
    rows = [
        {"x": n_rows, "y": f"{n}{_more(one)}", "value": r.value, "pays": r.verdict is Verdict.FASTER}
        for one in said.spreadings
        for (n, n_rows), r in one.speedups.items()
        if is_known(r)
    ]
    frame = pd.DataFrame(rows, columns=["x", "y", "value", "pays"])
    frame.attrs = {"x": "rows per call", "y": "processes"}
    sentences = [_pays(one, n) for one in said.spreadings for n in one.processes if n > 1]
    reading = f"{'; '.join(sentences)}." if sentences else NO_SCALING
    return View(
        name="crossover_map",
        frame=frame,
        draw=_draw_map,
        alt="Speedup over one process by rows per call and processes, with a border around what pays.",
        reading=f"{reading} {_break_even(said)}".strip(),
        size_inches=(7.4, 1.6 + 0.55 * max(1, len(sentences))),
    )


def _draw_map(frame: Any, axes: Sequence[Any]) -> None:
    """Draw a cell for each x and y with its figure, those that pay in bold within a border."""
    from matplotlib.patches import Rectangle

    ax = axes[0]
    xs, ys = sorted(set(frame["x"])), list(dict.fromkeys(frame["y"]))
    values = frame.pivot(index="y", columns="x", values="value").loc[ys, xs]
    widest = max(np.log(frame["value"]).abs().max(), 0.1)
    ax.imshow(np.log(values), cmap="PuOr", vmin=-widest, vmax=widest, aspect="auto", origin="lower", alpha=0.75)
    for row in frame.itertuples():
        x, y = xs.index(row.x), ys.index(row.y)
        ax.text(x, y, times(row.value), ha="center", va="center", fontsize=9, color=INK,
                fontweight="bold" if row.pays else "normal", **outlined())  # fmt: skip
        if row.pays:
            ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor=INK, linewidth=2))
    ax.set_xticks(range(len(xs)), [f"{x:,}" for x in xs])
    ax.set_yticks(range(len(ys)), ys)
    ax.grid(visible=False)
    ax.set_xlabel(frame.attrs["x"])
    ax.set_ylabel(frame.attrs["y"])


def _pays(seen: Spreading, n: int) -> str:
    rows, found = seen.pays_from(n), [r for (processes, _), r in seen.speedups.items() if processes == n]
    if found and all(map(is_open, found)):
        return no_verdicts({f"{_processes(n)}{_more(seen)}": found[-1]})[0]
    if rows is None:
        return f"{_processes(n)}{_more(seen)} were not shown to be faster with up to {max(seen.rows):,} rows"
    undecided = joined(map("{:,}".format, seen.undecided(n, rows)))
    beside = f" (no verdict at {undecided})" if undecided else ""
    return f"{_processes(n)} of a warm pool{_more(seen)} are faster than one from {rows:,} rows per call on{beside}"


def _break_even(said: MultiprocessStudy) -> str:
    """Return from how many rows on one call from a cold start of each pool is as fast as one process, in words."""
    found = by_reason(
        (
            title(way),
            rows.reason
            if isinstance(rows, Refusal)
            else f"{rows.value:,.0f} rows ({interval(rows.low, rows.high, '{:,.0f}'.format)})",
        )
        for way in said.warm.values()
        if (rows := way.break_even)
    )
    formula = "cold minus warm, divided by the time saved per row"
    return f"Rows from which one call pays back the start-up ({formula}): {'; '.join(found)}." if found else ""


def network_spread(said: MultiprocessStudy) -> View:
    """Show whether the network gains more from processes or from threads."""
    known = {_split(one): one.ratio for one in said.network if is_known(one.ratio)}
    spoken = "; ".join([*_judged(known), *no_verdicts(known)])
    one = "one process with one thread"
    return bars(
        "network_spread",
        known,
        f"times as fast as {one}",
        [(1.0, one)],
        alt="Speedup of the small network by processes, and by threads of each.",
        reading=f"Against {one}: {spoken}.{_fastest(said)}"
        if known
        else "The network was not measured: `network_processes` or `network_threads` is empty.",
    )


def _fastest(said: MultiprocessStudy) -> str:
    """Return the fastest split and its ties, where it is faster than one process with one thread."""
    splits = {one.cell.case: one for one in said.network}
    fastest = [splits[cell.case] for cell in best_and_ties([one.cell for one in said.network])]
    if not fastest or fastest[0].ratio is None or fastest[0].ratio.verdict is not Verdict.FASTER:
        return ""
    ties = joined(map(_split, fastest[1:]))
    return f" Fastest: {_split(fastest[0])}." + (f" Statistically tied: {ties}." if ties else "")


def _split(one: Way) -> str:
    case = one.cell.case
    return ", ".join((f"{_processes(case.n_processes)} × {plural(case.n_threads, 'thread')}", *one.label.more))


def _processes(n: int) -> str:
    return plural(n, "process", "processes")
