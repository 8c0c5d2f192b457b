"""Tries a network of somebody else's package in a process of its own.

Its factory may end the process, be killed for the memory it takes, or never return; the command that only wants to know
how large the network is, or whether it keeps the contract, would end with it, whatever else it was to show.
"""

import importlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from harness.child_process import ChildEndedError, in_child
from harness.errors import HarnessError, StudyError
from harness.segmenters.contract import Segmenter

T = TypeVar("T")

#: Seconds that building a network and one pass without arithmetic may take, imports of its package included.
PATIENCE = 180.0


class Trials:
    """What is tried of networks, each in a process of its own; one that never returned is not tried again.

    Args:
        is_foreign: Whether a network, by its name, is of somebody else's package; others are tried in this process.
        patience: Seconds that one trial may take.
        needs: Modules that every trial imports. They are imported here before the first one, so that the processes,
            which are forked from this one, have them.
    """

    def __init__(
        self, is_foreign: Callable[[str], bool], patience: float = PATIENCE, needs: Sequence[str] = ()
    ) -> None:
        self._is_foreign, self._patience, self._needs = is_foreign, patience, needs
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
            for module in self._needs:
                importlib.import_module(module)
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
