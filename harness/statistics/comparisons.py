"""Paired tests between methods over patients, with their effect sizes.

Pairs are made by patient: both methods are columns of one table. The signed-rank test keeps zero differences in the
ranking (Pratt), and Holm's step-down correction covers the whole family. Where few differences are not zero, whatever
the number of patients, its p is exact: the normal approximation then gives less than any pattern of signs can.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import friedmanchisquare, rankdata, wilcoxon

from harness.statistics.bootstrap import Interval, mean_intervals, median_intervals
from harness.statistics.ties import without_rounding

#: Up to this many differences that are not zero the test is exact.
_EXACT = 50


@dataclass(frozen=True)
class Comparison:
    """A method against its reference, on the same patients; differences are method minus reference.

    Attributes:
        method: The method.
        reference: The reference.
        mean_difference: Mean of the patients' differences, in the metric's unit.
        mean_interval: BCa interval of it; ``None`` for too few patients.
        median_difference: Median of the patients' differences.
        median_interval: Percentile interval of it; ``None`` for too few patients.
        cliffs_delta: -1..1; above 0 where the method is better.
        p_better: Share of patients on which the method is better than the reference; ties count half.
        p: Two-sided p of the signed-rank test; ``None`` where the data cannot carry it.
        p_holm: The same after Holm over all comparisons with a reference.
        within_seeds: The mean difference is no larger than the spread between seeds; ``None`` for one seed.
    """

    method: str
    reference: str
    mean_difference: float
    mean_interval: Interval | None
    median_difference: float
    median_interval: Interval | None
    cliffs_delta: float
    p_better: float
    p: float | None
    p_holm: float | None
    within_seeds: bool | None = None


@dataclass(frozen=True)
class Friedman:
    """Friedman's omnibus test over all methods.

    Attributes:
        statistic: Chi-square statistic, corrected for ties.
        p: Its p.
    """

    statistic: float
    p: float


def one_sided_p(table: pd.DataFrame, *, higher_is_better: bool) -> pd.DataFrame:
    """One-sided signed-rank p that the row's method is better than the column's, uncorrected; 1 on the diagonal.

    Everything tested here follows from this table: a two-sided p is twice the lesser of its two sides.

    Args:
        table: Patients x methods.
        higher_is_better: Direction of the metric.
    """
    values = table.to_numpy(dtype=float) * (1 if higher_is_better else -1)
    first, second = np.triu_indices(values.shape[1], k=1)
    matrix = np.ones((values.shape[1], values.shape[1]))
    matrix[first, second], matrix[second, first] = _signed_rank(_differences(values, first, second))
    return pd.DataFrame(matrix, index=table.columns, columns=table.columns)


def pairwise_p(one_sided: pd.DataFrame) -> pd.DataFrame:
    """Two-sided p of every pair, Holm over all of them; 1 on the diagonal.

    Args:
        one_sided: See :func:`one_sided_p`.
    """
    raw = _two_sided(one_sided)
    matrix = np.ones(raw.shape)
    first, second = np.triu_indices(len(raw), k=1)
    matrix[first, second] = matrix[second, first] = holm(raw[first, second])
    return pd.DataFrame(matrix, index=one_sided.index, columns=one_sided.columns)


def directed_p(one_sided: pd.DataFrame) -> pd.DataFrame:
    """One-sided p that the row's method is better than the column's, Holm over all ordered pairs; 1 on the diagonal.

    This is the significance map of challengeR (Wiesenfarth et al. 2021).

    Args:
        one_sided: See :func:`one_sided_p`.
    """
    matrix = one_sided.to_numpy(dtype=float).copy()
    others = ~np.eye(len(matrix), dtype=bool)
    matrix[others] = holm(matrix[others])
    return pd.DataFrame(matrix, index=one_sided.index, columns=one_sided.columns)


def compare(
    table: pd.DataFrame,
    references: Mapping[str, str],
    *,
    higher_is_better: bool,
    means: NDArray[np.float64] | None = None,
    one_sided: pd.DataFrame | None = None,
) -> list[Comparison]:
    """Compares methods with their references.

    Args:
        table: Patients x methods.
        references: Reference of each method that has one; both are columns of the table.
        higher_is_better: Direction of the metric.
        means: Bootstrap means of the table's columns, see :func:`harness.statistics.bootstrap.bootstrap_means`.
        one_sided: See :func:`one_sided_p`; ``None`` where the patients cannot carry the tests.
    """
    if not references:
        return []
    mine = table.columns.get_indexer(pd.Index(list(references)))
    theirs = table.columns.get_indexer(pd.Index(list(references.values())))
    values = table.to_numpy(dtype=float)
    deltas = _differences(values, mine, theirs)
    drawn = None if means is None else means[:, mine] - means[:, theirs]
    mean_ends, median_ends = mean_intervals(deltas, means=drawn), median_intervals(deltas)
    raw = None if one_sided is None else _two_sided(one_sided)[mine, theirs]
    adjusted = None if raw is None else holm(raw)
    sign = 1 if higher_is_better else -1
    return [
        Comparison(
            method,
            reference,
            float(deltas[:, number].mean()),
            mean_ends[number],
            float(np.median(deltas[:, number])),
            median_ends[number],
            sign * cliffs_delta(values[:, mine[number]], values[:, theirs[number]]),
            p_better(sign * deltas[:, number]),
            None if raw is None else float(raw[number]),
            None if adjusted is None else float(adjusted[number]),
        )
        for number, (method, reference) in enumerate(references.items())
    ]


def cliffs_delta(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """P(first > second) - P(first < second) over all pairs of a value of each (Cliff 1993)."""
    n, m = len(first), len(second)
    ranks = rankdata(without_rounding(np.concatenate([first, second])))
    wins = float(ranks[:n].sum()) - n * (n + 1) / 2
    return 2 * wins / (n * m) - 1


def p_better(advantages: NDArray[np.float64]) -> float:
    """Share of positive advantages; a tie counts half."""
    return float(((advantages > 0) + 0.5 * (advantages == 0)).mean())


def friedman(table: pd.DataFrame) -> Friedman | None:
    """Friedman's test over the columns; ``None`` for fewer than three methods or where all are equal everywhere."""
    values = without_rounding(table.to_numpy(dtype=float))
    if values.shape[1] < 3 or len(values) < 2 or not np.ptp(values, axis=1).any():
        return None
    found = friedmanchisquare(*values.T)
    return Friedman(float(found.statistic), float(found.pvalue))


def _differences(values: NDArray[np.float64], first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.float64]:
    """Patients x pairs of columns; equal values differ by 0."""
    return without_rounding(values[:, first] - values[:, second])


def _signed_rank(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """One-sided p of each column, that it is greater than zero (first row) and less (second row)."""
    found = np.ones((2, differences.shape[1]))
    unequal = np.count_nonzero(differences, axis=0)
    many = np.flatnonzero(unequal > _EXACT)
    if len(many):
        for row, side in enumerate(("greater", "less")):
            found[row, many] = wilcoxon(differences[:, many], zero_method="pratt", alternative=side, axis=0).pvalue
    for column in np.flatnonzero(unequal <= _EXACT):
        found[:, column] = _exact_signed_rank(differences[:, column])
    return found


def _exact_signed_rank(differences: NDArray[np.float64]) -> tuple[float, float]:
    """One-sided p from all patterns of signs of the differences that are not zero, ties at their mean rank.

    Returns:
        That they are greater than zero, and less; both 1 where all are zero and there is nothing to rank.
    """
    # Twice the rank is a whole number. Zeros are ranked, and have no sign.
    ranks = np.rint(2 * rankdata(np.abs(differences))).astype(int)
    signed = ranks[differences != 0]
    positive = int(ranks[differences > 0].sum())
    # In how many patterns the positive ranks have each sum; up to 2 ** 50, which floating point holds exactly.
    patterns = np.zeros(int(signed.sum()) + 1)
    patterns[0] = 1
    for rank in signed:
        patterns[rank:] += patterns[:-rank].copy()
    shares = patterns / 2.0 ** len(signed)
    return float(shares[positive:].sum()), float(shares[: positive + 1].sum())


def _two_sided(one_sided: pd.DataFrame) -> NDArray[np.float64]:
    matrix = one_sided.to_numpy(dtype=float)
    return np.asarray(np.minimum(1.0, 2 * np.minimum(matrix, matrix.T)))


def holm(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's step-down correction; statsmodels' gives the same in 40 ms a call, too slow for hundreds of families."""
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate((len(values) - np.arange(len(values))) * values[order])
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted
