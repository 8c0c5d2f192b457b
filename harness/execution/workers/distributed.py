"""Several processes that train one cell: the worker is the main one, rank 0, and starts the other ranks.

``python -m harness.execution.workers.distributed CELL_FOLDER --rank 1 --ranks 4 ...`` is one of the others. It trains
with the main process, writes nothing, and ends with it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import torch

from harness.errors import HarnessError
from harness.execution.cell.training import train_rank
from harness.execution.workers.exit_status import FAILED, STOPPED, signal_name
from harness.execution.workers.failures import RankFailedError, Reason, explain
from harness.execution.workers.interpreter import PYTHON
from harness.execution.workers.stop_request import StopRequest
from harness.files import read_json, write_json
from harness.redaction import without_secrets
from harness.results.store import CellFolder
from harness.training.loop import Interrupted
from harness.training.ranks import Ranks, join

#: Seconds the other ranks have to end by themselves once the main process is done.
_GRACE = 20.0

#: Seconds between looks at the other processes.
_POLL = 0.5

#: Seconds after the death of a rank within which a collective of the main process fails of it; NCCL's may not.
_COLLECTIVE_TIMEOUT = 15.0


@contextmanager
def launch_ranks(
    count: int,
    folder: CellFolder,
    cache: Path,
    device: torch.device,
    accumulate: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Ranks]:
    """Starts the other ranks and joins them; ends them with the block. A :data:`~harness.training.ranks.JoinRanks`.

    Args:
        count: Processes in all; 1 starts none.
        folder: The cell's folder.
        cache: Folder of prepared data, complete already: the others read it.
        device: Device of the main process; on CUDA the others take the next ones.
        accumulate: Parts a batch is cut into.
        should_stop: Asked while the others start.

    Raises:
        RankFailedError: One of the others failed or died; says why.
        Interrupted: ``should_stop`` said so before training began.
    """
    if count == 1:
        yield Ranks()
        return
    with tempfile.TemporaryDirectory(prefix="harness-ranks-") as shared:
        rendezvous_file = Path(shared) / "rendezvous"
        arguments = [str(folder.path), "--cache", str(cache), "--device", device.type]
        arguments += ["--parent", str(os.getpid()), "--ranks", str(count), "--rendezvous-file", str(rendezvous_file)]
        arguments += ["--threads", str(torch.get_num_threads()), "--accumulate", str(accumulate)]
        group = _WorkerGroup(arguments, count, Path(shared), folder, accumulate)

        def check() -> None:
            if should_stop():
                raise Interrupted
            if (reason := group.failure()) is not None:
                raise RankFailedError(reason)

        try:
            with join(0, count, device, rendezvous_file, check) as ranks:
                yield ranks
        except (HarnessError, RankFailedError, Interrupted):
            raise
        except Exception as error:  # of a collective, perhaps, whose other end has died
            if (reason := group.failure(wait=2.0)) is None:
                raise
            if should_stop():
                raise Interrupted from error
            raise RankFailedError(reason) from error
        else:
            group.wait()
        finally:
            group.end()


class RankProcess(Protocol):
    """What is asked of the process of a rank."""

    def poll(self) -> int | None:
        """Returns the exit status, minus the signal that ended it; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Returns the exit status, when it has ended.

        Raises:
            subprocess.TimeoutExpired: It has not ended after these seconds.
        """

    def kill(self) -> None:
        """Sends SIGKILL."""


def start_rank(arguments: list[str]) -> RankProcess:
    """Starts the process of a rank, with arguments of :func:`main`."""
    command = [*PYTHON, "-m", "harness.execution.workers.distributed", *arguments]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - our own module, no shell


class _WorkerGroup:
    """The other ranks, seen from the main process.

    A collective whose other end has died may never return. So a thread watches, and ends this process, with the reason
    written down, where the death was not noticed otherwise.
    """

    def __init__(self, arguments: list[str], count: int, shared: Path, folder: CellFolder, accumulate: int) -> None:
        self._shared = shared
        self._folder = folder
        self._accumulate = accumulate
        self._over = threading.Event()
        self._processes = {rank: start_rank([*arguments, "--rank", str(rank)]) for rank in range(1, count)}
        threading.Thread(target=self._watch, name="ranks", daemon=True).start()

    def failure(self, wait: float = 0.0) -> Reason | None:
        """Returns why one of them failed; None while none has, after some seconds of waiting for it."""
        deadline = time.monotonic() + wait
        while True:
            for rank, process in self._processes.items():
                status = process.poll()
                if status is not None and not (status == 0 and _done_file(self._shared, rank).is_file()):
                    return self._reason(rank, status)
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.05)

    def wait(self) -> None:
        """Lets them end by themselves."""
        self._over.set()
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):  # it has nothing more to give, and is ended below
                process.wait(_GRACE)

    def end(self) -> None:
        """Ends whoever is left."""
        self._over.set()
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()

    def _reason(self, rank: int, status: int) -> Reason:
        written = _reason_file(self._shared, rank)
        if written.is_file():
            return Reason(**read_json(written))
        who = f"Process {rank + 1} of the {len(self._processes) + 1} that train the cell together"
        if status >= 0:
            return Reason("exception", f"{who} ended with status {status}.", f"The whole log: {self._folder.log}")
        return Reason(
            "killed", f"{who} was killed by {signal_name(status)}.", "The cell continues from its last checkpoint."
        )

    def _watch(self) -> None:
        while not self._over.wait(_POLL):
            if (reason := self.failure()) is not None and not self._over.wait(_COLLECTIVE_TIMEOUT):
                with suppress(OSError):  # without it the parent still sees the status
                    self._folder.fail(reason.text, reason.hint, "", reason.kind, self._accumulate)
                os._exit(FAILED)


def main(arguments: list[str] | None = None) -> int:
    """Trains with the main process; returns the exit status."""
    parser = argparse.ArgumentParser(description="Trains a cell together with its worker.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--rendezvous-file", type=Path, required=True)
    for name in ("--parent", "--rank", "--ranks", "--threads", "--accumulate"):
        parser.add_argument(name, type=int, required=True)
    given = parser.parse_args(arguments)

    # Slurm signals every process of a task. This one neither dies of it nor keeps it to itself: all agree after the
    # step, and the main process writes the checkpoint.
    should_stop = StopRequest(given.parent)  # which may have died while torch was loaded
    threading.Thread(target=_end_with_main, args=(should_stop,), name="main", daemon=True).start()

    torch.set_num_threads(given.threads)
    device = torch.device(f"cuda:{given.rank}" if given.device == "cuda" else given.device)
    folder = CellFolder(given.folder)
    try:
        with join(given.rank, given.ranks, device, given.rendezvous_file) as ranks:
            train_rank(folder.spec(), folder, given.cache, device, ranks, given.accumulate, should_stop)
    except Interrupted:  # the main process wrote the checkpoint
        pass
    except BaseException as error:
        print(without_secrets(traceback.format_exc()), file=sys.stderr, flush=True)  # into the log
        write_json(_reason_file(given.rendezvous_file.parent, given.rank), asdict(explain(error, folder.log)))
        return FAILED
    _done_file(given.rendezvous_file.parent, given.rank).touch()
    return 0


def _end_with_main(stop_request: StopRequest) -> None:
    """A collective whose main process is gone may never return."""
    while not stop_request.orphaned:
        time.sleep(_POLL)
    os._exit(STOPPED)


def _done_file(shared: Path, rank: int) -> Path:
    """Returns the file that tells an end in order from an `exit` of somebody's code."""
    return shared / f"done-{rank}"


def _reason_file(shared: Path, rank: int) -> Path:
    return shared / f"failure-{rank}.json"


if __name__ == "__main__":
    sys.exit(main())
