"""Say which way of using several processes to take."""

from __future__ import annotations

from inferbench_lib.records import Advice, Verdict
from inferbench_lib.report.words import compared, plural, ratio
from inferbench_lib.stats.comparison import rank
from inferbench_lib.studies.cpu_multiprocess.names import NAMES
from inferbench_lib.studies.cpu_multiprocess.study import MultiprocessStudy


def advise(said: MultiprocessStudy) -> Advice:
    """Recommend the fastest way that was shown to be faster than one process, else one process."""
    run = said.run
    limits = f"this machine, {run.params['n_samples']:,} rows a call, outputs checked ({said.verification.word})"
    ranking = rank([said.cells[name] for name, r in said.ratios.items() if r.verdict is Verdict.FASTER])
    if ranking is not None and said.verification.passed:
        best = ranking.best.case.executor
        found = said.ratios[best]
        return Advice(
            recommendation=f"use {NAMES[best]} for the forest: {ratio(found)} the speed of one process",
            evidence=f"compared within {plural(found.n_rounds, 'round')}, with a 95 % interval",
            limits=limits,
        )
    known = {name: r for name, r in said.ratios.items() if r.verdict is not Verdict.INVALID}
    closest = max(known, key=lambda name: known[name].value) if known else None
    return Advice(
        recommendation="stay with one process for the forest",
        evidence="no other way was shown to be faster"
        + (f"; {compared(known[closest], NAMES[closest], 'one process')}" if closest else ""),
        limits=limits,
    )
