"""What a command does when it is told to stop."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import typer
from rich.console import Console

_STOP_MESSAGE = b"\nStopping: running cells write a checkpoint and end. Press Ctrl-C again to stop without waiting.\n"


@contextmanager
def graceful_shutdown(console: Console, on_stop: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Within the block SIGTERM, as Slurm and systemd send it, stops like Ctrl-C; both are answered at once.

    Args:
        console: Console to show messages on.
        on_stop: Called when the block was stopped, before the message.

    Raises:
        typer.Exit: With status 130, where one of them stopped the block.
    """
    try:
        with _handlers():
            yield
    except KeyboardInterrupt:
        on_stop()
        console.print("Stopped. Nothing is lost: the same command continues where it stopped.")
        raise typer.Exit(130) from None


@contextmanager
def _handlers() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread receives signals
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
    # `print` is not safe in a signal handler: it may have been interrupted itself.
    os.write(sys.__stderr__.fileno() if sys.__stderr__ is not None else 2, _STOP_MESSAGE)
    raise KeyboardInterrupt
