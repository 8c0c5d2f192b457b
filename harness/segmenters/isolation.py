"""Tries a network of somebody else's package in a process of its own.

Its factory may end the process, be killed for the memory it takes, or never return; the command that only wants to know
how large the network is, or whether it keeps the contract, would end with it, whatever else it was to show.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Any, TypeVar

from harness.errors import HarnessError, StudyError
from harness.import_probe import how_it_ended
from harness.segmenters.contract import Segmenter

T = TypeVar("T")

#: Seconds that building a network and one pass without arithmetic may take, imports of its package included.
PATIENCE = 180.0


class Trials:
    """What is tried of networks, each in a process of its own; one that never returned is not tried again.

    Args:
        is_foreign: Whether a network, by its name, is of somebody else's package; others are tried in this process.
        patience: Seconds that one trial may take.
    """

    def __init__(self, is_foreign: Callable[[str], bool], patience: float = PATIENCE) -> None:
        self._is_foreign, self._patience = is_foreign, patience
        self._given_up: dict[str, str] = {}

    def run(self, segmenter: Segmenter, function: Callable[..., T], *arguments: Any) -> T:
        """Returns ``function(segmenter, *arguments)``.

        Raises:
            HarnessError: What the function raises of that kind.
            StudyError: The process ended, or was given up; the message names the network.
        """
        if not self._is_foreign(segmenter.name):
            return function(segmenter, *arguments)
        if segmenter.name not in self._given_up:
            try:
                found = in_child(lambda: function(segmenter, *arguments), self._patience)
            except ChildEndedError as error:
                self._given_up[segmenter.name] = error.message
            else:
                with suppress(HarnessError):
                    segmenter.import_factory()  # its import has come to an end there; the next process has it already
                return found
        raise StudyError(
            f"{segmenter.name} cannot be built and run: {self._given_up[segmenter.name]}",
            hint=f"Correct {segmenter.factory}, or leave the network out.",
        )


class ChildEndedError(HarnessError):
    """A process ended without a result, or was given up."""


def in_child(function: Callable[[], T], patience: float) -> T:
    """Returns what a function returns in a process that is forked for it; what it prints is shown.

    Args:
        function: What is called; its result must be picklable.
        patience: Seconds it may take.

    Raises:
        ChildEndedError: The process ended without a result, or took too long and was ended.
        HarnessError: What the function raised of that kind.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(function, sender))
    process.start()
    sender.close()
    try:
        if not wait([receiver, process.sentinel], patience):
            raise ChildEndedError(f"it did not return within {patience:g} seconds.")
        found, error = _received(receiver, process)
    finally:
        process.kill()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid or 0, signal.SIGKILL)  # and whatever it started
        process.join()
        receiver.close()
    if error is not None:
        raise error
    return found  # type: ignore[no-any-return]  # what the function returned


def _received(receiver: Connection, process: ForkProcess) -> tuple[Any, HarnessError | None]:
    if receiver.poll():
        with suppress(EOFError, OSError):
            found: tuple[Any, HarnessError | None] = receiver.recv()
            return found
    process.join(1)
    raise ChildEndedError(f"the process that tried it {how_it_ended(process.exitcode or 0)}.")


def _call(function: Callable[[], Any], sender: Connection) -> None:
    import torch

    os.setsid()  # what it starts is in one group with it
    torch.set_num_threads(1)  # threads of the process that forked this one are not here
    found: tuple[Any, HarnessError | None]
    try:
        found = function(), None
    except HarnessError as error:
        found = None, type(error)(error.message, hint=error.hint)
    except Exception as error:
        found = None, StudyError(f"{type(error).__name__}: {error}".partition("\n")[0])
    sender.send(found)
