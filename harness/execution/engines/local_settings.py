"""Settings of the local engine."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, model_validator

from harness.errors import HarnessError
from harness.execution.engines.kind import Cpu, EngineKind, EngineSettings, Flag, GpusPerCell, Threads, Workers


class LocalSettings(EngineSettings):
    """Where cells run on this machine."""

    workers: Workers = None
    threads: Threads = None
    cpu: Cpu = False
    cells_per_gpu: Annotated[
        str,
        Flag(metavar="N|auto"),
        Field(description="Cells that share a GPU; auto: as many as fit, by the memory measured so far."),
    ] = "1"
    gpus_per_cell: GpusPerCell = 1

    @property
    def cells_sharing(self) -> int | None:
        """How many cells share a GPU; None for as many as fit."""
        return None if self.cells_per_gpu == "auto" else int(self.cells_per_gpu)

    @model_validator(mode="after")
    def _check(self) -> LocalSettings:
        if re.fullmatch(r"auto|[1-9]\d{0,3}", self.cells_per_gpu, re.ASCII) is None:
            text = f"--cells-per-gpu {self.cells_per_gpu}: neither a number nor auto."
            raise HarnessError(text, hint="Give auto, or 1 to 9999.")
        if self.cells_sharing != 1 and (self.gpus_per_cell > 1 or self.workers is not None):
            other = "--gpus-per-cell" if self.gpus_per_cell > 1 else "--workers"
            raise HarnessError(f"--cells-per-gpu and {other} contradict each other.", hint="Give one of them.")
        return self


LOCAL = EngineKind(
    name="local",
    summary="Processes on this machine.",
    settings=LocalSettings,
    factory="harness.execution.engines.local:open_engine",
)
