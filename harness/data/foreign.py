"""Readers of other packages: whatever they do, the message names the dataset, and the command comes to its end."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

from harness.child_process import ChildEndedError, describe, in_child
from harness.errors import DataError, HarnessError
from harness.import_probe import TRIED

T = TypeVar("T")

_HINT = "Is it the right folder, and is the package that reads it up to date?"


def is_foreign(place: str) -> bool:
    """Whether a reader is of somebody else's package.

    Args:
        place: Where the reader is, as ``MODULE:FUNCTION``.
    """
    return place.partition(".")[0] != "harness"


@contextmanager
def naming_reader(name: str, place: str) -> Iterator[None]:
    """Names a reader of another package, whatever it raises within.

    An error of the system is the reader's only where its code was at work: the harness may write a file meanwhile.

    Args:
        name: Name of the dataset.
        place: Where the reader is, as ``MODULE:FUNCTION``.

    Raises:
        DataError: It raised something that is no error of the harness.
    """
    try:
        yield
    except (HarnessError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        elsewhere = isinstance(error, OSError) and not _passes(error.__traceback__, place.partition(":")[0])
        if not is_foreign(place) or elsewhere:
            raise
        notes = " ".join(note for note in getattr(error, "__notes__", ()) if "\n" not in note)  # the case, say
        what = f"{describe(error)}. {notes}".rstrip(" .")
        raise DataError(f"The reader of '{name}' ({place}) failed: {what}.", hint=_HINT) from error


def read_apart(name: str, place: str, function: Callable[[], T]) -> T:
    """Returns what a function returns that reads a dataset; a reader of another package is asked in a forked process.

    In the process of a cell it is asked in that process, which others watch.

    Args:
        name: Name of the dataset.
        place: Where the reader is, as ``MODULE:FUNCTION``.
        function: What reads; its result must be picklable.

    Raises:
        DataError: The reader raised something that is no error of the harness, or ended its process.
    """

    def named() -> T:
        with naming_reader(name, place):
            return function()

    if not is_foreign(place) or TRIED in os.environ:
        return named()
    try:
        return in_child(named)
    except ChildEndedError as error:
        raise DataError(f"The reader of '{name}' ({place}) failed: {error.message}", hint=_HINT) from error


def _passes(trace: TracebackType | None, module: str) -> bool:
    """Whether a traceback has a frame of a module's package."""
    package = module.partition(".")[0]
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0] == package:
            return True
        trace = trace.tb_next
    return False
