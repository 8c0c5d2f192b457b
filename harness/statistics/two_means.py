"""The difference of two means that were measured on different patients, where of one only mean and SD are known."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from scipy.special import stdtrit

from harness.statistics.bootstrap import Interval


class Chance(NamedTuple):
    """One source of chance in a difference of means.

    Attributes:
        variance: What it adds to the variance of the difference.
        freedom: Degrees of freedom that the variance was estimated with.
    """

    variance: float
    freedom: float


def chance_of_cases(sd: float, cases: int) -> Chance:
    """What the choice of cases adds: the squared standard error of the mean over them.

    Args:
        sd: Standard deviation over cases, with n - 1.
        cases: Their number, at least 2.
    """
    return Chance(sd**2 / cases, cases - 1)


def chance_of_trainings(seed_sd: float, seeds: int) -> Chance:
    """What training adds where one mean is over several seeds and the other is of one training.

    Args:
        seed_sd: SD between the seeds' means.
        seeds: Their number, at least 2.
    """
    return Chance(seed_sd**2 * (1 + 1 / seeds), seeds - 1)


def interval_of_difference(difference: float, chances: Sequence[Chance], level: float = 0.95) -> Interval:
    """Returns the interval of a difference of means by Student's t.

    Args:
        difference: Difference of the two means.
        chances: Independent sources of chance; their variances need not be equal.
        level: Nominal coverage.

    Source: Welch (1947), The generalization of Student's problem; Satterthwaite (1946) for the degrees of freedom.
    """
    variance = sum(chance.variance for chance in chances)
    if variance == 0:
        return Interval(difference, difference)
    shares = ((chance.variance / variance) ** 2 / chance.freedom for chance in chances)
    half = float(stdtrit(1 / sum(shares), (1 + level) / 2)) * math.sqrt(variance)
    return Interval(difference - half, difference + half)


def largest_sd(mean: float, cases: int) -> float:
    """Returns the largest SD (with n - 1) of values from 0 to 1 that have a mean: all at the ends but one.

    Args:
        mean: Mean of the values, from 0 to 1.
        cases: Number of values, at least 2.
    """
    ones, rest = divmod(cases * mean, 1)
    return math.sqrt(max(0.0, (ones + rest**2 - cases * mean**2) / (cases - 1)))
