"""What the executors have in common that are built on a `concurrent.futures` pool of processes."""

from __future__ import annotations

import signal
import time
from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

from inferbench_lib.errors import WorkerDied
from inferbench_lib.executors.executor import now
from inferbench_lib.executors.task_pool import TaskPool, end_now
from inferbench_lib.processes.answers import open_answer
from inferbench_lib.processes.child import dumps
from inferbench_lib.processes.lifeline import starting_processes, thread_limits
from inferbench_lib.processes.remote import how_it_ended
from inferbench_lib.processes.task import Parcel, Start, greet

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future
    from multiprocessing.context import BaseContext
    from multiprocessing.process import BaseProcess


class FuturesPool(TaskPool):
    """A pool whose processes are recorded as they are made, so that a death can be told with its cause."""

    _futures: Executor | None = None
    _children: list[BaseProcess]

    @abstractmethod
    def _pool(self, load: bytes) -> Executor:
        """A new pool whose workers `begin` with the pickled `load`; its processes come into `_children`."""

    def _open(self) -> list[Start]:
        load = dumps(self._load_runner)
        self._children = []
        self._futures = self._pool(load)
        deadline_s = now() + self._start_limit_s
        starts: dict[int, Start] = {}
        while len(starts) < self._n_processes:  # whoever is up already may answer for one that is not
            if now() > deadline_s:
                raise self._silent("its start", self._start_limit_s)
            for future in [self._sent(greet) for _ in range(self._n_processes)]:
                start: Start = self._answer(future, "its start", self._start_limit_s)
                starts[start.pid] = start
        return sorted(starts.values(), key=lambda start: start.first_line_s)

    def _sent(self, function: Callable[..., bytes], *parcel: Parcel) -> Future[bytes]:
        assert self._futures is not None
        with starting_processes(thread_limits(self._n_threads)):  # a submission may start one more process
            try:
                return self._futures.submit(function, *parcel)
            except BrokenProcessPool:
                raise WorkerDied(f"{self.name}: expected live workers, but {self._first_death()}") from None

    def _answer(self, future: Future[bytes], task: str, timeout_s: float) -> Any:
        try:
            answer = future.result(timeout_s)
        except TimeoutError:
            raise self._silent(task, timeout_s) from None
        except BrokenProcessPool:
            raise WorkerDied(f"{self.name}: expected an answer to {task}, but {self._first_death()}") from None
        return open_answer(answer, self.name, task)

    def _shut_down(self) -> None:
        if self._futures is not None:
            self._futures.shutdown()
            self._futures = None

    def _kill(self) -> None:
        for child in self._started():
            if child.is_alive():
                end_now(child.pid)  # loky's processes have no `kill`
        if self._futures is not None:
            self._futures.shutdown()
            self._futures = None

    def _started(self) -> list[BaseProcess]:
        return [child for child in self._children if child.pid is not None]

    def _first_death(self) -> str:
        """The worker that broke the pool, which then ends the others itself, by SIGTERM or SIGKILL."""
        children = self._started()
        codes = {child.pid: _exit_code(child) for child in children}
        for by_the_pool in ((0, None, -signal.SIGTERM, -signal.SIGKILL), (0, None, -signal.SIGTERM), ()):
            if first := [pid for pid, code in codes.items() if code not in by_the_pool]:
                break
        return f"worker (pid {' or '.join(map(str, first))}) {how_it_ended(codes[first[0]])}"


def _exit_code(child: BaseProcess) -> int | None:
    """How it ended; the pool's own thread may be the one that the system told, and takes a moment to note it."""
    child.join(5)
    deadline_s = now() + 1
    while child.exitcode is None and now() < deadline_s:
        time.sleep(0.001)
    return child.exitcode


def recording(context: BaseContext, children: list[BaseProcess]) -> BaseContext:
    """A context of the same kind that notes the processes it makes, so that one which dies at once is known too."""
    kind = type(context)
    recording = kind()

    def make(*args: Any, **options: Any) -> BaseProcess:
        child: BaseProcess = kind.Process(*args, **options)  # type: ignore[attr-defined]
        children.append(child)
        return child

    recording.Process = make  # type: ignore[attr-defined]
    return recording
