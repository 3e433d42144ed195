"""Read stored runs into one record that holds what is needed to compare them. Nothing is measured."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from inferbench_lib import store, studies
from inferbench_lib.errors import ConfigError
from inferbench_lib.records import Machine, Measurement, Run, plain
from inferbench_lib.stats.processes import DEGREES, SD
from inferbench_lib.studies.compare.params import Params

_RUN = re.compile(r"\d{8}-\d{6}-(?P<profile>.+)")


def measure(cfg: Params) -> Run:
    """Return a record of BASE and the heads; raises StoreError for a run without data."""
    began_s, started = time.monotonic(), datetime.now(UTC)
    stored = [(next(iter(of.values())).run_id, of) for of in read_all(sources(cfg))]
    everything = [run for _, of in stored for run in of.values()]
    names = [name for name, _ in stored]
    return Run(
        notebook="compare",
        run_id=store.run_folder().name,
        machine=everything[-1].machine if everything else Machine(),
        params={**cfg.model_dump(), "base": next(iter(names), None), "heads": names[1:]},
        started_at=started.isoformat(timespec="seconds"),
        duration_s=time.monotonic() - began_s,
        tables={
            "runs": [
                {"name": name, "notebooks": {notebook: plain(_slim(one)) for notebook, one in of.items()}}
                for name, of in stored
            ]
        },
        simulated=any(one.simulated for one in everything),
    )


def sources(cfg: Params) -> list[str]:
    """List BASE, then the heads: those named, else the newest two runs of one profile; none where there are none.

    Raises ConfigError when only one side is named.
    """
    if cfg.base and cfg.heads:
        return [cfg.base, *cfg.heads]
    if cfg.base or cfg.heads:
        missing, there = ("heads", cfg.base) if cfg.base else ("base", ", ".join(cfg.heads))
        do = f"name both, or neither; {store.known_runs()}"
        raise ConfigError(f"{missing}: expected a run to compare with {there}, got none; {do}")
    return newest_pair({run_id for name in studies.measured() for run_id in store.stored_ids(name)})


def newest_pair(ids: Iterable[str]) -> list[str]:
    """List the newest run that has an older one of its profile, after that one; empty where there is no such pair."""
    by_profile: dict[str, list[str]] = {}
    for name in sorted(ids):
        if found := _RUN.fullmatch(name):
            by_profile.setdefault(found["profile"], []).append(name)
    return max((of[-2:] for of in by_profile.values() if len(of) > 1), key=lambda of: of[-1], default=[])


def read_all(names: Iterable[str]) -> list[Mapping[str, Run]]:
    """Read what each run holds to compare, by notebook; raises StoreError or ConfigError where it holds nothing."""
    wanted = studies.measured()
    runs: list[Mapping[str, Run]] = []
    for name in names:
        found = store.runs_of(name)
        runs.append({notebook: found[notebook] for notebook in wanted if notebook in found})
        if not runs[-1]:
            holds = f"a run that holds one of {', '.join(wanted)}, got one of {', '.join(found)}"
            raise ConfigError(f"{name}: expected {holds}")
    return runs


def _slim(run: Run) -> Run:
    """Keep what comparing needs: samples by round, flags, the control workload, figures."""
    cells = tuple(
        replace(cell, warmup_s=(), startup_s={}, series={}, figures=_scatter(cell), spans=())
        for cell in run.measurements
    )
    schedules = {name: {"control_s": of["control_s"]} for name, of in run.tables.get("schedules", {}).items()}
    return replace(run, measurements=cells, tables={"schedules": schedules})


def _scatter(cell: Measurement) -> dict[str, float]:
    """Return the figures of a cell that its intervals need."""
    return {name: cell.figures[name] for name in (SD, DEGREES) if name in cell.figures}
