"""The process of one cell: ``python -m harness.execution.workers.worker CELL_FOLDER``.

It ends with status 0 (done), 3 (failed; ``failure.json`` says why), 4 (another process computes the cell), 5 (failed,
and the disk is so full that not even that could be written) or 130 (stopped; a checkpoint is kept).
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from pathlib import Path

from harness.execution.workers.exit_status import BUSY, DONE, FAILED, STOPPED, UNWRITTEN
from harness.execution.workers.failures import explain
from harness.execution.workers.stop_request import StopRequest
from harness.redaction import without_secrets
from harness.results.lease import Held
from harness.results.store import CellFolder

__all__ = ["main"]

#: Seconds to wait for the cell's lease: the worker of a run that was killed ends with its step.
_LEASE_WAIT = 5


def main(arguments: list[str] | None = None, parent: int | None = None) -> int:
    """Runs the cell in a folder; returns the exit status.

    Args:
        arguments: Of the command line; default: this process's own.
        parent: Number of the process that started this one; default: what the command line says, else whose child it
            is now.
    """
    parser = argparse.ArgumentParser(description="Runs one cell.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--device")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--accumulate", type=int, default=1, help="Parts a training batch is cut into.")
    parser.add_argument("--ranks", type=int, default=1, help="Processes that train the cell together.")
    parser.add_argument("--trial", action="store_true", help="Train and validate only; test cases stay closed.")
    parser.add_argument("--until", type=int, help="As --trial, and only until this epoch.")
    parser.add_argument("--parent", type=int, help="Number of the process that started this one.")
    given = parser.parse_args(arguments)

    should_stop = StopRequest(parent or given.parent)  # before the slow imports, so that an early signal is not lost

    import torch

    from harness.study.cell import CellSpec
    from harness.training.loop import Interrupted

    if given.threads is not None:
        torch.set_num_threads(given.threads)
    folder = CellFolder(given.folder)
    try:
        with folder.lease(_LEASE_WAIT) as lease:
            if folder.status() == "done":  # by another run, since this one was planned
                return DONE
            folder.clear_failure()
            try:
                from harness.execution.cell.run import run_cell, run_rung, run_trial

                spec = CellSpec.from_json(folder.spec())
                place = (given.device, lambda: should_stop() or lease.lost)
                if given.until is not None:
                    run_rung(spec, folder, given.cache, given.until, *place, accumulate=given.accumulate)
                elif given.trial:
                    run_trial(spec, folder, given.cache, *place, accumulate=given.accumulate)
                else:
                    run_cell(spec, folder, given.cache, *place, ranks=given.ranks, accumulate=given.accumulate)
            except Interrupted:
                return STOPPED
            except Exception as error:  # failure is data: whatever happens here must reach the table
                return _write_down(folder, error, given.accumulate)
    except Held as error:
        print(error.message, file=sys.stderr)
        return BUSY
    except OSError as error:  # the claim itself could not be written
        return _write_down(folder, error, given.accumulate)
    return DONE


def _write_down(folder: CellFolder, error: Exception, accumulate: int) -> int:
    """Writes down why the cell failed; returns the exit status."""
    trace = "".join(traceback.format_exception(error))
    try:
        print(without_secrets(trace), file=sys.stderr, flush=True)  # into the log
    except OSError:  # the log lies on the disk that is full: say no more
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
    reason = explain(error, folder.log)
    try:
        folder.fail(reason.text, reason.hint, trace, reason.kind, accumulate)
    except OSError:
        return UNWRITTEN
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
