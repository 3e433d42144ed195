"""Name a series of batch sizes, and write the loop over its best batches."""

from __future__ import annotations

from inferbench_lib.records import CPU
from inferbench_lib.report.words import plural
from inferbench_lib.studies.batch_sweep.study import Series, SweepStudy
from inferbench_lib.work import title_of

CODE = {
    "sklearn": """\
model.n_jobs = {n_threads}
batches = [rows[i : i + {n}] for i in range(0, len(rows), {n})]
outputs = np.concatenate([model.predict(batch) for batch in batches])""",
    "torch": """\
{threads}with torch.inference_mode():
    outputs = torch.cat([{call} for batch in images.split({n})])""",
    "any other": "outputs = [predict(rows[i : i + {n}]) for i in range(0, len(rows), {n})]",
}
"""The loop over batches by engine: a fitted `model` and its `rows`, a network on its device and its `images`."""


def code(said: SweepStudy) -> str:
    """Return the loop over the best batches of each workload."""
    loops = []
    for series, best in said.recommended:
        device = series.case.device
        call = "model(batch)" if device == CPU else f'model(batch.to("{device}")).cpu()'
        n_threads = series.case.n_threads
        threads = f"torch.set_num_threads({n_threads})\n" if device == CPU else ""
        template = CODE.get(series.case.engine, CODE["any other"])
        loop = template.format(n=f"{best.batch_size:_}", call=call, n_threads=n_threads, threads=threads)
        loops.append(f"# {name(series)}\n{loop}" if len(said.recommended) > 1 else loop)
    return "\n\n".join(loops)


def name(series: Series) -> str:
    """Return the workload, its device, what is unusual, and on the CPU the threads."""
    case = series.case
    threads = (plural(case.n_threads, "thread"),) if case.device == CPU else ()
    return ", ".join((f"{title_of(case.workload)} on {case.device}", *series.label.more, *threads))
