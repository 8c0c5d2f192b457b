"""How sure a ranking is, where each method was trained with several seeds and scored on the same patients.

Seeds and patients are resampled independently of each other, the same draws for every method, so that differences
between methods are paired in both.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from harness.statistics.bootstrap import RESAMPLES, Interval
from harness.statistics.power import chances_of, patients_for

Scores = Mapping[str, NDArray[np.float64]]

#: A method is called the best where it is so in this share of resamples.
SURE = 0.9

#: Fewer patients cannot make that sure: all of three favour the same one of two by luck in an eighth of samples.
LEAST_TO_CHOOSE = 4

#: Fewer patients give no estimate of how many it takes.
_LEAST_TO_ESTIMATE = 6


class Resamples:
    """Draws of seeds and patients.

    Of n seeds (or patients) n - 1 are drawn with replacement: the spread of their mean is then that of the mean of n,
    without the shortfall of (n - 1) / n that drawing n of n has and that is a third for three seeds. A single one is
    always drawn, so that its chance enters nothing.

    Args:
        seeds: Number of seeds.
        patients: Number of patients.
        resamples: Number of draws.
        seed: Of the draws.

    Source: Rao and Wu (1988), Resampling inference with complex survey data; for two crossed factors Owen (2007), The
    pigeonhole bootstrap, which is on the careful side: its spread is a little too wide.
    """

    def __init__(self, seeds: int, patients: int, *, resamples: int = RESAMPLES, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self._seeds = _shares(seeds, resamples, random)
        self._patients = _shares(patients, resamples, random)

    def means(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the mean of every resample.

        Args:
            scores: Seeds x patients, all finite.
        """
        means: NDArray[np.float64] = np.einsum("rs,sp,rp->r", self._seeds, scores, self._patients, optimize=True)
        return means

    def interval(self, scores: NDArray[np.float64], level: float = 0.95) -> Interval:
        """Returns the percentile interval of the mean of ``scores`` (seeds x patients)."""
        low, high = np.quantile(self.means(scores), [(1 - level) / 2, (1 + level) / 2])
        return Interval(float(low), float(high))


def chances_of_best(stages: Sequence[Scores], draws: Resamples) -> dict[str, float]:
    """Returns for each method in how many of the resamples it is the best; together 1.

    Methods may have left at an earlier stage. Such a one is the best of a resample if it was the best of the stage at
    which it left, the first stage for which that holds; otherwise the best of the last stage is. So every comparison is
    between equally long trainings, and no method is likelier to be the best than it was of its own last stage. Of
    equals the one that came further, then the earlier one, is the better.

    Args:
        stages: First to last; method to its scores, seeds x patients. Whoever is in a stage is in all before it.
        draws: Resamples of these seeds and patients.
    """
    methods = list(stages[0])
    best = _best_of(list(stages[-1]), stages[-1], methods, draws)
    for stage, later in reversed(list(pairwise(stages))):
        left = [name for name in stage if name not in later]
        first = _best_of([*later, *left], stage, methods, draws)
        best = np.where(np.isin(first, [methods.index(name) for name in left]), first, best)
    shares = np.bincount(best, minlength=len(methods)) / len(best)
    return dict(zip(methods, map(float, shares), strict=True))


def not_told_from(first: str, chances: Mapping[str, float]) -> tuple[str, ...]:
    """Returns the likeliest others that make up, with the first one, the share that is sure enough.

    Args:
        first: The best method.
        chances: See :func:`chances_of_best`.
    """
    total, found = chances[first], []
    for name in sorted((name for name in chances if name != first), key=lambda name: -chances[name]):
        if total >= SURE:
            break
        found.append(name)
        total += chances[name]
    return tuple(found)


def patients_to_tell(gap: NDArray[np.float64]) -> int | None:
    """Returns the patients that tell two methods apart in 80 % of studies (signed-rank test, seeds averaged).

    Args:
        gap: Differences of the two, seeds x patients.

    Returns:
        None for too few patients to estimate it, and where more than a million are needed.
    """
    differences = gap.mean(axis=0)
    if len(differences) < _LEAST_TO_ESTIMATE or np.ptp(differences) == 0:
        return None
    return patients_for(chances_of(differences))


def _best_of(order: Sequence[str], stage: Scores, methods: Sequence[str], draws: Resamples) -> NDArray[np.intp]:
    """Returns for every resample the place in ``methods`` of a stage's best; of equals the first one in ``order``."""
    means = np.stack([draws.means(stage[name]) for name in order])
    places: NDArray[np.intp] = np.array([methods.index(name) for name in order])[means.argmax(axis=0)]
    return places


def _shares(count: int, resamples: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Resamples x units, rows that sum to 1."""
    drawn = max(1, count - 1)
    return random.multinomial(drawn, np.full(count, 1 / count), size=resamples) / drawn
