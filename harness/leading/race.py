"""The race between leading modalities, as a function of the scores so far.

Every runner trains until the first rung. There the worse half stops, but for those that may still be the best; the
others go on to the next one. Nothing else is remembered: whoever holds the scores can say what is to be trained next,
so that a killed race loses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Rule", "Rung", "epochs_to_run", "planned_epochs", "run_so_far", "rung_epochs"]


@dataclass(frozen=True)
class Rule:
    """Who stops at a rung.

    Attributes:
        finalists: As many go on to the last rung, at least; with one the race may end before.
        spare: Nobody stops whose chance of being the best of the rung is this or more; with 1 the worse half stops,
            which is plain successive halving.
    """

    finalists: int
    spare: float

    def least(self, runners: int) -> int:
        """Returns how many of so many go on, at least."""
        return min(runners, max(self.finalists, math.ceil(runners / 2)))

    def onward(self, ordered: Sequence[str], chances: Mapping[str, float]) -> tuple[str, ...]:
        """Returns who goes on.

        Args:
            ordered: The runners of a rung, the best first.
            chances: Of each to be the best of them.
        """
        least = self.least(len(ordered))
        return tuple(name for place, name in enumerate(ordered) if place < least or chances[name] >= self.spare)


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
    runners: Sequence[str],
    epochs: Sequence[int],
    rule: Rule,
    score: Callable[[str, int], float | None],
    chances: Callable[[Sequence[str], int], Mapping[str, float]],
) -> list[Rung]:
    """Returns the rungs up to the first one that lacks a score, or all of them.

    Args:
        runners: Who starts; of equal scores the earlier one is better.
        epochs: Of the rungs, ascending.
        rule: Who stops.
        score: Runner and epoch to its score; None where it is not known yet.
        chances: Runners and epoch to the chance of each to be the best of them; asked once all scores are there.
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
        onward = ordered[:1] if last else rule.onward(ordered, chances(running, epoch))
        found.append(Rung(epoch, ordered, onward))
        if len(onward) == 1:
            break
        # In the order of the start, so that equal scores are always decided alike.
        running = tuple(name for name in runners if name in onward)
    return found


def planned_epochs(runners: int, epochs: Sequence[int], rule: Rule, done: int = 0) -> int:
    """Returns the epochs a race of so many runners costs for one seed, at least: if nobody is spared.

    Args:
        runners: How many.
        epochs: Of the rungs that are left, ascending.
        rule: Who stops.
        done: Epochs that each has trained already.
    """
    total = 0
    for epoch in epochs:
        total += runners * (epoch - done)
        done = epoch
        runners = rule.least(runners)
        if runners == 1:
            break
    return total


def epochs_to_run(rungs: Sequence[Rung], epochs: Sequence[int], rule: Rule) -> int:
    """Returns the epochs for one seed of a race that came so far: what it has cost, and at least what is left.

    Args:
        rungs: That are decided, at least one.
        epochs: Of all rungs, ascending.
        rule: Who stops.
    """
    before = (0, *(rung.epoch for rung in rungs))
    spent = sum(len(rung.runners) * (rung.epoch - done) for rung, done in zip(rungs, before, strict=False))
    last = rungs[-1]
    if len(last.onward) == 1:
        return spent
    left = [epoch for epoch in epochs if epoch > last.epoch]
    return spent + planned_epochs(len(last.onward), left, rule, last.epoch)
