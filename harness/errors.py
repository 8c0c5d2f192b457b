"""Errors whose text is written for the person at the keyboard."""

import difflib
import re
import unicodedata
from collections.abc import Iterable
from typing import Self

from harness.text import printable

#: Words longer than this are shortened in messages; paths are not.
_LONGEST_WORD = 1000


class HarnessError(Exception):
    """An error that the user can correct.

    Names that it repeats may come from anybody's file: endless ones are shortened, control characters shown escaped.

    The command line prints it without a traceback (``--debug`` shows one) and exits with status 2.

    Args:
        message: What is wrong, in one sentence.
        hint: What to do next.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = _for_a_screen(message)
        self.hint = _for_a_screen(hint)

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class HarnessWarning(UserWarning):
    """What is done may not be what the user means; the command line prints the text in one line."""


class StudyError(HarnessError):
    """A study file, or a protocol it names, asks for something that cannot be."""


class DataError(HarnessError):
    """A dataset folder or one of its files is not what the dataset declares."""


class TrainingError(HarnessError):
    """Training cannot go on: the network breaks its contract, or asks for what the protocol or the device denies."""


class MetricError(HarnessError):
    """The function of a metric failed on a case, or gave what is no finite number."""


class NotFiniteError(TrainingError):
    """The training loss, or what the network gives, is NaN or infinite."""


class RecordingError(TrainingError):
    """A training step, or a network's forward pass, cannot be recorded as a CUDA graph."""

    @classmethod
    def because(cls, reason: str) -> Self:
        """Returns the error with its remedy.

        Args:
            reason: What stands in the way, without a full stop.
        """
        hint = "Set `training.step: auto` (or `eager`) in the protocol: the cell is then trained without a recording."
        return cls(f"The training step cannot be recorded as a CUDA graph: {reason}.", hint=hint)


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "There is none.") -> str:
    """Returns a hint that names the nearest known name, or all of them when none is near.

    Args:
        name: What was given.
        known: What there is.
        otherwise: The hint where there is nothing.
    """
    known = sorted(known)
    by_letters = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name[:_LONGEST_WORD].lower(), by_letters, n=1, cutoff=0.5)
    if near:
        meant = by_letters[near[0]]
        return f"Did you mean '{meant}'?{look_alikes(name, meant)} Known: {', '.join(known)}."
    return f"Known: {', '.join(known)}." if known else otherwise


def one_line(text: str) -> str:
    """Returns a text whose line breaks are shown escaped: they are in a name that it repeats."""
    return text.replace("\r", "\\r").replace("\n", "\\n")


def shorten(text: str, longest: int) -> str:
    """Returns a text, or its beginning and its end where it is longer than a number of characters."""
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]}... ({len(text):,} characters) ...{text[-longest // 4 :]}"


def look_alikes(name: str, near: str) -> str:
    """Returns a remark on a letter of a name that is from another script than it looks like; empty where there is none.

    Args:
        name: Name that was given.
        near: Name that was probably meant.
    """
    foreign = sorted({letter for letter in name if not letter.isascii() and letter not in near})
    if not foreign:
        return ""
    return f" '{foreign[0]}' is {unicodedata.name(foreign[0], f'U+{ord(foreign[0]):04X}')}."


def _for_a_screen(text: str) -> str:
    text = re.sub(
        rf"'[^'\n]{{{_LONGEST_WORD},}}'|\S{{{_LONGEST_WORD},}}", lambda word: shorten(word[0], _LONGEST_WORD // 4), text
    )
    return printable(text)
