"""Workers in a container: the process that is started and watched is the container's, with the worker below it."""

import os
import signal
from collections.abc import Sequence

from harness.execution.workers.attempt import Attempt
from harness.execution.workers.exit_status import STOPPED
from harness.execution.workers.process import FreshProcess, Slot, start_fresh, worker_arguments


class ContainedProcess(FreshProcess):
    """A program that runs a worker and ends with its status."""

    def poll(self) -> int | None:
        """Returns its status, None while it runs; minus a signal's number if that ended the worker."""
        code = super().poll()
        return 128 - code if code is not None and code > STOPPED else code

    def terminate(self) -> None:
        """Asks the worker to write a checkpoint and end.

        Whether the program hands signals on depends on how it was started, so every process of the group gets one: that
        of Slurm, which only the worker takes for a request.
        """
        if super().poll() is None:
            os.killpg(self.pid, signal.SIGUSR2)


def start_contained(container: Sequence[str], attempt: Attempt, slot: Slot) -> FreshProcess:
    """Starts the worker of an attempt in a container.

    Args:
        container: Command that starts the container's Python.
        attempt: Attempt to start.
        slot: Device and threads of the process.
    """
    # without --parent: the worker's parent is a process of the container's
    worker = [*container, "-m", "harness.execution.workers.worker", *worker_arguments(attempt, slot)]
    return start_fresh(worker, attempt, slot, ContainedProcess)
