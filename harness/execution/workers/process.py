"""The process of one attempt: started, watched, stopped in order, and never gone without a word.

Whatever is tried and whichever engine runs it, on the machine where it runs this is how.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

from harness.execution.workers.attempt import Attempt, Ending
from harness.execution.workers.exit_status import (
    BUSY,
    FAILED,
    STOPPED,
    UNWRITTEN,
    out_of_memory_kills,
    signal_name,
)
from harness.execution.workers.failures import explain
from harness.execution.workers.fork_server import ForkedProcess, shared_fork_server
from harness.execution.workers.interpreter import PYTHON
from harness.import_probe import TRIED
from harness.redaction import without_tracking_variables

#: Seconds a stopped worker has to finish its step and write its checkpoint.
GRACE = 120.0

#: First and longest time between looks at a worker, in seconds.
_FIRST_POLL, _POLL = 0.01, 0.2

#: Environment of processes that train on a CPU: glibc gives every large block back to the system and faults it in anew
#: each step; with these it keeps it.
CPU_ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 36)}

_CONTINUES = "It continues from its last checkpoint when the study is run again."
_KEEPS = "Finished subsets are kept: run it again."


@dataclass(frozen=True)
class Slot:
    """Where one cell runs at a time.

    Attributes:
        device: Torch device inside the worker.
        gpu: Indices of the GPUs the worker sees; None on a CPU, and where somebody else has chosen them already.
        threads: CPU threads of each process of the worker.
        ranks: Processes that train the cell together, one a GPU.
    """

    device: str
    gpu: str | None
    threads: int
    ranks: int = 1


class FreshProcess(subprocess.Popen[bytes]):
    """A worker started from nothing, in a session of its own."""

    def kill(self) -> None:
        """Sends SIGKILL to it and to what it has started, which would hold the GPU and the log."""
        if self.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)

    def has_ended(self) -> bool:
        """Returns whether it has ended, and takes no note of it."""
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True


def start_worker(attempt: Attempt, slot: Slot, fork: bool) -> ForkedProcess | FreshProcess:
    """Starts the process of an attempt; it writes to the attempt's log."""
    if fork:
        environment = worker_environment(slot)
        arguments, log = worker_arguments(attempt, slot), attempt.folder.log
        log.touch()  # an error here is this process's to explain
        return shared_fork_server(environment).fork(arguments, environment, log)
    started_by = ["--parent", str(os.getpid())]  # it may take seconds until the worker looks
    worker = [*PYTHON, "-m", "harness.execution.workers.worker"]
    return start_fresh([*worker, *worker_arguments(attempt, slot), *started_by], attempt, slot)


def start_fresh(
    command: Sequence[str], attempt: Attempt, slot: Slot, process: type[FreshProcess] = FreshProcess
) -> FreshProcess:
    """Starts a command as the process of an attempt, in the environment of a worker."""
    with attempt.folder.log.open("ab") as log:
        # A session of its own: Ctrl-C reaches this process only, which then stops its workers in order.
        return process(  # our own module, no shell
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=worker_environment(slot),
            start_new_session=True,
        )


class WorkerProcess:
    """Starts the worker of an attempt.

    Args:
        attempt: Attempt to start.
        slot: Device and threads of the process.
        fork: Fork it from a server that has everything imported, instead of starting it from nothing; not where several
            processes train together.
        start: Starts the process; called with the attempt, the slot, and whether to fork.
        grace: Seconds that a stopped worker has for its checkpoint.
    """

    def __init__(
        self,
        attempt: Attempt,
        slot: Slot,
        fork: bool = False,
        start: Callable[[Attempt, Slot, bool], ForkedProcess | FreshProcess] = start_worker,
        grace: float = GRACE,
    ) -> None:
        self.attempt = attempt
        self.slot = slot
        self._grace = grace
        self._started = time.monotonic()
        self._stopped: float | None = None
        self._timed_out = False
        self._kills = out_of_memory_kills()
        self._failures = attempt.folder.failures()
        self._process: ForkedProcess | FreshProcess | None = None
        self._refusal: OSError | None = None
        try:
            attempt.folder.reserve_disk_space()
            self._process = start(attempt, slot, fork and slot.ranks == 1)
        except OSError as error:  # a full disk, no more processes: this cell fails, the others go on
            self._refusal = error

    @property
    def end(self) -> Connection | None:
        """Can be read once a forked worker, or another one of its server, has ended."""
        return self._process.end if isinstance(self._process, ForkedProcess) else None

    def poll(self) -> Ending | None:
        """Returns how the attempt ended, None while it has not; sees to its time limit."""
        if self._process is None:
            assert self._refusal is not None
            reason = explain(self._refusal, self.attempt.folder.log)
            return record_failure(self.attempt, reason.kind, reason.text, reason.hint)
        code = self._process.poll()
        if code is not None:
            return self._end(code)
        now, limit = time.monotonic(), self.attempt.timeout
        if limit is not None and self._stopped is None and now - self._started > limit:
            self._timed_out = True
            self.stop()
        if self._stopped is not None and now - self._stopped > self._grace:
            self.kill()
        return None

    def wait(self) -> Ending:
        """Returns how the attempt ended, when it has."""
        pause = _FIRST_POLL
        while (ending := self.poll()) is None:
            time.sleep(pause)
            pause = min(1.5 * pause, _POLL)
        return ending

    def stop(self) -> None:
        """Asks the worker to write a checkpoint and end."""
        if self._stopped is None:
            self._stopped = time.monotonic()
            if self._process is not None:
                self._process.terminate()

    def kill(self) -> None:
        """Ends the worker now."""
        if self._process is not None:
            self._process.kill()

    def has_ended(self) -> bool:
        """Returns whether the worker has ended; may be asked in a signal handler while :meth:`poll` runs."""
        return self._process is None or self._process.has_ended()

    def _end(self, code: int) -> Ending:
        folder = self.attempt.folder
        if self.attempt.is_done():
            return Ending("done")
        if code == BUSY:  # with this status a network may have ended the process as well; then nobody is at work
            text = f"It ended with status {code} and no result."
            return Ending("busy") if folder.owner() is not None else Ending("lost", text)
        if self._timed_out:
            limit = self.attempt.timeout or 0
            text = f"It was stopped after {limit:.0f} s (--timeout)."
            return record_failure(
                self.attempt, "timeout", text, _KEEPS if self.attempt.kind == "subsets" else _CONTINUES
            )
        if code == STOPPED:
            return Ending("stopped")
        if folder.failures() > self._failures or (code == FAILED and folder.failure() is not None):
            return Ending("failed")
        ended = f"The process ended with status {code} and no result"
        if code == UNWRITTEN:
            text = f"{ended}: the disk is full, and not even the reason of a failure could be written."
            return record_failure(self.attempt, "disk_full", text, "Make room (`harness clean`), then run again.")
        if code >= 0:  # also 0: something has called `exit`
            return record_failure(self.attempt, "exception", f"{ended}.", f"The whole log: {folder.log}")
        return record_failure(self.attempt, *self._explain_signal(signal_name(code)))

    def _explain_signal(self, name: str) -> tuple[str, str, str]:
        continues = _KEEPS if self.attempt.kind == "subsets" else _CONTINUES
        if name == "SIGKILL" and out_of_memory_kills() > self._kills:
            text = "The system killed the process because memory ran out (SIGKILL)."
            return "out_of_memory", text, f"Run fewer cells at once: --workers. {continues}"
        hint = f"Perhaps the machine ran out of memory (try --workers 1). {continues}"
        return "killed", f"The process was killed by {name}.", hint if name == "SIGKILL" else continues


def record_failure(attempt: Attempt, kind: str, text: str, hint: str) -> Ending:
    """Writes a failure down for an attempt that cannot any more; a disk that takes no more stops nobody."""
    try:
        attempt.folder.fail(text, hint, kind=kind, accumulate=attempt.accumulate)
    except OSError as error:
        return Ending("failed", f"{text} This could not be written down: {error}")
    return Ending("failed")


def worker_arguments(attempt: Attempt, slot: Slot) -> list[str]:
    """Returns the command line of the worker of an attempt, without its program."""
    arguments = [str(attempt.cell.path), "--cache", str(attempt.cache)]
    arguments += ["--device", slot.device, "--threads", str(slot.threads)]
    arguments += ["--accumulate", str(attempt.accumulate), "--ranks", str(slot.ranks)]
    arguments += ["--kind", attempt.kind, *(["--eager"] if attempt.eager else [])]
    if attempt.until is not None:
        arguments += ["--until", str(attempt.until)]
    if attempt.subsets:
        arguments += ["--subsets", json.dumps([subset.present for subset in attempt.subsets])]
        arguments += ["--fill", attempt.subsets[0].fill]
    return arguments


def worker_environment(slot: Slot) -> dict[str, str]:
    """Returns the environment of a process that computes in a slot."""
    environment = {
        **without_tracking_variables(os.environ),
        "OMP_NUM_THREADS": str(slot.threads),
        "MKL_NUM_THREADS": str(slot.threads),
        "OPENBLAS_NUM_THREADS": str(slot.threads),
        "PYTHONUNBUFFERED": "1",
        TRIED: "1",  # whatever an import does there, its end is seen and recorded
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # cuBLAS is deterministic only with it
    }
    if slot.gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = slot.gpu
    if slot.device == "cpu":
        environment |= CPU_ALLOCATOR
    return environment
