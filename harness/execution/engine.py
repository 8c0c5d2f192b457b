"""What an engine is: it runs cells somewhere and calls back while they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from harness.results.store import CellFolder

__all__ = ["Engine"]


class Engine(Protocol):
    """Runs cells, each in a process of its own.

    Whatever happens to a cell, it leaves a result or a failure in its folder, and the others go on.
    """

    def run(self, cells: Sequence[CellFolder], cache: Path, watch: Callable[[], None]) -> None:
        """Runs all cells and returns when the last one has ended.

        Args:
            cells: Their folders, each with a ``cell.json``.
            cache: Folder of prepared data.
            watch: Called about twice a second.

        Raises:
            KeyboardInterrupt: The user stopped; every running cell has left a checkpoint.
        """
        ...

    def describe(self) -> str:
        """Returns where cells run, in words."""
        ...
