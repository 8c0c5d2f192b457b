"""Bootstrap over patients: one draw serves every method, every difference between methods and every ranking.

Resamples are drawn as ``scipy.stats.bootstrap`` draws them and summed as counts times values, so the ends of its
intervals are scipy's. The mean of a difference is the difference of the means: differences need no draw of their own.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from harness.statistics.sample_size import patients_needed

#: Below this many patients a 95 % interval covers noticeably less than it says.
FEW_PATIENTS = 50
#: With fewer, not even the span from the least to the largest value covers the median in 95 % of samples.
LEAST_PATIENTS = patients_needed(1)
RESAMPLES = 9999

#: Counts turned into floating point at once: 16 MiB.
_CHUNK = 2_000_000


class Interval(NamedTuple):
    """Ends of a 95 % interval."""

    low: float
    high: float


def few_patients(patients: int) -> str:
    """The warning for intervals over few patients; ``''`` where there are enough."""
    if patients >= FEW_PATIENTS:
        return ""
    counted = f"{patients} patient{'' if patients == 1 else 's'}"
    if patients < LEAST_PATIENTS:
        return f"{counted}: no intervals, because {LEAST_PATIENTS} are the fewest that a 95 % interval can stand on"
    return f"{counted}: intervals over fewer than {FEW_PATIENTS} cover less than they say"


def bootstrap_means(values: NDArray[np.float64], *, resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.float64]:
    """Means of resampled patients.

    Args:
        values: Patients x columns, all finite.
        resamples: Number of bootstrap resamples.
        seed: Seed of the draws; the same number of patients and the same seed give the same resamples.

    Returns:
        Resamples x columns, as deviations from the mean of all patients: rounding stays small beside the spread.
    """
    patients = len(values)
    around = values - values.mean(axis=0)
    counts = _counts(patients, resamples, seed)
    size = max(1, _CHUNK // patients)
    parts = [counts[start : start + size].astype(float) @ around for start in range(0, resamples, size)]
    return np.concatenate(parts) / patients


def mean_intervals(
    values: NDArray[np.float64], *, level: float = 0.95, means: NDArray[np.float64] | None = None
) -> list[Interval | None]:
    """BCa intervals of the mean of each column.

    Args:
        values: Patients x columns, all finite.
        level: Nominal coverage.
        means: What :func:`bootstrap_means` gave for these columns; drawn here by default.

    Returns:
        One interval a column; of no width where all values of the column are equal, ``None`` for too few patients.

    Source: Efron (1987), Better bootstrap confidence intervals; the same formulas as ``scipy.stats.bootstrap``.
    """
    patients, columns = values.shape
    if patients < LEAST_PATIENTS:
        return [None] * columns
    means = bootstrap_means(values) if means is None else means
    centre = values.mean(axis=0)
    around = values - centre
    # Resamples whose mean is that of the patients count half, whatever rounding made of it.
    rounding = 1e-12 * np.ptp(values, axis=0)
    below = ((means < -rounding).sum(axis=0) + (means <= rounding).sum(axis=0)) / (2 * len(means))
    bias = ndtri(below)
    # The jackknife of a mean is linear in the values, so its acceleration is their skewness.
    jackknife = -around / (patients - 1)
    centred = jackknife.mean(axis=0) - jackknife
    with np.errstate(divide="ignore", invalid="ignore"):
        acceleration = (centred**3).sum(axis=0) / (6 * (centred**2).sum(axis=0) ** 1.5)
        tails = np.array([(1 - level) / 2, (1 + level) / 2])
        steps = bias + ndtri(tails)[:, None]
        shares = ndtr(bias + steps / (1 - acceleration * steps))
    found: list[Interval | None] = []
    for column in range(columns):
        if np.ptp(values[:, column]) == 0:
            found.append(Interval(float(values[0, column]), float(values[0, column])))
            continue
        low, high = np.quantile(means[:, column], shares[:, column]) + centre[column]
        found.append(Interval(float(low), float(high)))
    return found


def median_intervals(
    values: NDArray[np.float64], *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> list[Interval | None]:
    """Percentile bootstrap intervals of the median of each column.

    The median of a resample is one or the mean of two order statistics, and which ones depends on the number of
    patients alone: their places are drawn (uniform order statistics are Beta distributed), not whole resamples.

    Args:
        values: Patients x columns, all finite.
        level: Nominal coverage.
        resamples: Number of bootstrap resamples.
        seed: Seed of the draws.

    Returns:
        One interval a column; ``None`` for too few patients.
    """
    patients, columns = values.shape
    if patients < LEAST_PATIENTS:
        return [None] * columns
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


@lru_cache(maxsize=2)
def _counts(patients: int, resamples: int, seed: int) -> NDArray[np.uint8]:
    """How often each patient is in each resample: resamples x patients; kept, because datasets share it."""
    random = np.random.default_rng(seed)
    counts = np.empty((resamples, patients), dtype=np.uint8)
    size = max(1, _CHUNK // patients)
    for start in range(0, resamples, size):
        rows = min(size, resamples - start)
        drawn = random.integers(0, patients, (rows, patients))
        drawn += np.arange(rows)[:, None] * patients
        counts[start : start + rows] = np.bincount(drawn.ravel(), minlength=rows * patients).reshape(rows, patients)
    counts.setflags(write=False)
    return counts
