"""Run an object in a process of its own, and call it there.

Between calls the process sleeps in a read. Every failure becomes a named error: an exception with its traceback, a
death with its signal, silence with the time limit. The process ends with its parent.
"""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.util  # before our atexit below: handlers run last in, first out, and its own joins all children
import os
import reprlib
import socket
import struct
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any, TypeAlias

from inferbench_lib.errors import WorkerDied, WorkerHung
from inferbench_lib.processes.child import in_main_thread, serve, starting_processes
from inferbench_lib.processes.messages import dumps, how_it_ended, open_answer
from inferbench_lib.processes.spans import Start, now
from inferbench_lib.records import Span

Task: TypeAlias = str | Callable[[], str]
_SECONDS_TO_END = 5.0
_live: weakref.WeakSet[Remote] = weakref.WeakSet()


class Remote(AbstractContextManager["Remote"]):
    """The result of `factory()` in a new process, which starts at once.

    `environment` is set there before anything is imported. `factory`, arguments and results are pickled. Errors of
    `inferbench_lib.errors` come back unchanged. A MemoryError becomes OutOfMemory, any other error WorkerRaised.
    `timeout_s` limits the start and each call. `ready` or the first call sets `start_spans`.
    """

    def __init__(
        self, factory: Callable[[], Any], *, environment: Mapping[str, str] | None = None, name: str = "worker",
        timeout_s: float = 600.0, start_method: str = "spawn", index: int = 0,
    ) -> None:  # fmt: skip
        payload = dumps(factory)  # first, so that a factory that cannot be sent starts no process
        self.name, self.index, self.timeout_s = name, index, timeout_s
        self.start_spans: tuple[Span, ...] = ()
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
        except OSError as error:
            raise WorkerDied(
                f"worker '{name}': expected a new process, got none: {error.strerror}; "
                "raise the limit on processes (ulimit -u) or free some memory"
            ) from error
        except BaseException:  # a Ctrl-C that waited for the start leaves a process without owner
            if self._process.pid is not None:
                self.kill()
            raise
        self.pid: int = self._process.pid
        _live.add(self)

    @property
    def is_built(self) -> bool:
        """Return whether the object is known to be built."""
        return bool(self.start_spans)

    @property
    def is_busy(self) -> bool:
        """Return whether an answer is due."""
        return bool(self._tasks)

    @property
    def has_ended(self) -> bool:
        """Return whether the process is known to have ended."""
        return bool(self._end)

    def ready(self) -> None:
        """Wait until the object is built."""
        if not self.is_built:
            self._demand_alive("its start")
            with self._ended_if_interrupted():
                self._answer()

    def call(self, method: str, *args: Any) -> Any:
        """Return the result of `object.method(*args)`; "__call__" calls the object itself."""
        self.ready()
        with self._ended_if_interrupted():
            self.submit(method, *args)
            return self._answer()

    def submit(self, method: str, *args: Any, task: Task = "") -> None:
        """Send a request without waiting; `as_answered` yields the answer. `task` describes the request in an error.

        One request may be sent while the process starts; the first answer is then None, for the start.
        """
        self._demand_alive(method)
        if len(self._tasks) > (not self.is_built):
            raise RuntimeError(f"{self}: expected one request at a time, got {method} during {self._task()}")
        request = dumps((method, args))
        self._tasks.append(task or " ".join(f"{method}({', '.join(map(reprlib.repr, args))})".split()))
        self.asked_s = now()
        try:
            self.connection.send_bytes(request)
        except BlockingIOError:
            raise self.give_up() from None
        except OSError:
            raise self._died() from None

    def receive(self) -> Any:
        """Wait for the answer that is due and return it, or raise its error."""
        try:
            answer = self.connection.recv_bytes()
        except BlockingIOError:
            raise self.give_up() from None
        except (EOFError, OSError):
            raise self._died() from None
        task = self._task()
        self._tasks.popleft()
        if self.is_built:
            return open_answer(answer, str(self), task)
        try:
            start: Start = open_answer(answer, str(self), task)
        except BaseException:
            self.kill("failed to start; start a new one")
            raise
        self.start_spans = start.lane(self.index, self._started_s)
        return None

    def give_up(self) -> WorkerHung:
        """Kill the process that did not answer within `timeout_s`; return the error to raise."""
        task = self._task()
        self.kill("hung and was killed; start a new one")
        return WorkerHung(
            f"{self}: expected an answer to {task} within {self.timeout_s:g} s, got none, so it was killed; "
            "give it more time or less work at once"
        )

    def kill(self, why: str = "was killed; start a new one") -> None:
        """End the process now, unless it has ended."""
        if not self._end:
            self._end = why
            self._tasks.clear()
            self._process.kill()
            self._process.join()
            self.connection.close()

    def hang_up(self) -> None:
        """Begin `close`: an idle process calls `close` of its object and ends, a busy one is killed."""
        if self.is_busy:
            self.kill("was closed while busy; start a new one")
        self.connection.close()  # an idle process reads the end of the pipe

    def close(self) -> None:
        """End the process as `hang_up` does, and wait for its end."""
        self.hang_up()
        if not self._end:
            self._process.join(_SECONDS_TO_END)
            self.kill("was closed; start a new one")

    def __exit__(self, *_: object) -> None:
        self.close()

    def __str__(self) -> str:
        return f"worker '{self.name}' (pid {self.pid})"

    def _demand_alive(self, wanted: str) -> None:
        if self._end:
            raise WorkerDied(f"{self}: expected a live process for {wanted}, got one that {self._end}")

    def _answer(self) -> Any:
        return next(as_answered([self]))[1]

    @contextmanager
    def _ended_if_interrupted(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            if self.is_busy:  # nobody would read the answer
                self.kill("was interrupted; start a new one")
            raise

    def _task(self) -> str:
        task = self._tasks[0]
        return task if isinstance(task, str) else task()

    def _died(self) -> WorkerDied:
        task = self._task()
        self._process.join(_SECONDS_TO_END)
        end = how_it_ended(self._process.exitcode)
        self.kill(end)
        return WorkerDied(f"{self}: expected an answer to {task}, but it {end}")


def as_answered(remotes: Collection[Remote]) -> Iterator[tuple[Remote, Any]]:
    """Yield each answer as it arrives, until none is due; requests may be submitted in between.

    Raises the errors of `Remote.receive`, and WorkerHung for a request without an answer in its `timeout_s`.
    """
    while busy := [remote for remote in remotes if remote.is_busy]:
        first = min(busy, key=lambda remote: remote.asked_s + remote.timeout_s)
        answered = to_receive(busy, first.asked_s + first.timeout_s - now())
        if not answered:
            raise first.give_up()
        for remote in answered:
            yield remote, remote.receive()


def to_receive(remotes: Collection[Remote], within_s: float) -> list[Remote]:
    """Wait up to `within_s` until one of the busy `remotes` has answered or ended; return all that have."""
    busy = {remote.connection: remote for remote in remotes}
    return [busy[connection] for connection in wait(list(busy), max(0.0, within_s))]  # type: ignore[index]


def _limit_transfers(connection: Connection, timeout_s: float) -> None:
    """Let a read or write that a stopped process interrupts fail after `timeout_s` instead of blocking for ever."""
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
