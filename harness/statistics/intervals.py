"""Bootstrap intervals over patients, for many methods at once.

The interval of a mean is BCa, that of a median the percentile interval. Resamples are drawn as scipy draws them and
summed as counts times values, so that one draw serves all methods: the ends equal ``scipy.stats.bootstrap``'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

__all__ = ["FEW_PATIENTS", "RESAMPLES", "Interval", "few_patients", "mean_intervals", "median_intervals", "resampled"]

#: Below this many patients a 95 % interval covers noticeably less than it says.
FEW_PATIENTS = 50
RESAMPLES = 9999

#: Counts held at once: 16 MiB of float64.
_CHUNK = 2_000_000


class Interval(NamedTuple):
    """Ends of a 95 % interval."""

    low: float
    high: float


def few_patients(patients: int) -> str:
    """The warning for intervals over few patients; ``''`` where there are enough."""
    if patients >= FEW_PATIENTS:
        return ""
    return f"{patients} patients: intervals over fewer than {FEW_PATIENTS} cover less than they say"


def resampled(patients: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Counts of each patient in bootstrap resamples, in chunks of resamples x patients."""
    random = np.random.default_rng(seed)
    size = max(1, min(resamples, _CHUNK // patients))
    for start in range(0, resamples, size):
        rows = min(size, resamples - start)
        drawn = random.integers(0, patients, (rows, patients))
        drawn += np.arange(rows)[:, None] * patients
        yield np.bincount(drawn.ravel(), minlength=rows * patients).reshape(rows, patients).astype(float)


def mean_intervals(
    values: NDArray[np.float64], *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> list[Interval]:
    """BCa intervals of the mean of each column.

    Args:
        values: Patients x columns, at least two patients, all finite.
        level: Nominal coverage.
        resamples: Number of bootstrap resamples.
        seed: Seed of the draws.

    Returns:
        One interval a column; of no width where all values of the column are equal.

    Raises:
        ValueError: Fewer than two patients.

    Source: Efron (1987), Better bootstrap confidence intervals; the same formulas as ``scipy.stats.bootstrap``.
    """
    patients = len(values)
    if patients < 2:
        raise ValueError("An interval needs at least two patients.")
    # Centred, so that rounding stays small beside the spread.
    centre = values.mean(axis=0)
    around = values - centre
    means = np.concatenate([counts @ around for counts in resampled(patients, resamples, seed)]) / patients
    estimate = around.mean(axis=0)
    below = ((means < estimate).sum(axis=0) + (means <= estimate).sum(axis=0)) / (2 * resamples)
    bias = ndtri(below)
    # The jackknife of a mean is linear in the values, so its acceleration is their skewness.
    jackknife = -around / (patients - 1)
    centred = jackknife.mean(axis=0) - jackknife
    with np.errstate(divide="ignore", invalid="ignore"):
        acceleration = (centred**3).sum(axis=0) / (6 * (centred**2).sum(axis=0) ** 1.5)
        tails = np.array([(1 - level) / 2, (1 + level) / 2])
        steps = bias + ndtri(tails)[:, None]
        shares = ndtr(bias + steps / (1 - acceleration * steps))
    found = []
    for column in range(values.shape[1]):
        if np.ptp(values[:, column]) == 0:
            found.append(Interval(float(values[0, column]), float(values[0, column])))
            continue
        low, high = np.quantile(means[:, column], shares[:, column]) + centre[column]
        found.append(Interval(float(low), float(high)))
    return found


def median_intervals(
    values: NDArray[np.float64], *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> list[Interval]:
    """Percentile bootstrap intervals of the median of each column.

    The median of a resample is one or the mean of two order statistics, and which ones depends on the number of
    patients alone: their places are drawn (uniform order statistics are Beta distributed), not whole resamples.

    Args:
        values: Patients x columns, at least two patients.
        level: Nominal coverage.
        resamples: Number of bootstrap resamples.
        seed: Seed of the draws.

    Raises:
        ValueError: Fewer than two patients.
    """
    patients = len(values)
    if patients < 2:
        raise ValueError("An interval needs at least two patients.")
    random = np.random.default_rng(seed)
    middle = (patients + 1) // 2
    lower = random.beta(middle, patients + 1 - middle, resamples)
    upper = lower
    if patients % 2 == 0:
        # Given the middle one, the next is the least of the rest, spread evenly over what is left above it.
        upper = lower + (1 - lower) * random.beta(1, patients - middle, resamples)
    places = [np.minimum((each * patients).astype(int), patients - 1) for each in (lower, upper)]
    ordered = np.sort(values, axis=0)
    medians = (ordered[places[0]] + ordered[places[1]]) / 2
    ends = np.quantile(medians, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return [Interval(float(low), float(high)) for low, high in ends.T]
