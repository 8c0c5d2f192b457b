"""Settings of the Slurm engine, and what one task asks for: from a YAML file, single settings winning."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from harness.errors import HarnessError, did_you_mean
from harness.execution.engines.container import Container
from harness.execution.engines.kind import EngineKind, EngineSettings, Flag, Threads
from harness.files import read_text
from harness.settings import Settings, parse_key_values
from harness.yaml_text import parse

_Number = Annotated[int, Field(ge=-(10**12), le=10**12)]


class SlurmResources(Settings):
    """Resources of one cell, which is one task of a job array."""

    time: int = Field(
        1440,
        ge=1,
        le=10_000_000,
        description="Minutes, or HH:MM:SS or D-HH:MM:SS, as sbatch reads it; then it is requeued.",
    )
    gpus: int = Field(1, ge=0, le=1024, description="GPUs a task.")
    cpus: int = Field(8, ge=1, le=65536, description="CPU cores a task.")
    memory_gb: float = Field(32, gt=0, le=1e6, description="Memory a task.")
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    parallel: int = Field(64, ge=1, le=100_000, description="Tasks of an array that run at a time.")
    requeues: int = Field(20, ge=0, le=100_000, description="How often a cell that reached its time limit goes on.")
    signal_seconds: int = Field(
        300, ge=30, le=86_400, description="Time before the limit at which the checkpoint is written."
    )
    setup: tuple[str, ...] = Field((), description="Shell lines before the cell starts, e.g. module load cuda.")
    container: Container | None = Field(None, description="Image that the cells run in; alone, or with its settings.")
    sbatch: dict[str, str | _Number | bool] = Field({}, description="Any other options of sbatch.")
    cluster: Literal["slurm", "local", "debug"] = Field(
        "slurm", description="submitit's executor; others are for tests."
    )

    @field_validator("time", mode="before")
    @classmethod
    def _minutes(cls, value: Any) -> Any:
        """Accepts what sbatch does: M, M:S, H:M:S, D-H, D-H:M and D-H:M:S. A minute that was begun counts."""
        found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d{1,2}))?(?::(\d{1,2}))?", str(value))
        if found is None:
            return value
        days, first, second, third = (None if part is None else int(part) for part in found.groups())
        if days is None and third is None:
            hours, minutes, seconds = 0, first or 0, second or 0
        else:
            hours, minutes, seconds = first or 0, second or 0, third or 0
        return (days or 0) * 1440 + hours * 60 + minutes + (seconds > 0)

    @classmethod
    def load(cls, path: Path | None, given: Sequence[str] = ()) -> SlurmResources:
        """Reads a file and single settings, ``KEY=VALUE``; keys that are not ours go to sbatch as they are.

        Raises:
            HarnessError: Something is not understood.
        """
        values: dict[str, Any] = {}
        if path is not None:
            try:
                # YAML would read 12:00:00 as a number to base 60
                text = re.sub(r"(?m)^time:[ ]*([\d:-]+)", r'time: "\1"', read_text(path))
            except (OSError, ValueError) as error:
                raise HarnessError(f"{path} cannot be read: {error}", hint="It must be a YAML file.") from error
            values = parse(text, str(path))[0] or {}
            if not isinstance(values, dict):
                raise HarnessError(f"{path} holds no settings.", hint="Write lines like `partition: gpu`.")
            if unknown := set(values) - set(cls.model_fields):
                near = did_you_mean(min(unknown), cls.model_fields)
                hint = f"{near} Other options of sbatch belong under `sbatch:`."
                raise HarnessError(f"{path}: unknown setting '{min(unknown)}'.", hint=hint)
        more = dict(values.get("sbatch") or {})
        for key, value in parse_key_values(given, "--sbatch", "partition=gpu").items():
            if key in cls.model_fields and key not in {"setup", "sbatch"}:
                values[key] = value
            else:
                more[key] = parse(value, f"--sbatch {key}={value}")[0] if value else True
        try:
            return cls(**{**values, "sbatch": more})
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise HarnessError(f"Slurm setting {where}: {first['msg']}.", hint="See docs/engines.md.") from error


class SlurmSettings(EngineSettings):
    """Where the resources of a task are described."""

    threads: Threads = None
    slurm: Annotated[Path | None, Field(description="YAML file with the resources that Slurm is asked for.")] = None
    sbatch: Annotated[
        tuple[str, ...],
        Flag(metavar="KEY=VALUE"),
        Field(description="One Slurm setting; wins over the file; may be repeated."),
    ] = ()

    def resources(self) -> SlurmResources:
        """Reads what one task asks for.

        Raises:
            HarnessError: The file cannot be read, or something in it is not understood.
        """
        return SlurmResources.load(self.slurm, self.sbatch)


SLURM = EngineKind(
    name="slurm",
    summary="Job arrays of Slurm.",
    settings=SlurmSettings,
    factory="harness.execution.engines.slurm:open_engine",
    script="harness.execution.engines.slurm:dry_run",
    detaches=True,
    instead={
        "workers": "--sbatch parallel=N: tasks of an array that run at a time.",
        "cpu": "--sbatch gpus=0.",
        "gpus_per_cell": "--sbatch gpus=N.",
    },
)
