"""What an engine is: it runs attempts at cells somewhere, each in a process of its own.

An engine only starts, watches and stops. What to start next, what a failure means and who shares the work is decided
once for all of them in :mod:`harness.execution.schedule`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from harness.results.store import CellFolder

__all__ = ["Attempt", "Ending", "Engine", "Job"]


@dataclass(frozen=True)
class Attempt:
    """One try at a cell.

    Attributes:
        cell: Its folder, on a file system that all machines see.
        cache: Folder of prepared data.
        timeout: Seconds it may take; None for any.
        accumulate: Parts each training batch is cut into, where the whole did not fit in GPU memory.
        trial: Train and validate only: test cases stay closed (``harness tune``).
        until: As ``trial``, and only until this epoch; a later attempt goes on from there (``harness lead``).
    """

    cell: CellFolder
    cache: Path
    timeout: float | None = None
    accumulate: int = 1
    trial: bool = False
    until: int | None = None


@dataclass(frozen=True)
class Ending:
    """How an attempt ended.

    Attributes:
        state: ``done``; ``failed`` (the folder says why); ``stopped`` (asked to, a checkpoint is kept); ``busy``
            (somebody else computes the cell); ``lost`` (nobody knows: the machine is gone).
        detail: What is known of a loss, or of a failure that could not be written down.
    """

    state: Literal["done", "failed", "stopped", "busy", "lost"]
    detail: str = ""


class Job(Protocol):
    """An attempt under way."""

    @property
    def attempt(self) -> Attempt:
        """What is tried."""
        ...

    def poll(self) -> Ending | None:
        """Returns how it ended; None while it has not."""
        ...

    def stop(self) -> None:
        """Asks it to write a checkpoint and end; returns at once."""
        ...

    def kill(self) -> None:
        """Ends it now."""
        ...


class Engine(Protocol):
    """Runs attempts somewhere."""

    @property
    def parallel(self) -> int:
        """How many run at a time, for the time to go."""
        ...

    def describe(self) -> str:
        """Returns where cells run, in words."""
        ...

    def room(self) -> int:
        """Returns how many attempts it might take now."""
        ...

    def submit(self, attempts: Sequence[Attempt]) -> Sequence[Job]:
        """Takes those of the attempts it has a place for now, not necessarily the first ones."""
        ...

    def close(self) -> None:
        """Lets go of what it holds; no job is under way."""
        ...
