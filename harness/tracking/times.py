"""When a cell was computed, from what the store says: a view made later shows the same times as one made live."""

import time
from dataclasses import dataclass
from datetime import datetime

from harness.results.store import CellFolder


@dataclass(frozen=True)
class Span:
    """Begin and end of a cell, in milliseconds since 1970; ``None`` where they are not known.

    Attributes:
        start: When its last attempt began.
        end: When it was finished or failed.
        now: The time of looking.
    """

    start: int | None
    end: int | None
    now: int

    def at(self, trained: float) -> int:
        """When so many seconds were trained; never after the end, which counts the last attempt alone."""
        last = self.now if self.end is None else self.end
        return last if self.start is None else min(self.start + int(1000 * trained), last)


def span(cell: CellFolder) -> Span:
    """Looks up when a cell was computed."""
    now = int(time.time() * 1000)
    if cell.status() == "done":
        summary = cell.summary()
        return Span(_milliseconds(summary.started), _milliseconds(summary.finished), now)
    failure = cell.failure()
    return Span(_milliseconds(cell.progress().started), _milliseconds(failure.time if failure else None), now)


def _milliseconds(text: object) -> int | None:
    return int(datetime.fromisoformat(str(text)).timestamp() * 1000) if text else None
