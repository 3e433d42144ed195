"""Every engine gives the reference's outputs in each precision that it offers; one that cannot run says why."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

import failing_engines as failing
import numpy as np
import openvino
import pytest

from inferbench_lib import store
from inferbench_lib.errors import NotAvailable
from inferbench_lib.measure.bench import Bench
from inferbench_lib.measure.calls import Calls, pool_size
from inferbench_lib.measure.host import Host
from inferbench_lib.measure.rounds import Entry, Plan, run_rounds
from inferbench_lib.measure.session import Session
from inferbench_lib.measure.source import WarmUp
from inferbench_lib.progress import PROGRESS_FILE, Progress
from inferbench_lib.records import CPU, Case, Outcome
from inferbench_lib.studies.batch_sweep.params import Params
from inferbench_lib.studies.common import calls_host
from inferbench_lib.work.agreement import agreement
from inferbench_lib.work.base import Load, Workload
from inferbench_lib.work.cnn import Cnn
from inferbench_lib.work.engines import ENGINES
from inferbench_lib.work.engines.openvino import OpenVino
from inferbench_lib.work.fake import FakeWorkload
from inferbench_lib.work.forest import Forest
from inferbench_lib.work.forest_variants import ForestBoosted

FOREST = {"n_features": 8, "n_trees": 20, "n_train": 500, "seed": 3}
NETWORK = Cnn(side=8)
N_INPUTS = 64
NETWORK_CELLS = [
    (name, precision)
    for name, engine in ENGINES.items()
    for precision in (engine.precisions("network") if "network" in engine.kinds else ())
    if (name, precision) != ("openvino", "bf16")  # only some CPUs have it: a test of its own
]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's, and /proc is Linux's")
FOREST_ENGINES = [name for name, engine in ENGINES.items() if "estimator" in engine.kinds]
COMPILE = """
from inferbench_lib.errors import NotAvailable
from inferbench_lib.work.base import Load
from inferbench_lib.work.cnn import Cnn
from inferbench_lib.work.engines.torch import TorchCompile

network = Cnn(side=8)
try:
    Load(workload=network, engine=TorchCompile)()(network.draw(2))
except NotAvailable as error:
    print(error)
"""


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the tests of this file share converted models, and nobody else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INFERBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


# Outputs


@pytest.mark.parametrize("work", [Forest(**FOREST), ForestBoosted(**FOREST)], ids=lambda work: work.name)
@pytest.mark.parametrize("name", FOREST_ENGINES)
def test_an_engine_gives_the_classes_and_scores_of_scikit_learn(name: str, work: Workload) -> None:
    """For trees, each engine's classes differ only in ties, and its probabilities by at most 1e-5."""
    rows, model = work.draw(1000), work.model()
    runner = Load(workload=work, engine=ENGINES[name])()
    assert runner.scores is not None
    expected = model.predict_proba(rows)
    seen = agreement(runner(rows), model.predict(rows), expected, runner.scores(rows))
    assert (seen.n_inputs, seen.n_disagreements) == (1000, 0)
    assert seen.largest_difference == pytest.approx(0, abs=1e-5)
    assert 0.2 < np.mean(runner(rows)) < 0.8


@pytest.mark.parametrize(("name", "precision"), NETWORK_CELLS)
def test_an_engine_gives_the_logits_of_float64(name: str, precision: str) -> None:
    """fp32 rounds in the sixth digit; a lower precision is within its tolerance, and is not fp32 under another name."""
    images = NETWORK.draw(N_INPUTS)
    expected = NETWORK.answers(images)
    output = Load(workload=NETWORK, engine=ENGINES[name], precision=precision)()(images)
    difference = np.abs(output - expected).max() / np.abs(expected).max()
    assert NETWORK.agree(output, expected, precision).passed
    assert (difference < 1e-5) == (precision == "fp32")
    assert agreement(output.argmax(1), expected.argmax(1), expected, output).share >= (
        1 if precision == "fp32" else 0.9
    )


def test_an_output_survives_the_next_call() -> None:
    """Engines that reuse their memory hand out copies: two batches give two outputs."""
    images = NETWORK.draw(8)
    expected = NETWORK.answers(images)
    for name in ("torch", "onnxruntime", "openvino"):
        runner = Load(workload=NETWORK, engine=ENGINES[name])()
        first, second = runner(images[:4]), runner(images[4:])
        assert np.allclose(np.concatenate([first, second]), expected, atol=1e-5 * np.abs(expected).max())


def test_bf16_of_openvino_needs_a_cpu_that_has_it() -> None:
    """Where the CPU has bf16 the outputs differ from those of fp32; elsewhere it is refused with the reason."""
    load = Load(workload=NETWORK, engine=OpenVino, precision="bf16")
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(NotAvailable) as refused:
            load()
        assert str(refused.value) == "bf16: this CPU has no bf16 instructions, and OpenVINO would compute in fp32"
    else:
        images = NETWORK.draw(N_INPUTS)
        expected, output = NETWORK.answers(images), load()(images)
        assert NETWORK.agree(output, expected, "bf16").passed
        assert np.abs(output - expected).max() > 1e-4 * np.abs(expected).max()


# Engines that cannot run


def test_a_library_that_is_missing_is_named_with_its_package() -> None:
    """The reason says what Python missed and what to install."""
    calls = Calls(workload=FakeWorkload(), engine=failing.Absent, n_pool=1)
    with pytest.raises(NotAvailable) as absent:
        calls.imports()
    assert str(absent.value) == (
        "absent: not installed (No module named 'no_such_library'); pip install no-such-package"
    )


def test_torch_compile_without_a_compiler_is_one_line_of_reason(tmp_path: Path) -> None:
    """It ends as NotAvailable, in a process whose C++ compiler is not there."""
    environment = {"CXX": "/no/such/compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], env=os.environ | environment, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert done.stdout.startswith("torch.compile: expected a network it can compile, got ")
    assert "No working C++ compiler found" in done.stdout
    assert len(done.stdout) < 300


def test_an_engine_that_fails_costs_only_its_own_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines that crash, hang, cannot load, or are not installed leave rows with their reasons; the others go on."""
    monkeypatch.setenv(PROGRESS_FILE, str(tmp_path / "progress"))
    engines = (failing.Good, failing.Ending, failing.Hanging, failing.Wrong, failing.Unable, failing.Absent)
    work = FakeWorkload()
    n_pool = max(pool_size(work, 4, engine) for engine in engines)
    entries = []
    with ExitStack() as stack:
        for engine in engines:
            bench = partial(Bench, Calls(workload=work, engine=engine, n_pool=n_pool))
            host = stack.enter_context(Host(bench, environment={}, name=engine.name, timeout_s=10))
            host.ready()
            case = Case(workload="fake", engine=engine.name, batch_size=4)
            entries.append(Entry(case=case, host=host, n_samples=2))
        plan = Plan(min_rounds=2, max_rounds=2, target_width=1.0, time_limit_s=60)
        rows = run_rounds(entries, plan, Progress("test", 100), control=lambda: None).measurements
    found = {row.case.engine: row for row in rows}
    assert {name: (row.outcome, len(row.samples_s)) for name, row in found.items()} == {
        "good": (Outcome.OK, 4),
        "ending": (Outcome.FAILED, 0),
        "hanging": (Outcome.FAILED, 0),
        "wrong": (Outcome.INVALID, 4),
        "unable": (Outcome.FAILED, 0),
        "absent": (Outcome.FAILED, 0),
    }
    assert "it ended with exit code 3" in found["ending"].reason
    assert "within 10 s, got none, so it was killed" in found["hanging"].reason
    assert "1 of 8 values differ, first at [0, 0]" in found["wrong"].reason
    assert found["unable"].reason == "unable: expected a model it can load, got another"
    assert found["absent"].reason.endswith("pip install no-such-package")


# Memory kept


@LINUX
def test_memory_kept_reaches_the_process_before_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of its calls begins with both variables, eager PyTorch's with neither; its calls fault on nothing."""
    monkeypatch.setenv(PROGRESS_FILE, str(tmp_path / "progress"))
    monkeypatch.setenv(store.RUN_FOLDER, str(tmp_path))
    case = Case(workload="cnn-small", engine="torch_malloc", batch_size=16, n_threads=2)
    with Session("batch_sweep", Params()) as session:
        eager, keeping = (
            calls_host(session, Cnn(), ENGINES[name], CPU, largest_batch=16, n_threads=2)
            for name in ("torch", "torch_malloc")
        )
        eager.ready()
        keeping.call("start")
        started_with = [Path(f"/proc/{host.pid}/environ").read_text() for host in (eager, keeping)]
        keeping.call("prepare", case, WarmUp(max_calls=6))
        keeping.call("turn", case, 5)
        row = keeping.call("finish", case)
    assert ["MALLOC_" in text for text in started_with] == [False, True]
    for variable in ("MALLOC_MMAP_THRESHOLD_=4294967296", "MALLOC_TRIM_THRESHOLD_=8589934592"):
        assert variable in started_with[1].split("\0")
    assert median(row.series["minor_faults"]) < 100


@LINUX
def test_memory_kept_is_not_given_back() -> None:
    """A freed block of 64 MB, which glibc otherwise always gives back, serves again without a page fault."""

    def faults(environment: Mapping[str, str]) -> int:
        with Host(failing.Faults, environment=environment, name="faults") as host:
            return int(host.call("of_second_block", 64_000_000))

    assert faults({}) >= 64_000_000 / 2**21  # at least one for each page, even where all are huge
    assert faults(ENGINES["torch_malloc"].environment) < 10
