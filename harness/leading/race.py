"""Successive halving between leading modalities, as a function of the scores so far.

Every candidate trains until the first rung. There the worse half stops, except candidates that may still be the best;
the others continue to the next rung. The scores alone decide what is trained next, so a race that is interrupted loses
nothing.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """Which candidates survive a rung.

    Attributes:
        n_final: Number of candidates that reach the last rung, at least; with one the race may end earlier.
        keep_probability: A candidate that is the best of the rung with this probability or more survives. With 1 the
            worse half stops: plain successive halving.
    """

    n_final: int
    keep_probability: float

    def least(self, candidates: int) -> int:
        """Returns how many of a number of candidates survive, at least."""
        return min(candidates, max(self.n_final, math.ceil(candidates / 2)))

    def survivors(self, ordered: Sequence[str], chances: Mapping[str, float]) -> tuple[str, ...]:
        """Returns the candidates that continue to the next rung.

        Args:
            ordered: Candidates of the rung, the best first.
            chances: Probability of each to be the best of them.
        """
        least = self.least(len(ordered))
        return tuple(
            name for place, name in enumerate(ordered) if place < least or chances[name] >= self.keep_probability
        )


@dataclass(frozen=True)
class Rung:
    """One comparison of candidates that trained equally long.

    Attributes:
        epoch: Epoch that all its candidates train to.
        candidates: Candidates that train to here; the best first once all scores are there.
        survivors: Candidates that continue, the best first; after the last rung the winner alone. Empty while scores
            are missing.
    """

    epoch: int
    candidates: tuple[str, ...]
    survivors: tuple[str, ...] = ()

    @property
    def stopped(self) -> tuple[str, ...]:
        """Candidates that train no further; none while scores are missing."""
        return tuple(name for name in self.candidates if name not in self.survivors) if self.survivors else ()


def rung_epochs(epochs: int, rungs: int) -> tuple[int, ...]:
    """Returns the epochs of the rungs: the last is ``epochs``, each one before is half of the next, rounded up."""
    return tuple(sorted({math.ceil(epochs / 2**number) for number in range(rungs)}))


def run_so_far(
    candidates: Sequence[str],
    epochs: Sequence[int],
    rule: Rule,
    score: Callable[[str, int], float | None],
    chances: Callable[[Sequence[str], int], Mapping[str, float]],
) -> list[Rung]:
    """Returns the rungs up to the first one that lacks a score, or all of them.

    Args:
        candidates: All candidates; of equal scores the earlier one is better.
        epochs: Epochs of the rungs, ascending.
        rule: Which candidates survive.
        score: Function of candidate and epoch that returns the score; None where it is not known yet.
        chances: Function of candidates and epoch that returns the probability of each to be the best of them; called
            once all scores are there.
    """
    found: list[Rung] = []
    running = tuple(candidates)
    for epoch in epochs:
        scores = {name: score(name, epoch) for name in running}
        known = {name: value for name, value in scores.items() if value is not None}
        if len(known) < len(running):
            return [*found, Rung(epoch, running)]
        ordered = tuple(sorted(running, key=lambda name: -known[name]))  # stable: the earlier one of equals
        last = epoch == epochs[-1]
        survivors = ordered[:1] if last else rule.survivors(ordered, chances(running, epoch))
        found.append(Rung(epoch, ordered, survivors))
        if len(survivors) == 1:
            break
        # In the order of the start, so that equal scores are always decided alike.
        running = tuple(name for name in candidates if name in survivors)
    return found


def planned_epochs(candidates: int, epochs: Sequence[int], rule: Rule, done: int = 0) -> int:
    """Returns the epochs that a race costs for one seed, at least: where no more survive than must.

    Args:
        candidates: Number of candidates.
        epochs: Epochs of the rungs that are left, ascending.
        rule: Which candidates survive.
        done: Epochs that each candidate has trained already.
    """
    total = 0
    for epoch in epochs:
        total += candidates * (epoch - done)
        done = epoch
        candidates = rule.least(candidates)
        if candidates == 1:
            break
    return total


def epochs_to_run(rungs: Sequence[Rung], epochs: Sequence[int], rule: Rule) -> int:
    """Returns the epochs for one seed of a race under way: those it has cost, and at least those that are left.

    Args:
        rungs: Rungs that are decided, at least one.
        epochs: Epochs of all rungs, ascending.
        rule: Which candidates survive.
    """
    before = (0, *(rung.epoch for rung in rungs))
    spent = sum(len(rung.candidates) * (rung.epoch - done) for rung, done in zip(rungs, before, strict=False))
    last = rungs[-1]
    if len(last.survivors) == 1:
        return spent
    left = [epoch for epoch in epochs if epoch > last.epoch]
    return spent + planned_epochs(len(last.survivors), left, rule, last.epoch)
