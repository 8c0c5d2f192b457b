"""What in a results folder may be removed without losing a number, and how much room it takes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.results.store import CellFolder, Store

__all__ = ["Removable", "find_removable"]


@dataclass(frozen=True)
class Removable:
    """Files and folders of one sort that may go.

    Attributes:
        what: In words.
        paths: Which.
    """

    what: str
    paths: tuple[Path, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(_size(path) for path in self.paths)

    def remove(self) -> None:
        """Removes them."""
        for path in self.paths:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def find_removable(store: Store, failed: bool = False, results: bool = False) -> list[Removable]:
    """Returns what may go; cells that somebody computes now are left alone.

    Args:
        store: The results.
        failed: Also what failed cells left: log, checkpoints and reason.
        results: Also results of cells that no study asks for any more.
    """
    cells = [CellFolder(path) for path in sorted((store.root / "cells").glob("*")) if path.is_dir()]
    states = {cell.id: cell.status() for cell in cells}
    idle = [cell for cell in cells if states[cell.id] != "running"]
    done = [cell for cell in idle if states[cell.id] == "done"]
    found = [
        Removable("checkpoints of cells that are done", tuple(path for cell in done for path in _checkpoints(cell))),
        Removable("what killed processes left half written", tuple(path for cell in idle for path in _halves(cell))),
    ]
    if failed:
        left = [cell for cell in idle if states[cell.id] == "failed"]
        paths = [path for cell in left for path in (cell.work, cell.path / "failure.json") if path.exists()]
        found.append(Removable(f"log, checkpoints and reason of {len(left)} failed cells", tuple(paths)))
    if results:
        wanted = {entry["cell"] for study in store.studies() for entry in study.manifest()["cells"]}
        orphans = tuple(cell.path for cell in idle if cell.id not in wanted)
        found.append(Removable(f"RESULTS of {len(orphans)} cells that no study asks for", orphans))
    return [one for one in found if one.paths]


def _checkpoints(cell: CellFolder) -> Iterator[Path]:
    yield from cell.work.glob("*.pt")
    if (cell.work / "external").is_dir():
        yield cell.work / "external"


def _halves(cell: CellFolder) -> Iterator[Path]:
    yield from cell.path.glob(".*.tmp")
    yield from cell.work.glob(".*.tmp")
    yield from (cell.path / "subsets").glob(".*.tmp")


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file())
