"""Errors of other processes, as they were raised there.

torch's DataLoader raises another exception in their place, whose first line names the process and hides what happened.
"""

import copy
import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

_Made = TypeVar("_Made")


@dataclass(frozen=True)
class LoaderError:
    """What a process hands over in place of what it should have made."""

    error: Exception


def attempt(make: Callable[[], _Made], process: str = "a process of the data loader") -> _Made | LoaderError:
    """Returns what is made, or the error, with the traceback of this process as a note.

    Args:
        make: What is called.
        process: This process, for the note.
    """
    try:
        return make()
    except Exception as error:
        kept = error if _survives(error) else RuntimeError(f"{type(error).__name__}: {error}")
        kept.add_note(f"Raised in {process}:\n{traceback.format_exc()}")
        return LoaderError(kept)


def unwrap(made: _Made | LoaderError) -> _Made:
    """Returns what was made, or raises the error."""
    if isinstance(made, LoaderError):
        raise made.error
    return made


def _survives(error: Exception) -> bool:
    """Whether an error can be handed to another process; it cannot where its class wants other arguments."""
    try:
        pickle.dumps(error)
        copy.copy(error)  # makes it anew as the other process does
    except Exception:
        return False
    return True
