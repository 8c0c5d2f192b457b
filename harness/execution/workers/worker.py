"""The process of one attempt at a cell: ``python -m harness.execution.workers.worker CELL_FOLDER``.

It ends with status 0 (done), 3 (failed; ``failure.json`` says why), 4 (another process computes the cell), 5 (failed,
and the disk is so full that not even that could be written) or 130 (stopped; a checkpoint is kept).
"""

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

from harness.execution.workers.attempt import Attempt, Kind
from harness.execution.workers.exit_status import BUSY, DONE, FAILED, STOPPED, UNWRITTEN
from harness.execution.workers.failures import explain
from harness.execution.workers.stop_request import StopRequest
from harness.redaction import without_secrets
from harness.results.lease import LeaseHeldError
from harness.results.store import CellFolder
from harness.results.subsets import Subset

#: Seconds to wait for the cell's lease: the worker of a run that was killed ends with its step.
_LEASE_WAIT = 5


def main(arguments: list[str] | None = None, parent: int | None = None) -> int:
    """Makes one attempt at the cell in a folder; returns the exit status.

    Args:
        arguments: Command line; default: this process's own.
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
    parser.add_argument("--kind", choices=get_args(Kind), default="train", help="What is computed of the cell.")
    parser.add_argument("--until", type=int, help="Epoch after which a rung ends.")
    parser.add_argument("--subsets", type=json.loads, default=[], help="Modalities of each subset, in JSON.")
    parser.add_argument("--fill", choices=("zeros", "mean", "token"), help="What stands for the other modalities.")
    parser.add_argument("--eager", action="store_true", help="Record nothing.")
    parser.add_argument("--parent", type=int, help="Number of the process that started this one.")
    given = parser.parse_args(arguments)

    should_stop = StopRequest(parent or given.parent)  # before the slow imports, so that an early signal is not lost

    import torch

    from harness.training.loop import Interrupted

    if given.threads is not None:
        torch.set_num_threads(given.threads)
    subsets = tuple(Subset(tuple(present), given.fill) for present in given.subsets)
    attempt = Attempt(
        CellFolder(given.folder), given.cache, None, given.accumulate, given.kind, given.until, subsets, given.eager
    )
    try:
        with attempt.folder.lease(_LEASE_WAIT) as lease:
            if attempt.is_done():  # by another run, since this one was planned
                return DONE
            attempt.folder.clear_failure()
            try:
                _run(attempt, given.device, given.ranks, lambda: should_stop() or lease.lost)
            except Interrupted:
                return STOPPED
            except BaseException as error:  # failure is data: whatever happens here, be it `exit`, must reach the table
                return _record(attempt, error)
    except LeaseHeldError as error:
        print(error.message, file=sys.stderr)
        return BUSY
    except OSError as error:  # the claim itself could not be written
        return _record(attempt, error)
    return DONE


def _run(attempt: Attempt, device: str | None, ranks: int, should_stop: Callable[[], bool]) -> None:
    """Computes what the attempt is for."""
    from harness.execution.cell.missing_modalities import evaluate_subsets
    from harness.execution.cell.run import run_cell, run_rung, run_trial
    from harness.execution.workers.distributed import launch_ranks
    from harness.training.device import choose_device
    from harness.training.step_mode import Recording

    cell, cache, accumulate, where = attempt.cell, attempt.cache, attempt.accumulate, choose_device(device)
    recording = Recording(attempt.eager)
    if attempt.kind == "subsets":
        present = [subset.present for subset in attempt.subsets]
        evaluate_subsets(cell, present, attempt.subsets[0].fill, cache, where, should_stop, recording)
        return
    spec = cell.spec()
    recording.check(spec.protocol.training, where, ranks)  # before hours of preparing data
    if attempt.kind == "train":
        join_ranks = partial(launch_ranks, ranks, cell, cache, where, accumulate, should_stop)
        run_cell(spec, cell, cache, device, should_stop, join_ranks, accumulate, recording)
    elif attempt.until is not None:
        run_rung(spec, cell, cache, attempt.until, device, should_stop, accumulate, recording)
    else:
        run_trial(spec, cell, cache, device, should_stop, accumulate, recording)


def _record(attempt: Attempt, error: BaseException) -> int:
    """Records why the attempt failed; returns the exit status."""
    trace = "".join(traceback.format_exception(error))
    try:
        print(without_secrets(trace), file=sys.stderr, flush=True)  # into the log
    except OSError:  # the log lies on the disk that is full: say no more
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
    reason = explain(error, attempt.folder.log)
    try:
        attempt.folder.fail(reason.text, reason.hint, trace, reason.kind, attempt.accumulate)
    except OSError:
        return UNWRITTEN
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
