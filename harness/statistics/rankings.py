"""Three ways from scores to ranks, and how far they agree (challengeR, Wiesenfarth et al. 2021)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import kendalltau, rankdata

from harness.statistics.sample_size import ALPHA
from harness.statistics.ties import without_rounding

AGGREGATE, RANK, TEST = "aggregate then rank", "rank then aggregate", "test then rank"


@dataclass(frozen=True)
class Ranking:
    """Ranks of the methods, 1 the best, ties at their mean rank.

    Attributes:
        ranks: Methods x schemes; no column :data:`TEST` where no test was made.
        mean_ranks: Mean over patients of the rank within the patient, by method.
        taus: Kendall's tau-b between two schemes, by their names; NaN where one scheme ties all methods.
    """

    ranks: pd.DataFrame
    mean_ranks: pd.Series[float]
    taus: dict[tuple[str, str], float]


def mean_ranks(table: pd.DataFrame, *, higher_is_better: bool) -> pd.Series[float]:
    """Mean over patients of each method's rank within the patient."""
    ranks = rankdata(without_rounding(table.to_numpy(dtype=float)) * (-1 if higher_is_better else 1), axis=1)
    return pd.Series(ranks.mean(axis=0), index=table.columns)


def rank(
    table: pd.DataFrame, *, higher_is_better: bool, directed: pd.DataFrame | None, alpha: float = ALPHA
) -> Ranking:
    """Ranks the methods by their mean, by their mean rank and, if tested, by their number of significant wins.

    Args:
        table: Patients x methods.
        higher_is_better: Direction of the metric.
        directed: See :func:`harness.statistics.comparisons.directed_p`; ``None`` where the data cannot carry tests.
        alpha: Level of a significant win.
    """
    sign = -1 if higher_is_better else 1
    within = mean_ranks(table, higher_is_better=higher_is_better)
    means = without_rounding(table.to_numpy(dtype=float).mean(axis=0))
    ranks = pd.DataFrame(
        {AGGREGATE: rankdata(sign * means), RANK: rankdata(without_rounding(within.to_numpy()))}, index=table.columns
    )
    if directed is not None:
        ranks[TEST] = rankdata(-(directed.to_numpy() < alpha).sum(axis=1))
    taus = {
        (first, second): float(kendalltau(ranks[first], ranks[second]).statistic) if len(ranks) > 1 else np.nan
        for first, second in itertools.combinations(ranks.columns, 2)
    }
    return Ranking(ranks, within, taus)
