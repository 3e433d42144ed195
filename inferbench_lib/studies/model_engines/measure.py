"""Try every engine, precision, batch size and number of threads; measure the best ones in interleaved rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

from inferbench_lib.errors import InferbenchError, WorkerError
from inferbench_lib.machine.gemm import gemm_peaks
from inferbench_lib.measure.host import Host
from inferbench_lib.measure.rounds import Entry
from inferbench_lib.measure.session import Session, plan_of
from inferbench_lib.measure.source import WarmUp
from inferbench_lib.records import CPU, Case, Measurement, Run
from inferbench_lib.studies.common import calls_host, places
from inferbench_lib.studies.model_engines.params import Params
from inferbench_lib.studies.model_engines.screen import HOPELESS, Tried, finalists, is_hopeless
from inferbench_lib.timing.accelerator import find_accelerator
from inferbench_lib.timing.usable import usable_cpus
from inferbench_lib.work import workload
from inferbench_lib.work.base import Engine, Workload
from inferbench_lib.work.engines import ENGINES

TRIAL = WarmUp(min_calls=1, max_calls=4, time_limit_s=0.15)
WARM_UP = WarmUp(min_calls=1, max_calls=10, time_limit_s=0.2)
TURN_S = 0.1
"""Seconds of a turn that holds more than one call."""
MOST_CALLS = 40
GEMM_S = 1.0
N_COMPARED = 240
"""Inputs at least whose classes are compared with the reference's, beside the spare ones."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The process of one workload by one engine on one device, and its cells by ascending batch size."""

    work: Workload
    engine: type[Engine]
    host: Host
    cases: tuple[Case, ...]


class Gemm:
    """The highest rate of matrix multiplication, in a process of its own."""

    def peak(self, n_threads: int) -> float:
        """Return GFLOP/s in fp32 on so many threads."""
        return gemm_peaks((n_threads,), dtypes=("fp32",), budget_s=GEMM_S)[0].limit.value


def measure(params: Params) -> Run:
    """Try all cells, measure the finalists, then compare the outputs of each for all inputs."""
    with Session("model_engines", params) as session:
        usable, _ = usable_cpus()
        found = find_accelerator(params.device)
        works = [workload(name, params) for name in params.batch_sizes]
        opened = [
            _open(session, params, work, engine, device, usable)
            for work in works
            for engine, device in places(work, found, _engines(params, work))
        ]
        n_cases = sum(len(place.cases) for place in opened)
        session.progress.expect(n_cases + plan_of(params).steps(n_cases))  # at most: the bar never goes back
        tried = _tried(session, opened)
        kept = finalists(tried, keep_within=params.keep_within, always={work.name: _always(work) for work in works})
        seconds = {one.case: one.seconds for one in kept if one.seconds is not None and not one.reason}
        needed = [place for place in opened if any(case in seconds for case in place.cases)]
        peaks = _gemm_peak(session, usable) if any(work.kind == "network" for work in works) else {}
        for place in opened:
            place.host.renew() if place in needed else place.host.close()
        entries = [
            Entry(case=case, host=place.host, n_samples=_calls(seconds[case]), warmup=WARM_UP)
            for place in needed
            for case in place.cases
            if case in seconds
        ]
        session.progress.expect(session.progress.done + plan_of(params).steps(len(entries)))
        rows = list(session.measure(entries).measurements)
        rows = _with_agreement(session, entries, rows)
        tables = {
            "tried": [asdict(one) for one in kept],
            "prices": _prices(needed, rows),
            "flops": {work.name: sum(of.flops for of in work.operators()) for work in works if work.operators()},
            "gemm_gflops": peaks,
            "baselines": {work.name: {"engine": work.engine, "threads": _own(work).threads(usable)} for work in works},
            "accelerator_reason": found.reason,
        }
        return session.finish(rows, tables, simulated=found.is_simulated)


def _own(work: Workload) -> type[Engine]:
    return ENGINES[work.engine]


def _engines(params: Params, work: Workload) -> list[str]:
    """Return the engines that were asked for and the workload's own, which is tried first."""
    return [name for name in ENGINES if not params.engines or name in (*params.engines, work.engine)]


def _always(work: Workload) -> list[str]:
    """Return the workload's own engine, and that engine with other settings of the process."""
    return [name for name, engine in ENGINES.items() if name == work.engine or engine.environment]


def _open(session: Session, params: Params, work: Workload, engine: type[Engine], device: str, usable: int) -> Place:
    sizes = params.batch_sizes[work.name]
    threads = (params.threads or sorted({1, usable})) if device == CPU else [engine.threads(usable)]
    if engine.environment:
        threads = [max(threads)]
    if engine is _own(work) and device == CPU:
        threads = sorted({*threads, engine.threads(usable)})  # the baseline's
    offered = engine.precisions(work.kind, device)
    precisions = [of for of in offered if not params.precisions or of in params.precisions or of == "fp32"]
    largest = max(*sizes, work.n_different or N_COMPARED)
    host = calls_host(session, work, engine, device, largest_batch=largest, n_threads=max(threads))
    alike = Case(workload=work.name, engine=engine.name, device=device, batch_size=0)
    cases = tuple(
        replace(alike, batch_size=size, precision=precision, n_threads=n)
        for precision, n, size in product(precisions, threads, sorted(sizes))
    )
    return Place(work=work, engine=engine, host=host, cases=cases)


def _tried(session: Session, opened: Sequence[Place]) -> list[Tried]:
    """Try each cell; what fails, or is hopeless, has its reason."""
    tried: list[Tried] = []
    for place in opened:
        failure = ""
        session.progress.now(f"starting {place.engine.name} for {place.work.name}")
        try:
            place.host.call("start")
        except InferbenchError as error:
            failure = str(error)
        refused: dict[tuple[str, int], str] = {}
        for case in place.cases:
            session.progress.now(f"trying {case}")
            session.progress.step()
            if why := failure or refused.get((case.precision, case.n_threads), ""):
                tried.append(Tried(case=case, seconds=None, reason=why))
            elif case.engine not in _always(place.work) and is_hopeless(case, tried):
                tried.append(Tried(case=case, seconds=None, reason=HOPELESS))
            else:
                try:
                    tried.append(Tried(case=case, seconds=min(place.host.call("prepare", case, TRIAL))))
                except InferbenchError as error:
                    refused[case.precision, case.n_threads] = str(error)
                    tried.append(Tried(case=case, seconds=None, reason=str(error)))
                    if isinstance(error, WorkerError):
                        failure = _started_again(place.host)
    return tried


def _started_again(host: Host) -> str:
    """Start a new process in place of one that failed; return why that was not possible."""
    try:
        host.renew()
        host.call("start")
    except InferbenchError as error:
        return str(error)
    return ""


def _calls(seconds: float) -> int:
    return max(1, min(MOST_CALLS, int(TURN_S / seconds)))


def _gemm_peak(session: Session, usable: int) -> dict[str, float]:
    """Return the peak on 1 thread and on all usable CPUs, by the number of threads."""
    session.progress.now("measuring matrix multiplication")
    with suppress(InferbenchError), session.host(Gemm, "matrix multiplication", n_threads=usable) as host:
        return {str(n): float(host.call("peak", n)) for n in sorted({1, usable})}
    return {}


def _with_agreement(session: Session, entries: Sequence[Entry], rows: Sequence[Measurement]) -> list[Measurement]:
    """Compare the classes of all inputs with the reference's, once for each engine and precision of a workload."""
    seen: dict[tuple[Host, str], Measurement] = {}
    found = []
    for entry, row in zip(entries, rows, strict=True):
        key = (entry.host, row.case.precision)
        if row.samples_s and key not in seen:
            session.progress.now(f"comparing the outputs of {row.case}")
            try:
                compared = entry.host.call("agreement", row.case)
                seen[key] = Measurement(case=row.case, figures={k: v for k, v in compared.items() if v is not None})
            except InferbenchError as error:
                seen[key] = Measurement(case=row.case, notes={"agreement": f"not measured: {error}"})
        of = seen.get(key, row) if row.samples_s else row
        found.append(replace(row, figures={**row.figures, **of.figures}, notes={**row.notes, **of.notes}))
    return found


def _prices(opened: Sequence[Place], rows: Sequence[Measurement]) -> list[dict[str, Any]]:
    """List for each workload, engine and precision what it costs to have the model."""
    prices = []
    for place in opened:
        engine = place.engine(place.work)
        of = replace(place.cases[0], precision="fp32")
        alike = [row for row in rows if row.samples_s and _is_alike(row.case, of)]
        for precision in dict.fromkeys(row.case.precision for row in alike):
            named = {"workload": of.workload, "engine": of.engine, "precision": precision, "device": of.device}
            row = next(row for row in alike if row.case.precision == precision)
            try:
                price: Mapping[str, Any] = engine.price(precision)
            except InferbenchError as error:
                price = {"reason": str(error)}
            starts = {**row.startup_s, "runner_s": row.figures.get("runner_s"), "first_call_s": row.cold_s}
            prices.append({**named, **price, **starts})
    return prices


def _is_alike(case: Case, other: Case) -> bool:
    return (case.workload, case.engine, case.device) == (other.workload, other.engine, other.device)
