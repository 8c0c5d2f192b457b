"""What in a results folder may be removed without losing a number, and how much room it takes."""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.results.json_record import DamagedRecordError, UnreadableRecordError
from harness.results.store import CellFolder, Store
from harness.results.subsets import CellSubsets

#: Where cells of `harness tune` and of `harness lead` lie.
_OTHER_CELLS = ("tuning/*/*/cells/*", "lead/*/cells/*")


@dataclass(frozen=True)
class Removable:
    """Files and folders of one sort that may go.

    Attributes:
        what: In words.
        paths: Which.
        cells: The cell that a path belongs to, where it does to one.
    """

    what: str
    paths: tuple[Path, ...]
    cells: Mapping[Path, CellFolder] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(_size(path) for path in self.paths)

    def remove(self) -> int:
        """Removes them; returns how many stay, because somebody computes their cell by now."""
        return sum(not _remove(path, self.cells.get(path)) for path in self.paths)


def find_removable(store: Store, failed: bool = False, results: bool = False, damaged: bool = False) -> list[Removable]:
    """Returns what may go; cells that somebody computes now are left alone.

    Args:
        store: The results.
        failed: Also what failed cells left: log, checkpoints and reason.
        results: Also results of cells that no study asks for any more.
        damaged: Also results and records that are damaged; their cells are computed anew.

    Raises:
        DamagedRecordError: With ``results``, a study's record is damaged: nobody knows which cells it asks for.
    """
    cells = list(store.cells())
    states = {cell.id: cell.status() for cell in cells}
    idle = [cell for cell in cells if states[cell.id] != "running"]
    done = [cell for cell in idle if states[cell.id] == "done"]
    found = [
        _of_cells("checkpoints of cells that are done", ((path, cell) for cell in done for path in _checkpoints(cell))),
        _of_cells("what killed processes left half written", ((path, cell) for cell in idle for path in _halves(cell))),
    ]
    if failed:
        left = [cell for cell in idle if states[cell.id] == "failed"]
        paths = ((path, cell) for cell in left for path in (cell.work, cell.path / "failure.json") if path.exists())
        found.append(_of_cells(f"log, checkpoints and reason of {len(left)} failed cells", paths))
    if damaged:
        broken = [
            (damaged_part(damage), cell)
            for cell in idle
            for damage in _damages(cell)
            if not isinstance(damage, UnreadableRecordError)
        ]
        found.append(_of_cells("damaged results and records", broken))
    if results:
        wanted = {entry.cell for study in store.studies() for entry in study.manifest().cells}
        orphans = [(cell.path, cell) for cell in idle if cell.id not in wanted]
        found.append(_of_cells(f"RESULTS of {len(orphans)} cells that no study asks for", orphans))
    return [one for one in found if one.paths]


def find_damages(store: Store) -> list[DamagedRecordError]:
    """Returns what is wrong with the files of a store: of studies, of cells, and of those of tunings and races."""
    studies = (study.damage() for study in store.studies())
    others = (CellFolder(path) for pattern in _OTHER_CELLS for path in sorted(store.root.glob(pattern)))
    cells = (damage for cell in (*store.cells(), *others) for damage in _damages(cell))
    return [*(damage for damage in studies if damage is not None), *cells]


def _damages(cell: CellFolder) -> tuple[DamagedRecordError, ...]:
    """Returns what is wrong with a cell's files; those of a worker that writes them now are not looked at."""
    if cell.status() == "running":
        return ()
    return (*cell.damages(), *CellSubsets(cell).result_damages())


def damaged_part(damage: DamagedRecordError) -> Path:
    """Returns what must go with a damaged file: the folder that is whole or not at all, or the file alone."""
    folder = damage.path.parent
    whole = folder.name == "result" or folder.parent.name in ("subsets", "scores")
    return folder if whole else damage.path


def _of_cells(what: str, paths: Iterable[tuple[Path, CellFolder]]) -> Removable:
    cells = dict(paths)
    return Removable(what, tuple(cells), cells)


def _remove(path: Path, cell: CellFolder | None) -> bool:
    """Removes a file or folder, while nobody else may begin to compute its cell; returns whether it could."""
    lease = None if cell is None else cell.lease()
    if lease is not None and not lease.try_acquire():
        return False
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    finally:
        if lease is not None:
            lease.release()
    return True


def _checkpoints(cell: CellFolder) -> Iterator[Path]:
    yield from cell.work.glob("*.pt")
    if (cell.work / "external").is_dir():
        yield cell.work / "external"


def _halves(cell: CellFolder) -> Iterator[Path]:
    for folder in ("", "work", "leases", "rungs", "subsets", "result/scores"):
        yield from (cell.path / folder).glob(".*.tmp")


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file())
