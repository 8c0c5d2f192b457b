"""The race between leading modalities, as a function of the scores so far.

Every runner trains until the first rung, the worse half stops, the others go on to the next one. Nothing else is
remembered: whoever holds the scores can say what is to be trained next, so that a killed race loses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Rung", "planned_epochs", "run_so_far", "rung_epochs"]


@dataclass(frozen=True)
class Rung:
    """One comparison of equals.

    Attributes:
        epoch: Until which all its runners trained.
        runners: Who trains until here; the best first once all scores are there.
        onward: Who goes on, the best first; after the last rung the winner alone. Empty while scores are missing.
    """

    epoch: int
    runners: tuple[str, ...]
    onward: tuple[str, ...] = ()

    @property
    def stopped(self) -> tuple[str, ...]:
        """Who trains no further; nobody while scores are missing."""
        return tuple(name for name in self.runners if name not in self.onward) if self.onward else ()


def rung_epochs(epochs: int, rungs: int) -> tuple[int, ...]:
    """Returns the epochs of the rungs: the last is ``epochs``, each one before is half of the next, rounded up."""
    return tuple(sorted({math.ceil(epochs / 2**number) for number in range(rungs)}))


def run_so_far(
    runners: Sequence[str], epochs: Sequence[int], finalists: int, score: Callable[[str, int], float | None]
) -> list[Rung]:
    """Returns the rungs up to the first one that lacks a score, or all of them.

    Args:
        runners: Who starts; of equal scores the earlier one is better.
        epochs: Of the rungs, ascending.
        finalists: As many go on to the last rung, at least; with one the race may end before.
        score: Runner and epoch to its score; None where it is not known yet.
    """
    found: list[Rung] = []
    running = tuple(runners)
    for epoch in epochs:
        scores = {name: score(name, epoch) for name in running}
        known = {name: value for name, value in scores.items() if value is not None}
        if len(known) < len(running):
            return [*found, Rung(epoch, running)]
        ordered = tuple(sorted(running, key=lambda name: -known[name]))  # stable: the earlier one of equals
        last = epoch == epochs[-1]
        count = 1 if last else _go_on(len(ordered), finalists)
        found.append(Rung(epoch, ordered, ordered[:count]))
        if count == 1:
            break
        # In the order of the start, so that equal scores are always decided alike.
        running = tuple(name for name in runners if name in ordered[:count])
    return found


def planned_epochs(runners: int, epochs: Sequence[int], finalists: int) -> int:
    """Returns the epochs a race of so many runners costs, for one seed."""
    total = done = 0
    for epoch in epochs:
        total += runners * (epoch - done)
        done = epoch
        runners = _go_on(runners, finalists)
        if runners == 1:
            break
    return total


def _go_on(runners: int, finalists: int) -> int:
    return min(runners, max(finalists, math.ceil(runners / 2)))
