"""Checkpoints, written atomically; the previous one is kept in case the newest cannot be read."""

import errno
from pathlib import Path
from typing import Any

import torch

from harness.files import atomic_path


class Checkpoints:
    """The checkpoints of one cell.

    Args:
        folder: Folder of the checkpoint files.
    """

    def __init__(self, folder: Path) -> None:
        self._last = folder / "last.pt"
        self._previous = folder / "previous.pt"
        self._best = folder / "best.pt"

    def save(self, state: dict[str, Any]) -> None:
        """Writes ``state`` as the newest checkpoint."""
        if self._last.exists():
            self._last.replace(self._previous)
        _write(state, self._last)

    def load(self) -> dict[str, Any] | None:
        """Returns the newest checkpoint that can be read, or None.

        A damaged one is removed, so that the next save does not replace the intact previous one with it.

        Raises:
            OSError: A checkpoint cannot be opened, or its disk does not answer; the file is kept.
        """
        for path in (self._last, self._previous):
            state = _read(path)
            if state is not None:
                return state
            if path.exists():  # into the log of the cell
                print(f"{path} is empty or damaged, and is removed: training goes on from what is before it.")
            path.unlink(missing_ok=True)
        return None

    def save_best(self, weights: dict[str, Any]) -> None:
        """Keeps the weights with the best validation score so far."""
        _write(weights, self._best)

    def load_best(self) -> dict[str, Any] | None:
        """Returns the weights :meth:`save_best` kept, or None."""
        return _read(self._best)

    def exist(self) -> bool:
        """Returns whether there is anything to continue from."""
        return self._last.exists() or self._previous.exists()


def _write(state: dict[str, Any], path: Path) -> None:
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


#: Error numbers of reading a damaged file: it can point to an invalid offset.
_OF_DAMAGE = (None, errno.EINVAL)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    with file:
        try:
            state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        except MemoryError:
            raise
        except OSError as error:
            if error.errno not in _OF_DAMAGE:
                raise
            return None
        except Exception:  # damage shows itself in many ways
            return None  # an older one, or a fresh start, takes its place
    return state
