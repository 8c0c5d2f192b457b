"""Work on what this process makes, done by other processes while it makes the next: a case is scored beside the GPU.

The processes are started from nothing, so that they hold no CUDA and nothing of the network, compute with one thread,
have one item each at a time, and end with this process, however it ends.
"""

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from harness.errors import HarnessError
from harness.execution.workers.exit_status import out_of_memory_kills, signal_name
from harness.import_probe import how_it_ended
from harness.loader_errors import LoaderError, attempt

_In = TypeVar("_In")
_Out = TypeVar("_Out")

#: Seconds of work that must be left for processes to be started: a start takes one or two seconds of a core.
_WORTH = 4.0

#: Seconds within which a signal that ended one of the processes reaches this one too, if it is for all of them.
_SAME_SIGNAL = 0.5

#: Processes at most: each holds a case, and more than these are seldom needed to keep up with a network.
_MOST = 4

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

_REMEDY = "Run fewer cells at once (--workers), or use --threads 1: a cell with one thread starts no such processes."


class ProcessEndedError(HarnessError):
    """A process that worked on a case ended without a result.

    Args:
        message: What is wrong.
        hint: What to do.
        kind: ``killed``, ``out_of_memory`` or ``exception``, as :class:`harness.execution.workers.failures.Reason`.
    """

    def __init__(self, message: str, *, hint: str = "", kind: str = "killed") -> None:
        super().__init__(message, hint=hint)
        self.kind = kind


def _go_on() -> None:
    pass


class Background(Generic[_In, _Out]):
    """Does work on items in other processes, while this process makes the next item.

    What is in memory is bounded: each process has one item, and one more waits to be handed over. Results do not depend
    on the number of processes, nor does their order.

    Args:
        work: Called with the name of a case and what was made of it. It is pickled, once per process; where it cannot
            be, or cannot be opened there, this process does the work, and says so.
        processes: Processes at most; 0 does all work in this one.
        check: Called where a process has ended by a signal; raises, where this process was to end with it.
        say: Told why this process does the work itself.
        worth: Seconds of work that must be left for processes to be started, by the time of the case before.
    """

    def __init__(
        self,
        work: Callable[[str, _In], _Out],
        processes: int,
        check: Callable[[], None] = _go_on,
        say: Callable[[str], None] = print,
        worth: float = _WORTH,
    ) -> None:
        self._work = work
        self._wanted = processes
        self._check = check
        self._say = say
        self._worth = worth
        self._processes: list[_Process] = []
        self._kills = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.end()
        self._processes.clear()

    def map(self, made: Iterable[tuple[str, _In]], total: int) -> Iterator[_Out]:
        """Yields the results in order; the next item is made while work on those before goes on.

        Args:
            made: Names and items, each made when it is asked for.
            total: How many there are, at most.

        Raises:
            ProcessEndedError: A process was killed or ended; names the case.
            Exception: What the work raised.
        """
        items = iter(made)
        if not self._processes:
            for done, (name, item) in enumerate(items, start=1):
                began = time.monotonic()
                result = self._work(name, item)
                seconds = time.monotonic() - began
                yield result
                if self._wanted and seconds * (total - done) > self._worth and self._start(total - done):
                    break
        results: dict[int, _Out] = {}
        given = yielded = 0
        for name, item in items:
            if self._give(given, name, item, results):
                given += 1
            while yielded in results:
                yield results.pop(yielded)
                yielded += 1
            if not self._processes:  # none works, so that all they were given is done
                yield self._work(name, item)
        while yielded < given:
            if yielded not in results:
                self._listen(results, None)
            while yielded in results:
                yield results.pop(yielded)
                yielded += 1

    def _start(self, items: int) -> bool:
        """Starts the processes; returns whether there are any."""
        count, self._wanted, self._kills = min(self._wanted, items, _MOST), 0, out_of_memory_kills()
        try:
            packed = pickle.dumps(self._work)
            for _ in range(count):
                self._processes.append(_Process(packed))
        except Exception as error:  # of somebody's class that is no matter for another process, or no more processes
            self._refuse(f"{type(error).__name__}: {error}")
        return bool(self._processes)

    def _give(self, number: int, name: str, item: _In, results: dict[int, _Out]) -> bool:
        """Hands an item to the next process that is free; returns False where there is no process any more."""
        self._listen(results, 0)
        while self._processes:
            for process in self._processes:
                if process.is_ready and process.item is None:
                    if process.give(number, name, item):
                        return True
                    raise self._end_of(process, name)
            self._listen(results, None)
        return False

    def _listen(self, results: dict[int, _Out], seconds: float | None) -> None:
        """Takes what the processes have to say, once one of them has, or after some seconds."""
        by_connection = {process.connection: process for process in self._processes}
        for connection in wait(list(by_connection), seconds):
            process = by_connection[connection]  # type: ignore[index]  # it is one of them
            try:
                message = process.connection.recv()
            except (EOFError, OSError):
                if process.item is not None:
                    raise self._end_of(process, process.item[1]) from None
                message = f"it {how_it_ended(process.status())}"
                process.is_ready = False
            if not process.is_ready:
                process.is_ready = not message
                if message:
                    self._processes.remove(process)
                    process.end()
                    self._refuse(message)
            elif isinstance(message, LoaderError):
                raise message.error
            elif process.item is not None:
                results[process.item[0]] = message
                process.item = None

    def _refuse(self, why: str) -> None:
        line = why.partition("\n")[0]
        self._say(f"A process beside this one cannot work: {line}. What it was to do is done by the others, or here.")

    def _end_of(self, process: "_Process", name: str) -> ProcessEndedError:
        """Returns the error for a process that has ended."""
        status = process.status()
        if status == -signal.SIGTERM:
            time.sleep(_SAME_SIGNAL)
        self._check()
        if status >= 0:
            text = f"The process that worked on case '{name}' ended with status {status} and no result."
            return ProcessEndedError(text, hint="The log says what it did last.", kind="exception")
        if out_of_memory_kills() > self._kills:
            text = f"The system killed the process that worked on case '{name}' because memory ran out (SIGKILL)."
            return ProcessEndedError(text, hint=_REMEDY, kind="out_of_memory")
        text = f"The process that worked on case '{name}' was killed by {signal_name(status)}."
        return ProcessEndedError(text, hint=f"Perhaps the machine ran out of memory. {_REMEDY}")


class _Process:
    """One of the processes.

    Args:
        work: The work, pickled.

    Attributes:
        connection: To the process.
        is_ready: Whether it has opened the work.
        item: Number and name of the item that it has; None where it has none.
    """

    def __init__(self, work: bytes) -> None:
        context: SpawnContext = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.is_ready = False
        self.item: tuple[int, str] | None = None
        self._process = context.Process(target=_serve, args=(theirs,), name="background", daemon=True)
        self._process.start()
        theirs.close()
        self.connection.send_bytes(work)

    def give(self, number: int, name: str, item: Any) -> bool:
        """Hands an item over; returns whether the process is there to take it."""
        self.item = number, name
        try:
            self.connection.send((name, item))
        except OSError:
            return False
        return True

    def status(self) -> int:
        """Returns the exit status, minus the signal that ended it; waits for its end."""
        self._process.join()
        return self._process.exitcode or 0

    def end(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.join()
        self.connection.close()


def _serve(connection: Connection) -> None:
    """Does the work on each item that comes, until the other end is closed."""
    # These are sent to all processes of a group; the one that started this one ends it.
    for number in (signal.SIGINT, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        work = connection.recv()
        _use_one_thread()
    except (Exception, SystemExit) as error:
        connection.send(f"{type(error).__name__}: {error}")
        return
    connection.send("")
    while True:
        try:
            name, item = connection.recv()
        except (EOFError, OSError):
            return
        found = attempt(partial(work, name, item), "a process that worked on a case")
        _use_one_thread()  # the first case may have imported torch
        connection.send(found)


def _use_one_thread() -> None:
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        with suppress(OSError):
            parent.join()
        os._exit(1)
