"""The process of one cell: ``python -m harness.execution.worker CELL_FOLDER``.

It ends with status 0 (done), 3 (failed; ``failure.json`` says why), 4 (another process computes the cell) or 130
(stopped; a checkpoint is kept).
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType

__all__ = ["BUSY", "DONE", "FAILED", "STOPPED", "main"]

DONE, FAILED, BUSY, STOPPED = 0, 3, 4, 130

#: Seconds to wait for the cell's lease: the worker of a run that was killed ends with its step.
_LEASE_WAIT = 5


class _Stop:
    """True once somebody asked for it, or once the process that started this one is gone."""

    def __init__(self) -> None:
        self._asked = False
        self._parent = os.getppid()
        self._own = os.getpid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        if number == signal.SIGUSR2 and os.getpid() != self._own:
            return  # Slurm sends it to every process before the time limit; loaders go on until the step is done
        if os.getpid() != self._own:  # a process forked from this one dies of the signal, as it would without us
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self._asked = True

    def __call__(self) -> bool:
        return self._asked or os.getppid() != self._parent


def main(arguments: list[str] | None = None) -> int:
    """Runs the cell in a folder; returns the exit status."""
    parser = argparse.ArgumentParser(description="Runs one cell.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--device")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--accumulate", type=int, default=1, help="Parts a training batch is cut into.")
    parser.add_argument("--ranks", type=int, default=1, help="Processes that train the cell together.")
    parser.add_argument("--trial", action="store_true", help="Train and validate only; test cases stay closed.")
    given = parser.parse_args(arguments)

    should_stop = _Stop()  # before the slow imports, so that an early signal is not lost

    import torch

    from harness.execution.failures import explain
    from harness.redaction import without_secrets
    from harness.results.lease import Held
    from harness.results.store import CellFolder
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
                from harness.execution.cell import run_cell, run_trial

                spec = CellSpec.from_json(folder.spec())
                place = (spec, folder, given.cache, given.device, lambda: should_stop() or lease.lost)
                if given.trial:
                    run_trial(*place, accumulate=given.accumulate)
                else:
                    run_cell(*place, ranks=given.ranks, accumulate=given.accumulate)
            except Interrupted:
                return STOPPED
            except Exception as error:  # failure is data: whatever happens here must reach the table
                print(without_secrets(traceback.format_exc()), file=sys.stderr)  # into the log
                reason = explain(error, folder.log)
                folder.fail(reason.text, reason.hint, traceback.format_exc(), reason.kind, given.accumulate)
                return FAILED
    except Held as error:
        print(error.message, file=sys.stderr)
        return BUSY
    return DONE


if __name__ == "__main__":
    sys.exit(main())
