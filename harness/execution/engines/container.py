"""The container that the cells of a Slurm task run in: its settings, and the command that starts one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from harness.errors import HarnessError
from harness.settings import Settings

#: Options that hide from a cell what it needs: variables that the harness sets, and the processes of the machine.
_REFUSED = {"--cleanenv", "-e", "--containall", "-C", "--pid", "-p"}

#: Begins the names of the variables that say where a dataset lies.
_DATA = "HARNESS_DATA_"


class Container(Settings):
    """An image of Apptainer, or of Singularity, which has the same command line."""

    image: str = Field(min_length=1, description="File (.sif), folder, or address (docker://...) of the image.")
    runtime: Literal["apptainer", "singularity"] = Field("apptainer", description="Program that starts it.")
    bind: tuple[str, ...] = Field((), description="More folders that the cells see, as --bind takes them.")
    options: tuple[str, ...] = Field((), description="Any other options of `apptainer exec`.")
    python: str = Field("python3", min_length=1, description="Python of the image that has the harness.")

    @model_validator(mode="before")
    @classmethod
    def _from_image(cls, value: Any) -> Any:
        """Accepts the image alone."""
        return {"image": value} if isinstance(value, str) else value

    @field_validator("options")
    @classmethod
    def _hide_nothing(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if hiding := _REFUSED.intersection(value):
            raise ValueError(f"{min(hiding)} hides variables or processes that the cells need")
        return value

    def command(self, folders: Sequence[Path], gpu: bool) -> list[str]:
        """Returns what stands before the module that Python runs.

        Args:
            folders: Absolute folders that the cells read and write.
            gpu: Whether they use NVIDIA GPUs.

        Raises:
            HarnessError: A folder has a name that ``--bind`` would take apart.
        """
        for folder in folders:
            if any(character in str(folder) for character in ",:"):
                raise HarnessError(
                    f"{folder} cannot be seen in a container: --bind takes names apart at ',' and ':'.",
                    hint="Rename the folder, or run the study from another one.",
                )
        binds = [word for place in (*folders, *map(_expanded, self.bind)) for word in ("--bind", str(place))]
        image = self.image if "://" in self.image else str(_expanded(self.image).resolve())
        gpus = ["--nv"] if gpu else []
        # -P: no module of the working folder; -s: none of the home folder, which is the host's
        return [self.runtime, "exec", *gpus, *binds, *self.options, image, self.python, "-P", "-s"]

    def check(self) -> None:
        """Raises if the image is a file that does not exist.

        Raises:
            HarnessError: There is no such file.
        """
        if "://" not in self.image and not _expanded(self.image).exists():
            raise HarnessError(
                f"There is no image {self.image}.", hint="Build it (docs/containers.md), or correct `container:`."
            )


def _expanded(path: str) -> Path:
    """Returns a path of a settings file as a shell reads it."""
    return Path(os.path.expandvars(path)).expanduser()


def folders_to_bind(*folders: Path) -> list[Path]:
    """Returns the folders that cells need, with those of data that variables name; none lies within another."""
    data = (Path(value) for name, value in os.environ.items() if name.startswith(_DATA) and Path(value).is_dir())
    needed = sorted({folder.resolve() for folder in (*folders, *data)})
    return [folder for folder in needed if not any(other in folder.parents for other in needed)]
