"""Several small cells on one GPU, as many as fit by the memory that cells like them were measured to need."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.execution.costs.constants import ALLOCATOR_OVERHEAD, CUDA_GB, USABLE_MEMORY
from harness.execution.workers.process import Slot
from harness.results.store import CellFolder

#: Seconds nvidia-smi may take; with a sick GPU it never answers.
_PATIENCE = 30.0

#: More cells than this gain nothing: the GPU is busy.
_MOST = 8


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        name: As CUDA_VISIBLE_DEVICES names it.
        free_mb: Memory that nobody used when the run began.
    """

    name: str
    free_mb: float


def query_gpus(names: Sequence[str]) -> list[Gpu]:
    """Asks the driver for the free memory of GPUs.

    Raises:
        HarnessError: It cannot be asked.
    """
    command = ["nvidia-smi", "--query-gpu=index,uuid,memory.free,name", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        why = (error.stderr + error.stdout).strip() if isinstance(error, subprocess.CalledProcessError) else error
        text = f"--cells-per-gpu auto: nvidia-smi did not answer: {why}"
        raise HarnessError(text, hint="Give a number: --cells-per-gpu 2") from error
    return parse_gpus(done.stdout, names)


def parse_gpus(text: str, names: Sequence[str]) -> list[Gpu]:
    """Reads index, UUID, free MiB and model of each GPU; returns those named, by index or UUID.

    Raises:
        HarnessError: One is missing, or an index means one GPU here and another one to CUDA.
    """
    rows = [[field.strip() for field in line.split(",")] for line in text.strip().splitlines()]
    free = {key: float(memory) * 1.048576 for index, uuid, memory, _ in rows for key in (index, uuid)}
    if missing := [name for name in names if name not in free]:
        raise HarnessError(
            f"nvidia-smi does not know GPU {missing[0]}.",
            hint="Name GPUs by index or whole UUID in CUDA_VISIBLE_DEVICES, or give --cells-per-gpu a number.",
        )
    by_slot = os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    if len({row[3] for row in rows}) > 1 and not by_slot and any(name.isdigit() for name in names):
        raise HarnessError(
            "The GPUs here are of different models: CUDA counts them by speed, nvidia-smi by slot.",
            hint="Set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name GPUs by UUID in CUDA_VISIBLE_DEVICES.",
        )
    return [Gpu(name, free[name]) for name in names]


class MeasuredMemory:
    """What finished cells of a store needed on a GPU; cells that differ in fold and seed alone need the same.

    Args:
        results: The results folder.
    """

    def __init__(self, results: Path) -> None:
        self._peaks: dict[str, float] = {}
        for path in (results / "cells").glob("*"):
            self.learn(CellFolder(path))

    def learn(self, cell: CellFolder) -> None:
        """Takes in what a finished cell needed."""
        if cell.status() != "done":
            return
        summary = cell.summary()
        peak = summary.reserved_memory_mb or summary.peak_memory_mb  # the latter in earlier versions
        if summary.device.startswith("cpu") or peak is None:
            return
        key = _kind(cell)
        self._peaks[key] = max(peak, self._peaks.get(key, 0.0))

    def need(self, cell: CellFolder) -> float | None:
        """Returns the MB a cell needs, None where no cell like it was measured yet."""
        peak = self._peaks.get(_kind(cell))
        return None if peak is None else peak * ALLOCATOR_OVERHEAD + CUDA_GB * 1000


def _kind(cell: CellFolder) -> str:
    return json.dumps(cell.record().model_dump(include={"dataset", "model", "options", "protocol"}), sort_keys=True)


class SharedGpus:
    """Places on GPUs by memory. A cell whose need is unknown gets a GPU of its own; then it is known.

    Args:
        gpus: GPUs that cells share.
        memory: Measured needs of cells.
        threads: CPU threads a cell; None for an equal share.
        cores: CPU cores.
    """

    def __init__(self, gpus: Sequence[Gpu], memory: MeasuredMemory, threads: int | None, cores: int) -> None:
        self._gpus = tuple(gpus)
        self._memory = memory
        self._most = max(1, min(_MOST, cores // len(gpus)))
        self._threads = threads or max(1, cores // (len(gpus) * self._most))
        self._taken: dict[str, dict[str, float]] = {gpu.name: {} for gpu in gpus}

    @property
    def count(self) -> int:
        """Cells that can run at a time, at most."""
        return len(self._gpus) * self._most

    @property
    def on_gpus(self) -> bool:
        """Whether cells run on GPUs."""
        return True

    def take(self, cell: CellFolder) -> Slot | None:
        """Returns a slot on the GPU with the most memory left, where the cell fits."""
        need = self._memory.need(cell)
        for gpu in sorted(self._gpus, key=self._left, reverse=True):
            taken = self._taken[gpu.name]
            fits = not taken if need is None else len(taken) < self._most and need <= self._left(gpu)
            if fits or (not taken and need is not None):  # alone on a GPU it has whatever there is
                taken[cell.id] = gpu.free_mb if need is None else need
                return Slot("cuda:0", gpu.name, self._threads)
        return None

    def give_back(self, cell: CellFolder, slot: Slot) -> None:
        """Frees the memory and learns what the cell needed."""
        if slot.gpu is not None:
            del self._taken[slot.gpu][cell.id]
        self._memory.learn(cell)

    def describe(self) -> str:
        """Returns e.g. '2 GPUs, shared by measured memory, 4 threads a cell'."""
        count = len(self._gpus)
        threads = f"{self._threads} thread{'s' * (self._threads > 1)}"
        return f"{count} GPU{'s' * (count > 1)}, shared by measured memory, {threads} a cell"

    def _left(self, gpu: Gpu) -> float:
        return gpu.free_mb * USABLE_MEMORY - sum(self._taken[gpu.name].values())
