"""Name a series of batch sizes, and write the loop over its best batches."""

from __future__ import annotations

from inferbench_lib.records import CPU
from inferbench_lib.report.words import plural
from inferbench_lib.studies.batch_loop import batch_loop, loops
from inferbench_lib.studies.batch_sweep.study import Series, SweepStudy
from inferbench_lib.work import title_of


def code(said: SweepStudy) -> str:
    """Return the loop over the best batches of each workload."""
    return loops({name(series): batch_loop(series.case, best.batch_size) for series, best in said.recommended})


def name(series: Series) -> str:
    """Return the workload, its device, what is unusual, and on the CPU the threads."""
    case = series.case
    threads = (plural(case.n_threads, "thread"),) if case.device == CPU else ()
    return ", ".join((f"{title_of(case.workload)} on {case.device}", *series.label.more, *threads))
