"""Find how many rows make more processes pay, and how far more processes help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from inferbench_lib.findings import Ratio, Refusal, Verdict
from inferbench_lib.records import Case, Figure, Measurement
from inferbench_lib.stats.comparison import compare, unequal_load
from inferbench_lib.stats.entries import Label, entry, labels
from inferbench_lib.stats.scaling import AmdahlFit, UslFit, fit_amdahl, fit_usl, measured_throughputs
from inferbench_lib.stats.statistics import summarize
from inferbench_lib.studies.cpu_multiprocess.ways import entry_or_reason


@dataclass(frozen=True, kw_only=True)
class Spreading:
    """Speedups by numbers of rows and of processes, each over one process with as many rows.

    `speedups` is by (processes, rows), without one process. `weak` is the speedup when each process always has the
    same number of rows, `weak_rows`. The laws are fitted to the largest number of rows, up to the usable CPUs.
    """

    label: Label
    processes: tuple[int, ...]
    rows: tuple[int, ...]
    speedups: Mapping[tuple[int, int], Ratio]
    weak_rows: int
    weak: Mapping[int, Ratio]
    amdahl: AmdahlFit | Refusal
    usl: UslFit | Refusal

    @property
    def strong(self) -> Mapping[int, Ratio]:
        """Speedups at the largest number of rows, by processes."""
        most = max(self.rows, default=0)
        return {n: ratio for (n, n_rows), ratio in self.speedups.items() if n_rows == most}

    def pays_from(self, n_processes: int) -> int | None:
        """Return the fewest rows from which so many processes were faster wherever there is a verdict, or None."""
        paying = None
        for n_rows in reversed(self.rows):
            verdict = self._verdict(n_processes, n_rows)
            if verdict in (Verdict.SLOWER, Verdict.INDISTINGUISHABLE):
                break
            paying = n_rows if verdict is Verdict.FASTER else paying
        return paying

    def undecided(self, n_processes: int, from_rows: int) -> tuple[int, ...]:
        """Return the numbers of rows from there on at which no verdict was reached."""
        rows = (n_rows for n_rows in self.rows if n_rows >= from_rows)
        return tuple(n_rows for n_rows in rows if self._verdict(n_processes, n_rows) is not Verdict.FASTER)

    def _verdict(self, n_processes: int, n_rows: int) -> Verdict:
        ratio = self.speedups.get((n_processes, n_rows))
        return Verdict.INVALID if ratio is None else ratio.verdict


def spreadings(cells: Sequence[Measurement], usable_cpus: int) -> tuple[Spreading, ...]:
    """Return one per group of measured cells that differ in rows and processes alone."""
    groups: dict[Case, list[Measurement]] = {}
    for cell in cells:
        if summarize(cell).is_measured:
            group = replace(cell.case, executor="single", batch_size=0, n_processes=1)
            groups.setdefault(group, []).append(cell)
    named = labels(groups)
    return tuple(_spreading(of, named[group], usable_cpus) for group, of in groups.items())


def scaling_figures(said: Spreading) -> dict[str, Figure]:
    """Return the entries of `summary.json` on scaling at the largest number of rows."""
    key, law = said.label.key, said.amdahl
    fraction = law if isinstance(law, Refusal) else law.serial_fraction
    return {
        **{f"scaling_speedup[{n}{key and ','}{key}]": entry(r, "×", r.verdict) for n, r in said.strong.items()},
        said.label.inside("serial_fraction"): entry_or_reason(fraction, "of the work"),
    }


def _spreading(cells: Sequence[Measurement], label: Label, usable_cpus: int) -> Spreading:
    known = {(cell.case.n_processes, cell.inputs_per_call): cell for cell in cells}
    processes = tuple(sorted({n for n, _ in known}))
    rows = tuple(sorted({n_rows for _, n_rows in known}))
    speedups = {
        (n, n_rows): compare(known[1, n_rows], cell)
        for (n, n_rows), cell in sorted(known.items())
        if n > 1 and (1, n_rows) in known
    }
    weak = {
        each: {n: compare(known[1, each], known[n, n * each]) for n in processes if n > 1 and (n, n * each) in known}
        for each in rows
        if (1, each) in known
    }
    weak_rows = max(weak, key=lambda each: (len(weak[each]), each), default=0)
    fitted = {n: cell for (n, n_rows), cell in known.items() if n_rows == rows[-1] and n <= usable_cpus}
    loads = (unequal_load(*pair) for pair in combinations(fitted.values(), 2))
    loaded = next((Refusal(reason=load) for load in loads if load), None)
    throughputs = measured_throughputs(fitted)
    return Spreading(
        label=label,
        processes=processes,
        rows=rows,
        speedups=speedups,
        weak_rows=weak_rows,
        weak=weak.get(weak_rows, {}),
        amdahl=loaded or fit_amdahl(throughputs),
        usl=loaded or fit_usl(throughputs),
    )
