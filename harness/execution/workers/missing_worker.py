"""Tests one cell with fewer modalities: ``python -m harness.execution.workers.missing_worker CELL_FOLDER``.

It ends with the statuses of :mod:`harness.execution.workers.exit_status`. Each subset is written when it is done, so
that nothing but the subset under way is lost when the process ends.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from harness.execution.workers.exit_status import BUSY, DONE, FAILED, STOPPED

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Evaluates a cell; returns the exit status."""
    parser = argparse.ArgumentParser(description="Tests one cell with fewer modalities.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--device")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--fill", choices=("zeros", "mean", "token"))
    parser.add_argument("--subsets", default="all")
    parser.add_argument("--parent", type=int, help="Number of the process that started this one.")
    given = parser.parse_args(arguments)

    parent = given.parent or os.getppid()

    def stop(*_: object) -> NoReturn:
        sys.exit(STOPPED)

    def should_stop() -> None:
        if os.getppid() != parent:  # whoever started this process is gone
            stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)

    import torch

    from harness.execution.cell.missing_modalities import evaluate_subsets
    from harness.execution.workers.failures import explain
    from harness.redaction import without_secrets
    from harness.results.lease import Held
    from harness.results.store import CellFolder
    from harness.results.subsets import CellSubsets, choose_subsets
    from harness.study.cell import CellSpec
    from harness.training.device import choose_device

    if given.threads is not None:
        torch.set_num_threads(given.threads)
    cell = CellFolder(given.folder)
    store = CellSubsets(cell)
    try:
        with store.lease(wait=5):
            store.clear_failure()
            try:
                modalities = CellSpec.from_json(cell.spec()).facts().modalities
                wanted = choose_subsets(modalities, given.subsets)
                evaluate_subsets(cell, wanted, given.fill, given.cache, choose_device(given.device), should_stop)
            except Exception as error:  # failure is data: whatever happens here must reach the table
                print(without_secrets(traceback.format_exc()), file=sys.stderr)  # into the log
                reason = explain(error, store.log)
                store.fail(reason.text, reason.hint)
                return FAILED
    except Held as error:
        print(error.message, file=sys.stderr)
        return BUSY
    return DONE


if __name__ == "__main__":
    sys.exit(main())
