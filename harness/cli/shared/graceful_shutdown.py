"""What a run does when it is told to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

__all__ = ["stopping_in_order"]

_SAID = b"\nStopping: what runs is asked to end in order. Ctrl-C once more does not wait for it.\n"


@contextmanager
def stopping_in_order() -> Iterator[None]:
    """Within the block SIGTERM, as Slurm and systemd send it, stops like Ctrl-C; and both are answered at once.

    Raises:
        KeyboardInterrupt: One of them came.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone hears signals
        yield
        return
    before = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    os.write(sys.__stderr__.fileno() if sys.__stderr__ is not None else 2, _SAID)  # print may be under way
    raise KeyboardInterrupt
