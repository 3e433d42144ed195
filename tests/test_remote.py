"""Objects in a process of their own: answers, errors, their start and their end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing.context import SpawnProcess
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from processes import eventually, is_running
from remote_probe import Probe, fail_to_build, import_slowly

from inferbench_lib.errors import NotAvailable, OutOfMemory, WorkerDied, WorkerHung, WorkerRaised
from inferbench_lib.processes.child import thread_limits
from inferbench_lib.processes.remote import Remote, as_answered

HERE = Path(__file__).parent


@pytest.fixture
def remote() -> Iterator[Remote]:
    """A probe in a process of its own."""
    with Remote(Probe, name="probe") as remote:
        yield remote


def test_calls_run_in_another_process(remote: Remote) -> None:
    """A call returns its result from the process whose id the remote tells."""
    assert remote.call("pid") == remote.pid != os.getpid()
    assert remote.call("length", bytes(10_000_000)) == 10_000_000


def test_the_environment_is_set_before_imports_and_only_there() -> None:
    """The child has the variables from its first instruction; this process has what it had before."""
    limits = thread_limits(3)
    before = dict(os.environ)
    with Remote(Probe, environment=limits | {"PYTHONHASHSEED": "123"}) as remote:
        assert {name: remote.call("environ", name) for name in limits} == dict.fromkeys(limits, "3")
        expected = subprocess.run(
            [sys.executable, "-c", "print(hash('a'))"], env=os.environ | {"PYTHONHASHSEED": "123"}, capture_output=True
        )
        assert remote.call("hash_of", "a") == int(expected.stdout)  # read by the interpreter itself, before any code
    assert dict(os.environ) == before


def test_a_fork_server_older_than_the_environment_gets_it_too() -> None:
    """With forkserver the child has the variables, although its server was started without them."""
    with Remote(Probe, start_method="forkserver") as first:
        first.ready()
        with Remote(Probe, start_method="forkserver", environment={"OMP_NUM_THREADS": "5"}) as second:
            assert (first.call("environ", "OMP_NUM_THREADS"), second.call("environ", "OMP_NUM_THREADS")) == (None, "5")


def test_the_worker_imports_only_what_it_needs(remote: Remote) -> None:
    """A process whose object needs nothing has loaded no array library, and certainly no framework."""
    heavy = {"numpy", "scipy", "sklearn", "torch", "pandas", "matplotlib", "joblib"}
    assert remote.call("modules") & heavy == set()


def test_start_import_and_build_are_told_apart() -> None:
    """Seconds until the first line, in imports and in the rest of the factory fill the time until it is ready."""
    before_s = time.perf_counter()
    with Remote(import_slowly, index=3) as remote:
        remote.ready()
        whole_s = time.perf_counter() - before_s
        start, imports, build = remote.start_spans
        assert 0.2 <= imports.end_s - imports.start_s < 0.2 + 0.5 * whole_s
        assert before_s <= start.start_s < start.end_s < build.end_s <= before_s + whole_s
        assert [span.kind for span in remote.start_spans] == ["start", "import", "load_model"]
        assert {span.worker for span in remote.start_spans} == {3}
        assert (start.end_s, imports.end_s) == (imports.start_s, build.start_s)


def test_it_sleeps_between_calls(remote: Remote) -> None:
    """A process that is not asked uses no CPU time."""
    before_s = remote.call("cpu_s")
    time.sleep(0.5)
    assert remote.call("cpu_s") - before_s < 0.05


def test_an_exception_comes_back_as_text(remote: Remote) -> None:
    """What the child raises, also what could not be unpickled here, is WorkerRaised with the original traceback."""
    with pytest.raises(WorkerRaised) as caught:
        remote.call("fail")
    raised = "remote_probe.TwoArguments: broken at row 7"
    assert str(caught.value) == f"worker 'probe' (pid {remote.pid}): fail() raised {raised}"
    assert 'raise TwoArguments("broken", "row 7")' in caught.value.__notes__[0]
    assert remote.call("pid") == remote.pid  # and it lives on


def test_results_that_cannot_travel_are_named(remote: Remote) -> None:
    """A result that cannot be pickled there, or unpickled here, is WorkerRaised, not a hang."""
    with pytest.raises(WorkerRaised) as caught:
        remote.call("unpicklable")
    who = f"worker 'probe' (pid {remote.pid})"
    assert str(caught.value) == f"{who}: unpicklable() raised TypeError: cannot pickle '_thread.lock' object"
    with pytest.raises(WorkerRaised) as caught:
        remote.call("no_return")
    assert str(caught.value) == (
        f"{who}: expected a result of no_return() that can be unpickled here, got ValueError: cannot come back; "
        "return plain arrays and numbers"
    )


def test_arguments_that_cannot_travel_change_nothing(remote: Remote) -> None:
    """An argument that cannot be pickled is refused here, and the next call works."""
    with pytest.raises(TypeError, match="cannot pickle"):
        remote.call("length", threading.Lock())
    assert remote.call("length", [1, 2]) == 2


def test_our_own_errors_come_back_as_they_are(remote: Remote) -> None:
    """An error of the tree keeps its type; a MemoryError becomes the tree's own."""
    with pytest.raises(NotAvailable, match=r"^gpu: expected one, got none$"):
        remote.call("refuse")
    with pytest.raises(OutOfMemory) as caught:
        remote.call("exhaust")
    assert str(caught.value) == (
        f"worker 'probe' (pid {remote.pid}): exhaust() ran out of memory (MemoryError: no room for 8 rows); "
        "use smaller batches or fewer processes"
    )


@pytest.mark.parametrize(
    ("call", "end"),
    [
        (("die", 9), "was ended by SIGKILL, likely out of memory; use smaller batches or fewer processes"),
        (("die", 11), "was ended by SIGSEGV; start a new one"),
        (("die", 40), "was ended by signal 40; start a new one"),
        (("leave", 3), "ended with exit code 3; see what it printed"),
    ],
)
def test_a_death_names_worker_call_and_cause(remote: Remote, call: tuple[str, int], end: str) -> None:
    """A child that ends without an answer is WorkerDied, and so is every later call."""
    who = f"worker 'probe' (pid {remote.pid})"
    with pytest.raises(WorkerDied) as caught:
        remote.call(*call)
    assert str(caught.value) == f"{who}: expected an answer to {call[0]}({call[1]}), but it {end}"
    with pytest.raises(WorkerDied) as caught:
        remote.call("pid")
    assert str(caught.value) == f"{who}: expected a live process for pid, got one that {end}"


def test_silence_is_ended(remote: Remote) -> None:
    """A call without an answer in time is WorkerHung, and the child is gone."""
    remote.ready()
    remote.timeout_s = 0.3
    with pytest.raises(WorkerHung) as caught:
        remote.call("die", int(signal.SIGSTOP))
    assert str(caught.value) == (
        f"worker 'probe' (pid {remote.pid}): expected an answer to die(19) within 0.3 s, got none, so it was killed; "
        "give it more time or less work at once"
    )
    assert not is_running(remote.pid)


def test_a_stopped_process_cannot_block_a_large_request() -> None:
    """Where a stopped child does not read, sending more than a pipe holds ends in WorkerHung too."""
    with Remote(Probe, timeout_s=2) as remote:
        remote.ready()
        os.kill(remote.pid, signal.SIGSTOP)
        with pytest.raises(WorkerHung, match="within 2 s, got none"):
            remote.call("length", bytes(10_000_000))
        assert not is_running(remote.pid)


def test_a_factory_that_raises_is_reported_once_and_ends() -> None:
    """A failing factory is WorkerRaised at the first wait; after that the worker is known to be dead."""
    with Remote(fail_to_build, name="broken") as remote:
        with pytest.raises(WorkerRaised) as caught:
            remote.ready()
        assert str(caught.value) == f"worker 'broken' (pid {remote.pid}): its start raised LookupError: no such model"
        with pytest.raises(WorkerDied, match="for its start, got one that failed to start; start a new one"):
            remote.call("pid")
        assert not is_running(remote.pid)


def test_an_interrupted_call_ends_its_process(remote: Remote) -> None:
    """After Ctrl-C in a call the child, whose answer nobody would read, is gone."""
    started_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        remote.call("interrupt_caller")
    assert time.monotonic() - started_s < 50
    assert not is_running(remote.pid)
    with pytest.raises(WorkerDied, match="got one that was interrupted; start a new one"):
        remote.call("pid")


def test_ctrl_c_between_a_request_and_its_answer_ends_the_process(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt that comes when the request has been sent, but before the wait for its answer, ends it too."""
    remote.ready()
    submit = remote.submit
    monkeypatch.setattr(remote, "submit", lambda *request: (submit(*request), signal.raise_signal(signal.SIGINT)))
    with pytest.raises(KeyboardInterrupt):
        remote.call("nap", 60)
    assert not is_running(remote.pid)


def test_ctrl_c_while_a_process_starts_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt that comes during the start is raised after it, and the new process is gone."""
    started: list[BaseProcess] = []
    start = SpawnProcess.start

    def interrupted_start(process: SpawnProcess) -> None:
        start(process)
        started.append(process)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(SpawnProcess, "start", interrupted_start)
    with pytest.raises(KeyboardInterrupt):
        Remote(Probe)
    assert [process.exitcode for process in started] == [-signal.SIGKILL]


def test_one_request_at_a_time(remote: Remote) -> None:
    """A second request before the first answer is a mistake of the program, said as such."""
    remote.ready()
    remote.submit("nap", 0.1)
    with pytest.raises(RuntimeError, match=r"expected one request at a time, got pid during nap\(0.1\)"):
        remote.submit("pid")


def test_answers_come_as_they_are_ready(tmp_path: Path) -> None:
    """Of several, the one that is done first answers first."""
    with Remote(Probe, name="slow") as slow, Remote(Probe, name="quick") as quick:
        slow.ready()
        quick.ready()
        slow.submit("wait_for", tmp_path / "quick has answered")
        quick.submit("pid")
        names = []
        for remote, _ in as_answered([slow, quick]):
            names.append(remote.name)
            (tmp_path / "quick has answered").touch()
        assert names == ["quick", "slow"]


def test_close_lets_the_object_close(tmp_path: Path) -> None:
    """Closing an idle remote calls its object's `close`, ends the process, and may be repeated."""
    note = tmp_path / "note"
    remote = Remote(partial(Probe, note))
    remote.ready()
    remote.close()
    remote.close()
    assert (note.read_text(), is_running(remote.pid)) == ("closed", False)


def test_close_ends_a_process_at_work() -> None:
    """Closing does not wait for an answer that is still to come."""
    remote = Remote(Probe)
    remote.ready()
    remote.submit("nap", 60)
    started_s = time.monotonic()
    remote.close()
    assert time.monotonic() - started_s < 50
    assert not is_running(remote.pid)


def test_a_lost_remote_ends() -> None:
    """A remote that nobody holds any more leaves no process."""
    remote = Remote(Probe)
    pid = remote.call("pid")
    del remote
    assert eventually(lambda: not is_running(pid))
