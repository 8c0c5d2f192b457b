"""Data of later cells are prepared while earlier ones train on GPUs: the cores have time then."""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, runtime_checkable

from harness.data.preparation.prepare import entry_folder
from harness.errors import HarnessError
from harness.execution.costs.data_size import split_of
from harness.execution.workers.interpreter import PYTHON
from harness.execution.workers.process import Slot, worker_environment
from harness.results.store import CellFolder
from harness.segmenters import SEGMENTERS
from harness.study.cell import CellSpec

#: Seconds that the process has to end; what it was writing is removed by whoever prepares the case next.
_PATIENCE = 10.0


@runtime_checkable
class PreparesAhead(Protocol):
    """An engine beside whose cells data may be prepared, on the same machine."""

    @property
    def preparers(self) -> int:
        """Processes that may do it; 0 where the cells need all cores."""


def ready_first(cells: Sequence[CellFolder], cache: Path) -> tuple[list[CellFolder], list[CellFolder]]:
    """Returns cells in the order in which they should start, and those whose data are best prepared beside them.

    A cell whose data are prepared waits for nobody's preparation. Of the others one is named for each kind of data;
    where no cell is ready, the first cell prepares its own.

    Args:
        cells: Cells to compute, in the study's order.
        cache: Folder of prepared data.
    """
    known: dict[str, bool] = {}
    ready: list[CellFolder] = []
    waiting: list[CellFolder] = []
    ahead: list[CellFolder] = []
    for cell in cells:
        kind, spec = _kind(cell)
        if kind not in known:
            known[kind] = spec is None or _is_prepared(spec, cache)
            if not known[kind]:
                ahead.append(cell)
        (ready if known[kind] else waiting).append(cell)
    return ready + waiting, ahead if ready else ahead[1:]


def _kind(cell: CellFolder) -> tuple[str, CellSpec | None]:
    """Returns what cells on the same prepared data have in common; no spec where nothing can be prepared beforehand."""
    with suppress(HarnessError, OSError, ValueError, KeyError):
        spec = cell.spec()
        if not SEGMENTERS.get(spec.model).runner:
            facts = spec.dataset, spec.root, spec.data, spec.split, spec.protocol.preparation, spec.protocol.patch_size
            return repr(facts), spec
    return "", None


def _is_prepared(spec: CellSpec, cache: Path) -> bool:
    """Returns whether all cases of a cell are in the cache; the cell looks whether they are intact."""
    try:
        dataset, split = spec.facts(), split_of(spec)
        reader = dataset.open(spec.root)
        folder = entry_folder(dataset, reader, spec.protocol.preparation, spec.protocol.patch_size, cache)
    except (HarnessError, OSError):  # the cell itself says what is wrong
        return True
    return all((folder / name).is_dir() for name in (*split.train, *split.val, *split.test))


@contextmanager
def preparing(
    cells: Sequence[CellFolder],
    cache: Path,
    processes: int,
    start: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen,
) -> Iterator[None]:
    """Prepares the data of cells, one after the other, in a process beside the block; it ends with the block.

    Cells share the work with it, case by case. What it cannot do, a cell finds and says.

    Args:
        cells: One cell for each kind of data.
        cache: Folder of prepared data.
        processes: Processes that prepare cases.
        start: Starts the process.
    """
    if not cells or not processes:
        yield
        return
    module = "harness.execution.workers.preparer"
    options = ["--cache", str(cache), "--processes", str(processes)]
    process = start(  # our own module, no shell
        [*PYTHON, "-m", module, *options, *(str(cell.path) for cell in cells)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**worker_environment(Slot("cpu", None, 1)), "CUDA_VISIBLE_DEVICES": ""},
        start_new_session=True,  # Ctrl-C reaches the run, which then ends this
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
