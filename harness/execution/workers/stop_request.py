"""How a process of a cell is asked to stop: by a signal, or by the end of whoever started it."""

import os
import signal
from types import FrameType


class StopRequest:
    """True once somebody asked for it, or once the process that started this one is gone.

    Args:
        parent: Number of that process, where it is known: it may be gone already.
    """

    def __init__(self, parent: int | None = None) -> None:
        self._asked = False
        self._parent = parent or os.getppid()
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

    @property
    def orphaned(self) -> bool:
        """Whether the process that started this one is gone."""
        return os.getppid() != self._parent

    def __call__(self) -> bool:
        """Returns whether to stop."""
        return self._asked or self.orphaned
