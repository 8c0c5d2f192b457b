"""What n patients can show: power of the paired signed-rank test, from the differences that were observed.

Nothing is assumed about the shape of the differences: the test's chance to be significant follows from three numbers of
their distribution. Source: Lehmann (1975), Nonparametrics, section 4.2: mean and variance of Wilcoxon's statistic under
an alternative.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from harness.statistics.sample_size import ALPHA, patients_needed
from harness.statistics.ties import without_rounding

#: Share of studies that should show a difference.
POWER = 0.8

#: More patients than this are not counted.
MOST_PATIENTS = 1_000_000


class Chances(NamedTuple):
    """What the signed-rank test goes by; a zero counts half.

    Attributes:
        one: Chance that a difference is above zero.
        two: Chance that the sum of two is.
        three: Chance that the sums of one with each of two others both are.
    """

    one: float
    two: float
    three: float


def chances_of(differences: NDArray[np.float64]) -> Chances:
    """Estimates the chances from differences of patients, without bias.

    Args:
        differences: One per patient, at least 3, all finite.
    """
    values = without_rounding(differences)
    count = len(values)
    ordered = np.sort(values)
    below, upto = (np.searchsorted(ordered, -values, side) for side in ("left", "right"))
    own, squares = _sign(2 * values), (count - upto) + (upto - below) / 4
    sums = (count - upto) + (upto - below) / 2 - own
    pairs = sums.sum() / (count * (count - 1))
    triples = (sums**2 - (squares - own**2)).sum() / (count * (count - 1) * (count - 2))
    return Chances(float(_sign(values).mean()), float(pairs), float(triples))


def power_of(chances: Chances, patients: int, alpha: float = ALPHA) -> float:
    """Returns the chance that the two-sided test of so many patients is significant.

    Args:
        chances: Of the differences, see :func:`chances_of`.
        patients: Number of patients.
        alpha: Level of the test.
    """
    if patients < patients_needed(1, alpha):
        return 0.0
    n, (one, two, three) = patients, chances
    pairs = n * (n - 1) / 2
    mean = n * one + pairs * two - n * (n + 1) / 4
    variance = n * one * (1 - one) + pairs * (2 * (one - two) ** 2 + 3 * two * (1 - two))
    variance += n * (n - 1) * (n - 2) * (three - two**2)
    spread = math.sqrt(max(variance, 1e-12 * n**3))
    bound = -float(ndtri(alpha / 2)) * math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    return float(ndtr((mean - bound) / spread) + ndtr((-mean - bound) / spread))


def patients_for(chances: Chances, power: float = POWER, alpha: float = ALPHA) -> int | None:
    """Returns the fewest patients with which the test has a power; None for more than :data:`MOST_PATIENTS`.

    Args:
        chances: Of the differences.
        power: Share of studies that should be significant.
        alpha: Level of the test.
    """
    if abs(chances.two - 0.5) < 1e-9 or power_of(chances, MOST_PATIENTS, alpha) < power:
        return None
    few, many = 2, MOST_PATIENTS
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if power_of(chances, middle, alpha) >= power else (middle, many)
    return many


def least_difference(
    differences: NDArray[np.float64], patients: int | None = None, power: float = POWER, alpha: float = ALPHA
) -> float | None:
    """Returns the least difference, the same for every patient, that the test shows with a power.

    Args:
        differences: Observed differences; their spread and shape are kept, their place is not.
        patients: Number of patients; default: as many as there are differences.
        power: Share of studies that should show it.
        alpha: Level of the test.

    Returns:
        None where too few patients can be significant at all, and where all differences are equal.
    """
    count = len(differences) if patients is None else patients
    spread = float(np.ptp(differences))
    if spread == 0 or count < patients_needed(1, alpha):
        return None
    centred = differences - _centre(differences)

    def shown(shift: float) -> bool:
        return power_of(chances_of(centred + shift), count, alpha) >= power

    high = float(differences.std()) or spread
    while not shown(high):
        high *= 2
        if high > 1e3 * spread:
            return None
    return _turn(shown, 0.0, high)


def normal_differences(sd: float, points: int = 2001) -> NDArray[np.float64]:
    """Returns differences that stand for a normal distribution around zero.

    Args:
        sd: Its standard deviation.
        points: How many differences.
    """
    return np.asarray(sd * ndtri((np.arange(points) + 0.5) / points))


def _centre(differences: NDArray[np.float64]) -> float:
    """Returns the place around which the test sees nothing (the Hodges-Lehmann estimate)."""
    low, high = float(differences.min()), float(differences.max())
    return -_turn(lambda shift: chances_of(differences + shift).two >= 0.5, -high, -low)


def _turn(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Returns where a condition that holds above some number begins to hold, by bisection."""
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _sign(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 above zero, 0 below, a half at zero."""
    return (np.sign(values) + 1) / 2
