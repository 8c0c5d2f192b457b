"""Errors whose text is written for the person at the keyboard."""

import difflib
from collections.abc import Iterable


class HarnessError(Exception):
    """An error that the user can correct.

    The command line prints it without a traceback (``--debug`` shows one) and exits with status 2.

    Args:
        message: What is wrong, in one sentence.
        hint: What to do next.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class StudyError(HarnessError):
    """A study file, or a protocol it names, asks for something that cannot be."""


class DataError(HarnessError):
    """A dataset folder or one of its files is not what the dataset declares."""


class TrainingError(HarnessError):
    """Training cannot go on: the network breaks its contract, or asks for what the protocol or the device denies."""


class NotFiniteError(TrainingError):
    """The training loss, or what the network gives, is NaN or infinite."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns a hint that names the nearest known name, or all of them when none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"Did you mean '{near[0]}'? Known: {', '.join(known)}."
    return f"Known: {', '.join(known)}." if known else "None is installed."
