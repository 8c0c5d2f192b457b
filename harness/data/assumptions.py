"""What was assumed while files were read, said once for all of them with how many they were."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple


class Assumption(NamedTuple):
    """A file, and what was assumed of it in words that fit any file."""

    file: Path
    words: str


_NOTED: ContextVar[list[Assumption] | None] = ContextVar("noted", default=None)


@contextmanager
def collect_assumptions() -> Iterator[list[Assumption]]:
    """Yields a list that grows while files are read in this thread."""
    noted: list[Assumption] = []
    token = _NOTED.set(noted)
    try:
        yield noted
    finally:
        _NOTED.reset(token)


def note_assumptions(path: Path, words: Iterable[str]) -> None:
    """Notes what was assumed of a file, where somebody collects it."""
    noted = _NOTED.get()
    if noted is not None:
        noted += [Assumption(path, one) for one in words]


def sum_up(noted: Iterable[Assumption]) -> list[str]:
    """Returns a sentence for each thing that was assumed, the most frequent first, with the number of files."""
    counts = Counter(one.words for one in set(noted))
    return [f"{count} {'file' if count == 1 else 'files'}: {words}." for words, count in counts.most_common()]
