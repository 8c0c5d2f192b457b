"""Would other patients have given another ranking? Bootstrap over patients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from harness.statistics.bootstrap import bootstrap_means
from harness.statistics.ties import without_rounding

STABILITY_RESAMPLES = 1000


class Taus(NamedTuple):
    """2.5, 50 and 97.5 % points of Kendall's tau-b between the ranking of a resample and that of all patients."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Stability:
    """Ranks by mean (aggregate then rank) under resampling of patients.

    Attributes:
        full: Rank of each method on all patients; ties share the better rank.
        counts: Methods x ranks: in how many resamples the method had the rank.
        first: Share of resamples in which the method ranked first, ties included.
        taus: Agreement with the full ranking.
        resamples: Number of resamples.
    """

    full: pd.Series[int]
    counts: pd.DataFrame
    first: pd.Series[float]
    taus: Taus
    resamples: int


def stability(table: pd.DataFrame, *, higher_is_better: bool, means: NDArray[np.float64] | None = None) -> Stability:
    """Ranks the methods on resampled patients.

    Args:
        table: Patients x methods.
        higher_is_better: Direction of the metric.
        means: What :func:`harness.statistics.bootstrap.bootstrap_means` gave for the table; drawn here by default. The
            first :data:`STABILITY_RESAMPLES` are used.
    """
    values = table.to_numpy(dtype=float)
    drawn = bootstrap_means(values, resamples=STABILITY_RESAMPLES) if means is None else means[:STABILITY_RESAMPLES]
    sign = -1 if higher_is_better else 1
    centre = values.mean(axis=0)
    ranks = rankdata(sign * without_rounding(drawn + centre), method="min", axis=1).astype(int)
    full = rankdata(sign * without_rounding(centre), method="min").astype(int)
    methods = values.shape[1]
    counts = np.stack([(ranks == place).sum(axis=0) for place in range(1, methods + 1)], axis=1)
    low, median, high = np.nanquantile(_taus(ranks, full), [0.025, 0.5, 0.975]) if methods > 1 else (np.nan,) * 3
    return Stability(
        pd.Series(full, index=table.columns),
        pd.DataFrame(counts, index=table.columns, columns=list(range(1, methods + 1))),
        pd.Series((ranks == 1).mean(axis=0), index=table.columns),
        Taus(float(low), float(median), float(high)),
        len(drawn),
    )


def _taus(ranks: NDArray[np.int_], full: NDArray[np.int_]) -> NDArray[np.float64]:
    """Kendall's tau-b of each row of ranks with the full ranking; 0 for a row that ties all methods."""
    first, second = np.triu_indices(len(full), k=1)
    order = np.sign(ranks[:, first] - ranks[:, second])
    wanted = np.sign(full[first] - full[second])
    scale = np.sqrt((order != 0).sum(axis=1) * (wanted != 0).sum())
    return np.asarray(np.where(scale > 0, (order @ wanted) / np.maximum(scale, 1), 0.0))
