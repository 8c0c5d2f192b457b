"""The process that prepares data beside cells: ``python -m harness.execution.workers.preparer CELL_FOLDER ...``."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

from harness.data.preparation.prepare import prepare
from harness.errors import HarnessError
from harness.execution.cell.problem import open_problem
from harness.results.store import CellFolder


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepares the cases of cells, in order; what fails is left to the cell, which says why."""
    parser = argparse.ArgumentParser(description="Prepares data.")
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=0)
    given = parser.parse_args(arguments)
    parent = os.getppid()

    def progress(done: int, total: int) -> None:
        del done, total
        if os.getppid() != parent:
            sys.exit(0)  # the run was killed

    for folder in given.folders:
        try:
            _prepare(CellFolder(folder), given.cache, given.processes, progress)
        except (HarnessError, OSError, ValueError) as error:
            print(f"{folder.name}: {error}", file=sys.stderr)
    return 0


def _prepare(cell: CellFolder, cache: Path, processes: int, progress: Callable[[int, int], None]) -> None:
    """Prepares what a cell reads.

    Raises:
        HarnessError: The data are not what they were, or a case cannot be read or written.
    """
    problem = open_problem(cell.spec())
    names = list(chain(problem.split.train, problem.split.val, problem.split.test))
    protocol = problem.spec.protocol
    how = protocol.preparation, protocol.patch_size
    prepare(problem.dataset, problem.reader, names, *how, cache, progress, processes)


if __name__ == "__main__":
    os.nice(10)  # cells that train come first
    sys.exit(main())
