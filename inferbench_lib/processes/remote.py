"""An object that lives in a process of its own, and answers calls; the one way in which our workers run.

Between calls its process sleeps in a read. Whatever happens to it becomes a named error: its exception with the
traceback, its death with the signal, its silence with the time it was given. It ends with its parent.
"""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.util  # before our atexit below: handlers run last in, first out, and its own joins all children
import os
import reprlib
import signal
import socket
import struct
import sys
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from multiprocessing.connection import Connection, wait
from typing import Any, TypeAlias

from inferbench_lib.errors import WorkerDied, WorkerHung
from inferbench_lib.executors.executor import now
from inferbench_lib.processes.answers import open_answer
from inferbench_lib.processes.child import dumps, serve
from inferbench_lib.processes.lifeline import in_main_thread, starting_processes
from inferbench_lib.records import Span

Task: TypeAlias = str | Callable[[], str]
_SECONDS_TO_END = 5.0
_live: weakref.WeakSet[Remote] = weakref.WeakSet()


class Remote:
    """`factory()` built in a new process, which starts at once; `call` it when it is needed.

    `environment` is set there before anything is imported. `factory`, arguments and results are pickled; an error
    of `inferbench_lib.errors` comes back as it is, a MemoryError as OutOfMemory, any other as WorkerRaised. `timeout_s`
    holds for the start and for each call. After `ready` or the first call, `start_s` (from here until the process's
    first line), `import_s` and `build_s` (the rest of the factory) are known, and `start_spans` where they lay.
    """

    def __init__(
        self, factory: Callable[[], Any], *, environment: Mapping[str, str] | None = None, name: str = "worker",
        timeout_s: float = 600.0, start_method: str = "spawn", index: int = 0,
    ) -> None:  # fmt: skip
        payload = dumps(factory)  # first of all, so that what cannot be sent starts nothing
        self.name, self.index, self.timeout_s = name, index, timeout_s
        self.start_s = self.import_s = self.build_s = 0.0
        self.start_spans: tuple[Span, ...] = ()
        self._is_built = False
        self._end = ""
        self._owner = os.getpid()
        self._tasks: deque[Task] = deque(["its start"])
        self.connection, theirs = multiprocessing.Pipe()
        _limit_transfers(self.connection, timeout_s)
        context = multiprocessing.get_context(start_method)
        arguments = (theirs, dict(environment or {}), payload, in_main_thread())
        self._process = context.Process(target=serve, args=arguments, name=name)  # type: ignore[attr-defined]
        try:
            with theirs, starting_processes(environment or {}):
                self.asked_s = self._started_s = now()
                self._process.start()
        except BaseException:  # a Ctrl-C that waited for the start comes here, with a process that nobody would own
            if self._process.pid is not None:
                self.kill()
            raise
        self.pid: int = self._process.pid
        _live.add(self)

    @property
    def is_busy(self) -> bool:
        """Whether an answer is owed."""
        return bool(self._tasks)

    @property
    def is_built(self) -> bool:
        """Whether it is known to have started."""
        return self._is_built

    @property
    def has_ended(self) -> bool:
        """Whether its process is known to have ended."""
        return bool(self._end)

    def ready(self) -> None:
        """Wait until the object is built."""
        if not self._is_built:
            self._demand_alive("its start")
            self._finish(self.timeout_s)

    def call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        """The result of `object.method(*args)`; "__call__" calls the object itself."""
        self.ready()
        self.submit(method, *args)
        return self._finish(self.timeout_s if timeout_s is None else timeout_s)

    def submit(self, method: str, *args: Any, task: Task = "") -> None:
        """Ask without waiting; `as_answered` gives the answer. `task` names the request in an error, or is asked to.

        One request may be sent ahead, while the process starts; the first answer is then that of the start, None.
        """
        self._demand_alive(method)
        if len(self._tasks) > (not self._is_built):
            raise RuntimeError(f"{self}: expected one request at a time, got {method} during {self._task()}")
        request = dumps((method, args))
        self._tasks.append(task or _describe(method, args))
        self.asked_s = now()
        try:
            self.connection.send_bytes(request)
        except BlockingIOError:
            raise self.give_up(self.timeout_s) from None
        except OSError:
            raise self._died() from None

    def receive(self) -> Any:
        """The owed answer, or its error, waiting for it if need be."""
        try:
            answer = self.connection.recv_bytes()
        except BlockingIOError:
            raise self.give_up(self.timeout_s) from None
        except (EOFError, OSError):
            raise self._died() from None
        task = self._task()
        self._tasks.popleft()
        if self._is_built:
            return open_answer(answer, str(self), task)
        try:
            self._note_start(*open_answer(answer, str(self), task))
        except BaseException:
            self.kill("failed to start; start a new one")
            raise
        self._is_built = True
        return None

    def give_up(self, after_s: float) -> WorkerHung:
        """Kill the process that did not answer within `after_s`; the error to raise."""
        task = self._task()
        self.kill("hung and was killed; start a new one")
        return WorkerHung(
            f"{self}: expected an answer to {task} within {after_s:g} s, got none, so it was killed; "
            "give it more time or less work at once"
        )

    def kill(self, why: str = "was killed; start a new one") -> None:
        """End the process now; nothing happens if it has ended."""
        if not self._end:
            self._end = why
            self._tasks.clear()
            self._process.kill()
            self._process.join()
            self.connection.close()

    def hang_up(self) -> None:
        """Begin `close`: an idle process ends by itself after its object's `close`, a busy one is killed."""
        if self.is_busy:
            self.kill("was closed at work; start a new one")
        self.connection.close()  # an idle process reads its end

    def close(self) -> None:
        """End the process, politely if it is idle, and wait for its end."""
        self.hang_up()
        if not self._end:
            self._process.join(_SECONDS_TO_END)
            self.kill("was closed; start a new one")

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __str__(self) -> str:
        return f"worker '{self.name}' (pid {self.pid})"

    def _demand_alive(self, wanted: str) -> None:
        if self._end:
            raise WorkerDied(f"{self}: expected a live process for {wanted}, got one that {self._end}")

    def _finish(self, timeout_s: float) -> Any:
        try:
            return next(as_answered([self], timeout_s))[1]
        except BaseException:
            if self.is_busy:  # interrupted: the answer that is still to come belongs to nobody
                self.kill("was interrupted; start a new one")
            raise

    def _note_start(self, first_line_s: float, import_s: float, end_s: float, start_cpu_s: float, cpu_s: float) -> None:
        self.start_s = first_line_s - self._started_s
        self.import_s, self.build_s = import_s, end_s - first_line_s - import_s
        edges = (self._started_s, first_line_s, first_line_s + import_s, end_s)
        build_cpu_s = max(0.0, cpu_s - import_s)
        self.start_spans = tuple(
            Span(worker=self.index, kind=kind, start_s=start, end_s=end, cpu_s=cpu)
            for kind, start, end, cpu in zip(
                ("start", "import", "load_model"), edges, edges[1:],
                (start_cpu_s, cpu_s - build_cpu_s, build_cpu_s), strict=False,
            )
        )  # fmt: skip

    def _task(self) -> str:
        task = self._tasks[0]
        return task if isinstance(task, str) else task()

    def _died(self) -> WorkerDied:
        task = self._task()
        self._process.join(_SECONDS_TO_END)
        end = how_it_ended(self._process.exitcode)
        self.kill(end)
        return WorkerDied(f"{self}: expected an answer to {task}, but it {end}")


def as_answered(remotes: Collection[Remote], timeout_s: float) -> Iterator[tuple[Remote, Any]]:
    """Each answer as it comes, until none is owed; more may be submitted in between.

    Raises what `Remote.receive` raises, and WorkerHung for one that has not answered `timeout_s` after it was asked.
    """
    while busy := [remote for remote in remotes if remote.is_busy]:
        oldest = min(busy, key=lambda remote: remote.asked_s)
        answered = to_receive(busy, oldest.asked_s + timeout_s - now())
        if not answered:
            raise oldest.give_up(timeout_s)
        for remote in answered:
            yield remote, remote.receive()


def to_receive(remotes: Collection[Remote], within_s: float) -> list[Remote]:
    """Those of the busy `remotes` that have answered or ended, as soon as there is one, or none after `within_s`."""
    busy = {remote.connection: remote for remote in remotes}
    return [busy[connection] for connection in wait(list(busy), max(0.0, within_s))]  # type: ignore[index]


def _describe(method: str, args: tuple[Any, ...]) -> str:
    return " ".join(f"{method}({', '.join(map(reprlib.repr, args))})".split())


def how_it_ended(exit_code: int | None) -> str:
    """What an exit code of `multiprocessing.Process` says, in words, with what to do about it."""
    if exit_code is None:
        return "closed its pipe and was killed; start a new one"
    if exit_code >= 0:
        return f"ended with exit code {exit_code}; see what it printed"
    if -exit_code == signal.SIGKILL:
        return "was ended by SIGKILL, likely out of memory; use smaller batches or fewer processes"
    try:
        return f"was ended by {signal.Signals(-exit_code).name}; start a new one"
    except ValueError:  # a real-time signal has no name
        return f"was ended by signal {-exit_code}; start a new one"


def _limit_transfers(connection: Connection, timeout_s: float) -> None:
    """Let a read or write that a stopped process leaves half done fail after `timeout_s`, not block for ever."""
    if sys.platform != "win32":
        with socket.socket(fileno=os.dup(connection.fileno())) as ours:
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                ours.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(timeout_s), int(timeout_s % 1 * 1e6)))


@atexit.register
def _close_all() -> None:
    ours = [remote for remote in _live if remote._owner == os.getpid()]  # a forked process holds copies of others
    for remote in ours:
        remote.hang_up()
    for remote in ours:
        remote.close()
