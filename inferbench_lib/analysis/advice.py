"""From verdicts to what to do: a recommendation, the evidence for it, and the limits that it holds under."""

from __future__ import annotations

from inferbench_lib.analysis.batching import BestBatch
from inferbench_lib.analysis.comparison import Ranking
from inferbench_lib.analysis.refusal import Refusal
from inferbench_lib.records import Advice, Interval, Ratio, Verdict


def advise_variant(ranking: Ranking | None, speedup: Ratio | None = None) -> Advice:
    """Which variant to use: the fastest, with those that cannot be told from it; `speedup` is its over the baseline.

    When the baseline is not beaten the advice is to stay with it.
    """
    if ranking is None:
        return Advice(recommendation="none", evidence="no variant ended with usable samples")
    limits = "this machine, this workload and batch size"
    if speedup is not None and speedup.verdict is not Verdict.FASTER:
        return Advice(
            recommendation="stay with the baseline",
            evidence=f"{ranking.best.case} is {speedup.verdict}: {_ratio(speedup)}",
            limits=limits,
        )
    alike = f"; not told apart from it: {', '.join(str(tie.case) for tie in ranking.ties)}" if ranking.ties else ""
    gain = f"{_ratio(speedup)} the baseline's speed" if speedup else "the least time per input"
    return Advice(recommendation=f"use {ranking.best.case}", evidence=gain + alike, limits=limits)


def advise_batch(best: BestBatch | Refusal) -> Advice:
    """Which batch size to use, or why none can be named."""
    if isinstance(best, Refusal):
        return Advice(recommendation="none", evidence=best.reason)
    throughput = best.throughput_per_s
    evidence = f"{throughput.value:,.4g} inputs/s{_range(throughput)}"
    if best.latency_percentile is not None and best.latency_s is not None:
        evidence += f", p{100 * best.latency_percentile:g} {best.latency_s * 1e3:.3g} ms"
    limits = "; ".join(f"batch {size:,} excluded: {reason}" for size, reason in sorted(best.excluded.items()))
    return Advice(recommendation=f"use batches of {best.batch_size:,}", evidence=evidence, limits=limits)


def _ratio(ratio: Ratio) -> str:
    if ratio.low is None or ratio.high is None:
        return f"{ratio.value:.2f}× ({ratio.reason})"
    return f"{ratio.value:.2f}× ({ratio.low:.2f} to {ratio.high:.2f})"


def _range(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return f" ({interval.reason})"
    return f" ({interval.low:,.4g} to {interval.high:,.4g})"
