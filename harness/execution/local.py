"""The local engine: one process a cell on this machine, one GPU each, or one thread each on a CPU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.execution.worker import DONE, FAILED, STOPPED
from harness.results.store import CellFolder

__all__ = ["CPU_ALLOCATOR", "LocalEngine", "Slot", "cores", "detect_gpus", "plan_slots"]

_POLL = 0.4  # seconds
_GRACE = 120.0  # seconds a stopped worker has to finish its step and write its checkpoint

#: Environment of processes that train on a CPU: glibc gives every large block back to the system and faults it in anew
#: each step; with these it keeps it.
CPU_ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 36)}


@dataclass(frozen=True)
class Slot:
    """A place where one cell runs at a time.

    Attributes:
        device: Torch device inside the worker.
        gpu: Index of the GPU the worker sees; None on a CPU.
        threads: CPU threads of the worker.
    """

    device: str
    gpu: str | None
    threads: int


@dataclass
class _Running:
    cell: CellFolder
    slot: Slot
    process: subprocess.Popen[bytes]


def cores() -> int:
    """Returns the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def plan_slots(gpus: Sequence[str], workers: int | None, threads: int | None) -> list[Slot]:
    """Returns the places cells run in; threads times places never exceed the cores unless the caller says so.

    Args:
        gpus: Visible GPUs; empty for CPU only.
        workers: Number of places; default: one a GPU, or one a core.
        threads: Threads a place; default: one on a CPU, an equal share of the cores beside GPUs. On a CPU the number of
            threads affects the last bits of the numbers, so the default does not depend on how many cells there are.
    """
    count = workers or (len(gpus) if gpus else cores())
    if gpus:
        share = threads or max(1, cores() // count)
        return [Slot("cuda:0", gpus[index % len(gpus)], share) for index in range(count)]
    return [Slot("cpu", None, threads or 1) for _ in range(count)]


class LocalEngine:
    """Runs cells on this machine.

    Args:
        slots: The places they run in.
    """

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = list(slots)

    def describe(self) -> str:
        """Returns where cells run, in words."""
        count, first = len(self._slots), self._slots[0]
        kind = f"GPU{'s' if count > 1 else ''}" if first.gpu is not None else f"CPU worker{'s' if count > 1 else ''}"
        return f"{count} {kind}, {first.threads} thread{'s' if first.threads > 1 else ''} each"

    def run(self, cells: Sequence[CellFolder], cache: Path, watch: Callable[[], None]) -> None:
        """Runs all cells; see :class:`harness.execution.engine.Engine`."""
        waiting, free, running = list(cells), list(self._slots), list[_Running]()
        try:
            while waiting or running:
                while waiting and free:
                    running.append(_start(waiting.pop(0), free.pop(0), cache))
                watch()
                time.sleep(_POLL)
                for ended in [one for one in running if one.process.poll() is not None]:
                    running.remove(ended)
                    free.append(ended.slot)
                    _settle(ended)
            watch()
        except BaseException:
            _stop(running)
            raise


def _start(cell: CellFolder, slot: Slot, cache: Path) -> _Running:
    cell.work.mkdir(parents=True, exist_ok=True)
    cell.clear_failure()
    command = [sys.executable, "-m", "harness.execution.worker", str(cell.path), "--cache", str(cache)]
    command += ["--device", slot.device, "--threads", str(slot.threads)]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(slot.threads),
        "MKL_NUM_THREADS": str(slot.threads),
        "OPENBLAS_NUM_THREADS": str(slot.threads),
        "PYTHONUNBUFFERED": "1",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # cuBLAS is deterministic only with it
    }
    if slot.gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = slot.gpu
    else:
        environment |= CPU_ALLOCATOR
    with cell.log.open("ab") as log:
        # A session of its own: Ctrl-C reaches this process only, which then stops its workers in order.
        process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    return _Running(cell, slot, process)


def _settle(ended: _Running) -> None:
    """A worker that died without a word leaves a failure all the same."""
    code = ended.process.returncode
    if code in (DONE, STOPPED) or (ended.cell.path / "failure.json").is_file():
        return
    if code < 0:
        name = signal.Signals(-code).name
        hint = "It continues from its last checkpoint when the study is run again."
        if name == "SIGKILL":
            hint = f"Perhaps the machine ran out of memory (try --workers 1). {hint}"
        ended.cell.fail(f"The process was killed by {name}.", hint)
    else:
        what = "another process computes this cell" if code == FAILED else f"the process ended with status {code}"
        ended.cell.fail(f"No result: {what}.", f"The whole log: {ended.cell.log}")


def _stop(running: Sequence[_Running]) -> None:
    """Asks workers to write a checkpoint and end; ends those that do not."""
    for one in running:
        one.process.terminate()
    deadline = time.monotonic() + _GRACE
    for one in running:
        try:
            one.process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            one.process.kill()
            one.process.wait()


def detect_gpus() -> list[str]:
    """Returns the visible CUDA devices, by the names CUDA_VISIBLE_DEVICES understands."""
    import torch

    if not torch.cuda.is_available():
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible:
        return visible.split(",")[: torch.cuda.device_count()]
    return [str(index) for index in range(torch.cuda.device_count())]
