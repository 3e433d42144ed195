"""The smallest costs: an empty Python call, and a torch operator that has next to nothing to do."""

from __future__ import annotations

from typing import Any

from inferbench_lib.machine.limit import Limit, Probe, cost, interleave

CALLS_PER_SAMPLE = 10_000


def call_costs(*, budget_s: float = 0.5) -> dict[str, Limit]:
    """Seconds of one `python call` (through the timing loop) and one `torch operator` (adding single elements)."""
    import torch

    one, other, target = torch.ones(1), torch.ones(1), torch.empty(1)

    def nothing(_: Any) -> None:
        return None

    def add(_: Any) -> Any:
        return torch.add(one, other, out=target)

    probes = [
        Probe(key="python call", call=nothing, block_size=CALLS_PER_SAMPLE),
        Probe(key="torch operator", call=add, block_size=CALLS_PER_SAMPLE),
    ]
    seconds = interleave(probes, budget_s=budget_s)
    method = f"{CALLS_PER_SAMPLE:,} calls a sample, median of interleaved repeats"
    return {str(name): cost(values, method=method) for name, values in seconds.items()}
