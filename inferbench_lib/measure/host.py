"""The process of a bench, which can start anew, and the row that its processes leave together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial, reduce
from itertools import chain
from statistics import median
from typing import Any

from inferbench_lib.processes.remote import Remote
from inferbench_lib.records import Measurement, Outcome, Verification


class Host(AbstractContextManager["Host"]):
    """A bench in a process of its own, which starts at once; `renew` replaces the process by a new one."""

    def __init__(
        self, factory: Callable[[], Any], *, environment: Mapping[str, str], name: str, timeout_s: float = 600.0
    ) -> None:
        self._start = partial(Remote, factory, environment=environment, name=name, timeout_s=timeout_s)
        self._remote = self._start()

    @property
    def pid(self) -> int:
        """Return the id of the process."""
        return self._remote.pid

    def ready(self) -> None:
        """Wait until the bench is built."""
        self._remote.ready()

    def call(self, method: str, *arguments: Any) -> Any:
        """Return the result of the bench's method."""
        return self._remote.call(method, *arguments)

    def renew(self) -> None:
        """End the process and start the next one."""
        self._remote.close()
        self._remote = self._start()

    def hang_up(self) -> None:
        """Begin `close`."""
        self._remote.hang_up()

    def close(self) -> None:
        """End the process and wait for its end."""
        self._remote.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def joined(rows: Sequence[Measurement]) -> Measurement:
    """Return what several processes saw of one cell as one row, in the order of its rounds.

    Samples, warm-ups, series and spans follow each other. Of figures and of start-up times it has the median of the
    processes, of memory the largest. The first process that did not end well tells how the cell ended.
    """
    if len(rows) == 1:
        return rows[0]
    verified = [row.verification for row in rows if row.verification]
    ended = next((row for row in rows if row.outcome is not Outcome.OK), rows[0])
    names = dict.fromkeys(name for row in rows for name in row.series)
    colds = tuple(row.cold_s for row in rows if row.cold_s is not None)
    return replace(
        rows[0],
        samples_s=tuple(chain.from_iterable(row.samples_s for row in rows)),
        round_sizes=tuple(chain.from_iterable(row.round_sizes for row in rows)),
        process_sizes=tuple(len(row.round_sizes) for row in rows if row.round_sizes),
        warmup_s=tuple(chain.from_iterable(row.warmup_s for row in rows)),
        cold_s=median(colds) if colds else None,
        startup_s={name: median(values) for name, values in _by_name(row.startup_s for row in rows)},
        series={name: tuple(chain.from_iterable(row.series.get(name, ()) for row in rows)) for name in names}
        | {"cold_s": colds},
        figures={
            name: (max if name.endswith("_bytes") else median)(values)
            for name, values in _by_name(row.figures for row in rows)
        },
        peak_memory_bytes=max((row.peak_memory_bytes for row in rows if row.peak_memory_bytes), default=None),
        spans=tuple(chain.from_iterable(row.spans for row in rows)),
        verification=reduce(Verification.followed_by, verified) if verified else None,
        outcome=ended.outcome,
        reason=ended.reason,
    )


def _by_name(mappings: Iterable[Mapping[str, float]]) -> list[tuple[str, list[float]]]:
    """Return each name with its values from all mappings that have it."""
    found: dict[str, list[float]] = {}
    for mapping in mappings:
        for name, value in mapping.items():
            found.setdefault(name, []).append(value)
    return list(found.items())
