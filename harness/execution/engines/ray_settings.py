"""Settings of the Ray engine."""

from typing import Annotated

from pydantic import Field

from harness.execution.engines.kind import Cpu, EngineKind, EngineSettings, GpusPerCell, Threads, Workers


class RaySettings(EngineSettings):
    """Which Ray cluster, and what a cell asks it for."""

    workers: Workers = None
    threads: Threads = None
    cpu: Cpu = False
    gpus_per_cell: GpusPerCell = 1
    address: Annotated[
        str | None, Field(description="Ray cluster: auto or HOST:PORT; default: a small one on this machine.")
    ] = None


RAY = EngineKind(
    name="ray",
    summary="A Ray cluster.",
    settings=RaySettings,
    factory="harness.execution.engines.ray:open_engine",
)
