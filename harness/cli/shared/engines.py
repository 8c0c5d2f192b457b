"""The options that say where cells run and what to do about failures, shared by the verbs that run cells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.errors import HarnessError

if TYPE_CHECKING:
    from rich.console import Console

    from harness.execution.engines.engine import Engine
    from harness.execution.engines.slurm_settings import SlurmSettings
    from harness.execution.schedule import Policy

__all__ = [
    "AddressOption",
    "CellsPerGpuOption",
    "CpuOption",
    "EngineOption",
    "FailFastOption",
    "GpusPerCellOption",
    "MlflowOption",
    "Place",
    "RetriesOption",
    "SbatchOption",
    "SlurmOption",
    "ThreadsOption",
    "TimeoutOption",
    "WorkersOption",
    "make_policy",
]

EngineOption = Annotated[Literal["local", "ray", "slurm"], typer.Option("--engine", "-e", help="Where cells run.")]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", "-w", min=1, help="Cells at a time; default: one a GPU, or one a core.")
]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, help="CPU threads a cell; default: one, or an equal share beside GPUs.")
]
CpuOption = Annotated[bool, typer.Option("--cpu", help="Use no GPU.")]
CellsPerGpuOption = Annotated[
    str,
    typer.Option(metavar="N|auto", help="Cells that share a GPU; auto: as many as fit by the memory measured so far."),
]
GpusPerCellOption = Annotated[int, typer.Option(min=1, help="GPUs that train one cell together.")]
AddressOption = Annotated[
    str | None, typer.Option(help="Ray cluster: auto or HOST:PORT; default: a small one on this machine.")
]
SlurmOption = Annotated[Path | None, typer.Option(help="YAML file with what Slurm is asked for.")]
SbatchOption = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="One Slurm setting; wins.")]
RetriesOption = Annotated[int, typer.Option(min=0, help="Further attempts at a cell that crashed or timed out.")]
TimeoutOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Time an attempt at a cell may take, e.g. 90m or 2h.")
]
FailFastOption = Annotated[bool, typer.Option("--fail-fast", help="Stop everything at the first failure.")]
MlflowOption = Annotated[bool, typer.Option("--mlflow/--no-mlflow", help="Show the runs in MLflow.")]


def make_policy(retries: int, timeout: str | None, fail_fast: bool) -> Policy:
    """Returns what to do about failures."""
    from harness.cli.shared.formatting import parse_duration
    from harness.execution.schedule import Policy

    return Policy(retries, None if timeout is None else parse_duration(timeout), fail_fast)


@dataclass(frozen=True)
class Place:
    """Where cells run, as asked for on the command line."""

    engine: str
    workers: int | None
    threads: int | None
    cpu: bool
    cells_per_gpu: str
    gpus_per_cell: int
    address: str | None
    slurm: Path | None
    sbatch: tuple[str, ...]

    def open(self, console: Console, results: Path, name: str) -> Engine:
        """Returns the engine.

        Args:
            console: Where to say what was found.
            results: The results folder.
            name: Of the study.

        Raises:
            HarnessError: It is not installed or cannot be reached, or options contradict each other.
        """
        self.check()
        if self.engine == "ray":
            from harness.execution.engines.ray import RayEngine

            return RayEngine(self.address, self.threads or 1, 0 if self.cpu else self.gpus_per_cell, self.workers)
        if self.engine == "slurm":
            from harness.execution.engines.slurm import SlurmEngine

            return SlurmEngine(self.slurm_settings(), results.resolve() / "slurm" / name, name, self.threads)
        return self._open_local(console, results)

    def slurm_settings(self) -> SlurmSettings:
        """Returns what Slurm is asked for."""
        from harness.execution.engines.slurm_settings import SlurmSettings

        return SlurmSettings.load(self.slurm, self.sbatch)

    def check(self) -> None:
        """Refuses options that contradict each other, or that the engine would not heed.

        Raises:
            HarnessError: There are such.
        """
        only: dict[str, dict[str, object]] = {
            "ray": {"--address": self.address},
            "slurm": {"--slurm": self.slurm, "--sbatch": self.sbatch},
            "local": {"--cells-per-gpu": self.cells_per_gpu if self.cells_per_gpu != "1" else None},
        }
        for engine, options in only.items():
            given = [name for name, value in options.items() if value]
            if given and engine != self.engine:
                raise HarnessError(f"{given[0]} belongs to --engine {engine}.", hint=f"Add --engine {engine}.")
        unheeded = {
            "--workers": (self.workers is not None, "--sbatch parallel=N: tasks of an array that run at a time."),
            "--cpu": (self.cpu, "--sbatch gpus=0."),
            "--gpus-per-cell": (self.gpus_per_cell > 1, "--sbatch gpus=N."),
        }
        for name, (is_given, instead) in unheeded.items():
            if is_given and self.engine == "slurm":
                raise HarnessError(f"{name} says nothing to Slurm.", hint=f"Instead: {instead}")
        if self._shares() != 1 and (self.gpus_per_cell > 1 or self.workers is not None):
            other = "--gpus-per-cell" if self.gpus_per_cell > 1 else "--workers"
            raise HarnessError(f"--cells-per-gpu and {other} contradict each other.", hint="Give one of them.")

    def _open_local(self, console: Console, results: Path) -> Engine:
        from harness.cores import cores
        from harness.execution.engines.gpu_sharing import MeasuredMemory, SharedGpus, query_gpus
        from harness.execution.engines.local import FixedPlaces, LocalEngine, detect_gpus, plan_slots

        gpus = [] if self.cpu else detect_gpus()
        if not gpus:
            console.print("No CUDA device is used." if self.cpu else "No CUDA device was found: running on the CPU.")
        if self.gpus_per_cell > 1 and len(gpus) < self.gpus_per_cell:
            raise HarnessError(
                f"--gpus-per-cell {self.gpus_per_cell}: there are {len(gpus)} GPUs here.",
                hint="Ask for fewer, or use --engine slurm or ray.",
            )
        if gpus and self.cells_per_gpu == "auto":
            return LocalEngine(SharedGpus(query_gpus(gpus), MeasuredMemory(results), self.threads, cores()))
        shares = self._shares() or 1
        workers = self.workers or (len(gpus) * shares if gpus and shares > 1 else None)
        slots = plan_slots(gpus, workers, self.threads, self.gpus_per_cell)
        if (wanted := sum(slot.threads * slot.ranks for slot in slots)) > cores():
            console.print(f"[yellow]{wanted} threads on {cores()} cores:[/] they will slow each other down.")
        return LocalEngine(FixedPlaces(slots))

    def _shares(self) -> int | None:
        """Returns how many cells share a GPU, None for as many as fit."""
        if self.cells_per_gpu == "auto":
            return None
        if not self.cells_per_gpu.isdigit() or self.cells_per_gpu == "0":
            raise HarnessError(f"--cells-per-gpu {self.cells_per_gpu}: neither a number nor auto.", hint="Try auto.")
        return int(self.cells_per_gpu)
