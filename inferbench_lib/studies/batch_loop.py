"""Write the loop that predicts in batches of one size, by engine."""

from __future__ import annotations

from inferbench_lib.records import CPU, Case

CODE = {
    "sklearn": """\
model.n_jobs = {n_threads}
batches = [rows[i : i + {n}] for i in range(0, len(rows), {n})]
outputs = np.concatenate([model.predict(batch) for batch in batches])""",
    "torch": """\
{place}
with torch.inference_mode():
    outputs = torch.cat([{call} for batch in images.split({n})])""",
    "any other": "outputs = [predict(rows[i : i + {n}]) for i in range(0, len(rows), {n})]",
}
"""A fitted `model` and its `rows`, or a network and its `images`, on the CPU."""


def batch_loop(case: Case, batch_size: int) -> str:
    """Return the loop with the engine, the device and the threads of a case."""
    is_on_cpu = case.device == CPU
    return CODE.get(case.engine, CODE["any other"]).format(
        n=f"{batch_size:_}",
        n_threads=case.n_threads,
        place=f"torch.set_num_threads({case.n_threads})" if is_on_cpu else f'model = model.to("{case.device}")',
        call="model(batch)" if is_on_cpu else f'model(batch.to("{case.device}")).cpu()',
    )


def loops(named: dict[str, str]) -> str:
    """Join loops, each once under the names that it is for; the only one needs no name."""
    names: dict[str, list[str]] = {}
    for name, loop in named.items():
        names.setdefault(loop, []).append(name)
    blocks = [f"# {', '.join(of)}\n{loop}" if len(names) > 1 else loop for loop, of in names.items()]
    return "\n\n".join(blocks)
