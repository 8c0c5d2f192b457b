"""The local engine: one process per cell on this machine, with a GPU, a share of one, or a thread of the CPU."""

import os
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

from harness.cores import cores
from harness.errors import HarnessError
from harness.execution.engines.engine import Job
from harness.execution.engines.gpu_sharing import MeasuredMemory, SharedGpus, query_gpus
from harness.execution.engines.kind import EngineContext
from harness.execution.engines.local_settings import LocalSettings
from harness.execution.workers.attempt import Attempt, Ending
from harness.execution.workers.process import Slot, WorkerProcess
from harness.gpu_driver import require_usable_gpus
from harness.results.store import CellFolder


def plan_slots(gpus: Sequence[str], workers: int | None, threads: int | None, gpus_per_cell: int = 1) -> list[Slot]:
    """Returns the places cells run in; threads times places never exceed the cores unless the caller says so.

    Args:
        gpus: Visible GPUs; empty for CPU only.
        workers: Number of slots; default: one per GPU, or one per core.
        threads: Threads per slot; default: one on a CPU, an equal share of the cores beside GPUs. On a CPU their number
            affects the last bits of the numbers, so the default does not depend on how many cells there are.
        gpus_per_cell: GPUs that train one cell together.
    """
    if not gpus:
        return [Slot("cpu", None, threads or 1) for _ in range(workers or cores())]
    groups = [
        ",".join(gpus[start : start + gpus_per_cell])
        for start in range(0, len(gpus) - gpus_per_cell + 1, gpus_per_cell)
    ]
    count = workers or len(groups)
    share = threads or max(1, cores() // (count * gpus_per_cell))
    return [Slot("cuda:0", groups[index % len(groups)], share, gpus_per_cell) for index in range(count)]


class FixedPlaces:
    """A number of places, each good for any cell.

    Args:
        slots: Slots of this machine.
    """

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._free = list(slots)
        self._all = tuple(slots)

    @property
    def count(self) -> int:
        """Cells that can run at a time."""
        return len(self._all)

    def take(self, cell: CellFolder) -> Slot | None:
        """Returns a free slot."""
        del cell
        return self._free.pop(0) if self._free else None

    @property
    def on_gpus(self) -> bool:
        """Whether cells run on GPUs."""
        return self._all[0].gpu is not None

    def give_back(self, cell: CellFolder, slot: Slot) -> None:
        """The slot is free again."""
        del cell
        self._free.append(slot)

    def describe(self) -> str:
        """Returns e.g. '2 CPU workers, 1 thread each'."""
        count, first = len(self._all), self._all[0]
        gpus = {slot.gpu for slot in self._all}
        kind = f"CPU worker{'s' * (count > 1)}"
        if first.gpu is not None:
            shared = len(gpus) < count
            kind = f"{'cells on ' + str(len(gpus)) + ' ' if shared else ''}GPU{'s' * (len(gpus) > 1)}"
        if first.ranks > 1:
            kind = f"group{'s' * (count > 1)} of {first.ranks} GPUs"
        return f"{count} {kind}, {first.threads} thread{'s' * (first.threads > 1)} each"


def _fork(attempt: Attempt, slot: Slot) -> WorkerProcess:
    return WorkerProcess(attempt, slot, fork=True)


class LocalEngine:
    """Runs cells on this machine.

    Args:
        places: Slots of this machine.
        start: Starts the process of an attempt in a slot.
    """

    def __init__(
        self,
        places: FixedPlaces | SharedGpus,
        start: Callable[[Attempt, Slot], WorkerProcess] = _fork,
    ) -> None:
        self._places = places
        self._start = start
        self._running = 0

    @property
    def parallel(self) -> int:
        """How many run at a time, at most."""
        return self._places.count

    def describe(self) -> str:
        """Returns where cells run, in words."""
        return self._places.describe()

    @property
    def preparers(self) -> int:
        """Processes that may prepare data beside the cells: a quarter of the cores beside GPUs, none on a CPU."""
        return max(1, cores() // 4) if self._places.on_gpus else 0

    def free_slots(self) -> int:
        """Returns how many places may be free."""
        return self._places.count - self._running

    def submit(self, attempts: Sequence[Attempt]) -> list[Job]:
        """Starts a process for each attempt there is a slot for."""
        started: list[Job] = []
        for attempt in attempts:
            slot = self._places.take(attempt.cell)
            if slot is not None:
                started.append(_LocalJob(attempt, self._start(attempt, slot), self))
                self._running += 1
        return started

    def close(self) -> None:
        """Holds nothing."""

    def ended(self, cell: CellFolder, slot: Slot) -> None:
        """Takes note that the slot of a job is free."""
        self._places.give_back(cell, slot)
        self._running -= 1


class _LocalJob:
    """A process on this machine and the slot it takes."""

    def __init__(self, attempt: Attempt, process: WorkerProcess, engine: LocalEngine) -> None:
        self.attempt = attempt
        self._process = process
        self._engine = engine

    @property
    def end(self) -> Connection | None:
        return self._process.end

    def poll(self) -> Ending | None:
        ending = self._process.poll()
        if ending is not None:
            self._engine.ended(self.attempt.cell, self._process.slot)
        return ending

    def stop(self) -> None:
        self._process.stop()

    def kill(self) -> None:
        self._process.kill()


def detect_gpus() -> list[str]:
    """Returns the visible CUDA devices, by the names CUDA_VISIBLE_DEVICES understands.

    A process sees one part of a divided GPU (MIG) at most, so CUDA counts one; but each cell is a process.

    Raises:
        UnusableGpuError: There is a GPU, and torch cannot use it.
    """
    import torch

    if not torch.cuda.is_available():
        require_usable_gpus()
        return []
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    if visible:
        return visible if all(name.startswith("MIG-") for name in visible) else visible[: torch.cuda.device_count()]
    return [str(index) for index in range(torch.cuda.device_count())]


def open_engine(settings: LocalSettings, context: EngineContext) -> LocalEngine:
    """Returns the engine for the GPUs and cores of this machine.

    Raises:
        HarnessError: There are fewer GPUs than a cell asks for, their memory cannot be measured, or torch cannot use
            them.
    """
    gpus = [] if settings.cpu else detect_gpus()
    if not gpus:
        context.say("No CUDA device is used." if settings.cpu else "No CUDA device was found: running on the CPU.")
    if settings.gpus_per_cell > 1 and len(gpus) < settings.gpus_per_cell:
        raise HarnessError(
            f"--gpus-per-cell {settings.gpus_per_cell}: this machine has {len(gpus)} GPUs.",
            hint="Ask for fewer, or use --engine slurm or ray.",
        )
    shares = settings.cells_sharing
    if gpus and shares is None:
        return LocalEngine(SharedGpus(query_gpus(gpus), MeasuredMemory(context.results), settings.threads, cores()))
    workers = settings.workers or (len(gpus) * shares if gpus and shares and shares > 1 else None)
    slots = plan_slots(gpus, workers, settings.threads, settings.gpus_per_cell)
    if (needed := sum(slot.threads * slot.ranks for slot in slots)) > cores():
        context.say(f"{needed} threads on {cores()} cores: they will slow each other down.")
    return LocalEngine(FixedPlaces(slots))
