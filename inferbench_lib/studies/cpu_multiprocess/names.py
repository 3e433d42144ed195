"""Name the ways of using several CPUs in words."""

from __future__ import annotations

from inferbench_lib.executors import listed
from inferbench_lib.studies.cpu_multiprocess.ways import Way

NAMES = {name: kind.title for name, kind in listed().items()}
ALONE = NAMES["single"]


def title(way: Way) -> str:
    """Return the name of the executor, with what else tells it apart: `scikit-learn threads (2 threads)`."""
    executor = way.cell.case.executor
    more = f" ({', '.join(way.label.more)})" if way.label.more else ""
    return f"{NAMES.get(executor, executor)}{more}{', cold' if way.cell.case.cold else ''}"
