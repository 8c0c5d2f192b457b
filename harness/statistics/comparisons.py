"""Paired tests between methods over patients, with their effect sizes.

Pairs are made by patient: both methods are columns of one table. The signed-rank test keeps zero differences in the
ranking (Pratt), and Holm's step-down correction covers the whole family.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import friedmanchisquare, rankdata, wilcoxon
from statsmodels.stats.multitest import multipletests

from harness.statistics.intervals import RESAMPLES, Interval, mean_intervals, median_intervals

__all__ = ["Comparison", "Friedman", "cliffs_delta", "compare", "directed_p", "friedman", "p_better", "pairwise_p"]

_Side: TypeAlias = Literal["two-sided", "greater"]


@dataclass(frozen=True)
class Comparison:
    """A method against the reference, on the same patients; differences are method minus reference.

    Attributes:
        method: The method.
        reference: The reference.
        mean_difference: Mean of the patients' differences, in the metric's unit.
        mean_interval: BCa interval of it; ``None`` for one patient.
        median_difference: Median of the patients' differences.
        median_interval: Percentile interval of it; ``None`` for one patient.
        cliffs_delta: -1..1; above 0 where the method is better.
        p_better: Share of patients on which the method is better than the reference; ties count half.
        p: Two-sided p of the signed-rank test; ``None`` where the data cannot carry it.
        p_holm: The same after Holm over all comparisons with the reference.
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


def compare(
    table: pd.DataFrame, reference: str, *, higher_is_better: bool, tested: bool, resamples: int = RESAMPLES
) -> list[Comparison]:
    """Compares every other method with the reference.

    Args:
        table: Patients x methods.
        reference: A column of it.
        higher_is_better: Direction of the metric.
        tested: Whether the patients can carry the tests.
        resamples: Bootstrap resamples of the intervals.
    """
    others = [str(name) for name in table.columns if name != reference]
    if not others:
        return []
    base = table[reference].to_numpy(dtype=float)
    values = table[others].to_numpy(dtype=float)
    deltas = values - base[:, None]
    none: list[Interval | None] = [None] * len(others)
    several = len(table) > 1
    means = mean_intervals(deltas, resamples=resamples) if several else none
    medians = median_intervals(deltas, resamples=resamples) if several else none
    single = [_signed_rank(delta, "two-sided") for delta in deltas.T] if tested else []
    adjusted = _holm(single)
    sign = 1 if higher_is_better else -1
    return [
        Comparison(
            name,
            reference,
            float(deltas[:, number].mean()),
            means[number],
            float(np.median(deltas[:, number])),
            medians[number],
            sign * cliffs_delta(values[:, number], base),
            p_better(sign * deltas[:, number]),
            float(single[number]) if tested else None,
            float(adjusted[number]) if tested else None,
        )
        for number, name in enumerate(others)
    ]


def cliffs_delta(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """P(first > second) - P(first < second) over all pairs of a value of each (Cliff 1993)."""
    n, m = len(first), len(second)
    ranks = rankdata(np.concatenate([first, second]))
    wins = float(ranks[:n].sum()) - n * (n + 1) / 2
    return 2 * wins / (n * m) - 1


def p_better(advantages: NDArray[np.float64]) -> float:
    """Share of positive advantages; a tie counts half."""
    return float(((advantages > 0) + 0.5 * (advantages == 0)).mean())


def friedman(table: pd.DataFrame) -> Friedman | None:
    """Friedman's test over the columns; ``None`` for fewer than three methods or where all are equal everywhere."""
    if table.shape[1] < 3 or len(table) < 2 or bool((table.nunique(axis=1) == 1).all()):
        return None
    found = friedmanchisquare(*(table[name].to_numpy() for name in table.columns))
    return Friedman(float(found.statistic), float(found.pvalue))


def pairwise_p(table: pd.DataFrame) -> pd.DataFrame:
    """Two-sided signed-rank p of every pair, Holm over all of them; methods x methods, 1 on the diagonal."""
    names = [str(name) for name in table.columns]
    matrix = np.ones((len(names), len(names)))
    values = table.to_numpy(dtype=float)
    pairs = list(itertools.combinations(range(len(names)), 2))
    adjusted = _holm([_signed_rank(values[:, a] - values[:, b], "two-sided") for a, b in pairs])
    for (a, b), p in zip(pairs, adjusted, strict=True):
        matrix[a, b] = matrix[b, a] = p
    return pd.DataFrame(matrix, index=names, columns=names)


def directed_p(table: pd.DataFrame, *, higher_is_better: bool) -> pd.DataFrame:
    """One-sided signed-rank p that the row's method is better than the column's, Holm over all ordered pairs.

    This is the significance map of challengeR (Wiesenfarth et al. 2021); 1 on the diagonal.
    """
    names = [str(name) for name in table.columns]
    matrix = np.ones((len(names), len(names)))
    values = table.to_numpy(dtype=float) * (1 if higher_is_better else -1)
    pairs = list(itertools.permutations(range(len(names)), 2))
    adjusted = _holm([_signed_rank(values[:, a] - values[:, b], "greater") for a, b in pairs])
    for (a, b), p in zip(pairs, adjusted, strict=True):
        matrix[a, b] = p
    return pd.DataFrame(matrix, index=names, columns=names)


def _signed_rank(differences: NDArray[np.float64], side: _Side) -> float:
    if not differences.any():
        return 1.0  # the test has nothing to rank
    return float(wilcoxon(differences, zero_method="pratt", alternative=side).pvalue)


def _holm(values: list[float]) -> NDArray[np.float64]:
    return np.asarray(multipletests(values, method="holm")[1], dtype=float) if values else np.empty(0)
