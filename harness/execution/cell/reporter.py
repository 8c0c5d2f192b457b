"""Tells whoever watches how far a cell is, by small files."""

import math
import os
import platform
import resource
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from harness.execution.cell.problem import Trained
from harness.results.provenance import code_version, package_versions, utc_now
from harness.results.records import HistoryRow, Progress, Summary
from harness.results.store import CellFolder
from harness.study.cell import CellSpec
from harness.training.device import Precision, describe_device
from harness.training.loop import Epoch

_PROGRESS_EVERY = 0.5  # seconds between progress files


class Reporter:
    """Writes the progress of one cell, and its facts when it is done.

    Args:
        folder: The cell's folder.
        spec: The cell.
        accumulate: Parts each training batch is cut into.
    """

    def __init__(self, folder: CellFolder, spec: CellSpec, accumulate: int = 1) -> None:
        self._folder = folder
        self._training = spec.protocol.training
        self._start = spec.started_from()
        self._accumulate = accumulate
        self._values: dict[str, Any] = {
            "cell": spec.id,
            "pid": os.getpid(),
            "host": platform.node(),
            "phase": "starting",
            "started": utc_now(),
        }
        self._written = 0.0
        self._first: tuple[int, float] | None = None

    def say(self, phase: str) -> None:
        """Enters a phase."""
        self._values["phase"] = phase
        self._write()

    def begin(self, total: int) -> None:
        """Training begins."""
        self._values |= {"phase": "training", "total": total, "step": 0, "epochs": self._training.epochs}
        self._write()

    def on_step(self, step: int) -> None:
        """One more step is done."""
        now = time.monotonic()
        if self._first is None:
            self._first = (step, now)
        first, since = self._first
        self._values["step"] = step
        if step > first:
            self._values["seconds_per_step"] = (now - since) / (step - first)
        if now - self._written >= _PROGRESS_EVERY:
            self._write()

    def on_epoch(self, history: list[Epoch]) -> None:
        """One more epoch is done."""
        if history:
            self._values["history"] = tuple(_history_row(epoch) for epoch in history)
        self._write()

    def summarise(
        self,
        result: Path,
        trained: Trained,
        gflops: float,
        device: torch.device,
        started: str,
        began: float,
        energy_wh: float | None = None,
    ) -> None:
        """Writes the facts of the finished cell; energy only where this attempt trained it from its first step.

        Args:
            result: Folder of the result.
            trained: The trained network.
            gflops: Of one forward pass.
            device: Where it was trained.
            started: Begin of this attempt, UTC, ISO 8601.
            began: The same by :func:`time.monotonic`.
            energy_wh: What the GPU drew in this attempt.
        """
        precision = Precision.choose(device, self._training, spatial_dims=2)
        failures = tuple(self._folder.attempts())
        whole = self._first is None or self._first[0] <= 1
        energy = {"energy_wh": energy_wh} if energy_wh is not None and whole else {}
        Summary(
            cell=self._values["cell"],
            start=self._start,
            parameters=trained.parameters,
            gflops=gflops,
            steps=trained.history[-1].step if trained.history else 0,
            train_seconds=sum(epoch.seconds for epoch in trained.history),
            attempt_seconds=time.monotonic() - began,
            first_step_seconds=None if self._first is None else self._first[1] - began,
            device=describe_device(device),
            ranks=trained.ranks,
            step=trained.step,
            augmentation=trained.augmentation.where,
            not_on_gpu=trained.augmentation.obstacle,
            accumulate=self._accumulate,
            attempts=len(failures) + 1,
            failures=failures,
            determinism=self._training.determinism,
            precision=precision.name,
            compile=self._training.compile,
            commit=code_version(),
            packages=package_versions(),
            started=started,
            finished=utc_now(),
            **_peak_memory(device),
            **energy,
            **({"training_patterns": trained.patterns} if len(trained.patterns) > 1 else {}),
        ).write(result / "summary.json")

    def _write(self) -> None:
        self._written = time.monotonic()
        self._folder.write_progress(Progress(**self._values))


def _history_row(epoch: Epoch) -> HistoryRow:
    return HistoryRow(**{key: None if math.isnan(value) else value for key, value in asdict(epoch).items()})


def _peak_memory(device: torch.device) -> dict[str, float]:
    """Returns MB by key of the summary: of tensors and of PyTorch's allocator on CUDA, else of this process."""
    if device.type == "cuda":
        tensors, reserved = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
        return {"peak_memory_mb": tensors / 1e6, "reserved_memory_mb": reserved / 1e6}
    return {"peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}
