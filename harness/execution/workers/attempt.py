"""One attempt at a cell, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.results.store import CellFolder

__all__ = ["Attempt", "Ending"]


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
