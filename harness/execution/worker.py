"""The process of one cell: ``python -m harness.execution.worker CELL_FOLDER``.

It ends with status 0 (done), 3 (failed; ``failure.json`` says why) or 130 (stopped; a checkpoint is kept).
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType

__all__ = ["DONE", "FAILED", "STOPPED", "main"]

DONE, FAILED, STOPPED = 0, 3, 130

#: Seconds to wait for the cell's lock: somebody may just be asking whether it is held.
_LOCK_WAIT = 5


class _Stop:
    """True once somebody asked for it, or once the process that started this one is gone."""

    def __init__(self) -> None:
        self._asked = False
        self._parent = os.getppid()
        self._own = os.getpid()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
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
    given = parser.parse_args(arguments)

    should_stop = _Stop()  # before the slow imports, so that an early signal is not lost

    import torch
    from filelock import Timeout

    from harness.results.store import CellFolder
    from harness.study.cell import CellSpec
    from harness.training.loop import Interrupted

    if given.threads is not None:
        torch.set_num_threads(given.threads)
    folder = CellFolder(given.folder)
    try:
        with folder.lock().acquire(timeout=_LOCK_WAIT):
            folder.clear_failure()
            from harness.execution.cell import run_cell

            run_cell(CellSpec.from_json(folder.spec()), folder, given.cache, given.device, should_stop)
    except Timeout:
        print(f"{folder.id}: another process computes this cell", file=sys.stderr)
        return FAILED
    except Interrupted:
        return STOPPED
    except Exception as error:  # failure is data: whatever happens here must reach the table
        reason, hint = _explain(error, folder.log)
        traceback.print_exc()  # into the log
        folder.fail(reason, hint, traceback.format_exc())
        return FAILED
    return DONE


def _explain(error: Exception, log: Path) -> tuple[str, str]:
    """Returns a failure's reason and what to do, for a person."""
    import torch

    from harness.errors import HarnessError

    if isinstance(error, HarnessError):
        return error.message, error.hint
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return "Out of GPU memory.", "Lower `sampling.batch_size` in the protocol or choose a smaller preset."
    if isinstance(error, MemoryError):
        return "Out of memory.", "Run fewer cells at once: --workers."
    first_line = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {first_line}", f"The whole log: {log}"


if __name__ == "__main__":
    sys.exit(main())
