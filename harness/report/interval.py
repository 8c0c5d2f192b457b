"""Bootstrap intervals of a mean over patients."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import bootstrap

from harness.report.refusal import MIN_PATIENTS

__all__ = ["Interval", "mean_interval", "of_patients", "paired_cases"]

_RESAMPLES = 2000


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


def of_patients(cases: pd.DataFrame, column: str = "value") -> NDArray[np.float64]:
    """One value a patient: the mean over its cases, in a fixed order."""
    return cases.groupby("patient", sort=True)[column].mean().to_numpy(dtype=float)


def mean_interval(values: NDArray[np.float64]) -> Interval | None:
    """BCa bootstrap interval of the mean of patients' values (:func:`scipy.stats.bootstrap`, 2,000 resamples).

    Returns:
        The interval, or ``None`` for fewer patients than :data:`harness.report.refusal.MIN_PATIENTS`. Values that are
        all equal give an interval of no width.
    """
    if len(values) < MIN_PATIENTS:
        return None
    if np.ptp(values) == 0:
        return Interval(float(values[0]), float(values[0]))
    # A fixed seed: the same results must give the same report.
    found = bootstrap((values,), np.mean, n_resamples=_RESAMPLES, method="BCa", rng=np.random.default_rng(0), batch=200)
    return Interval(float(found.confidence_interval.low), float(found.confidence_interval.high))


def paired_cases(cases: pd.DataFrame, delta: pd.Series) -> pd.DataFrame:
    """The differences behind one row of :func:`harness.report.summary.differences`: columns ``patient, value``."""
    same = (cases["dataset"] == delta["dataset"]) & (cases["metric"] == delta["metric"])
    here: pd.DataFrame = cases[same & (cases["region"] == delta["region"])]
    mine = here[(here["label"] == delta["label"]) & (here["leading"] == delta["leading"])]
    theirs = here[(here["label"] == delta["reference"]) & (here["leading"] == delta["reference_leading"])]
    pairs = mine.merge(theirs, on=["patient", "case"], suffixes=("", "_reference"), validate="one_to_one")
    differences: pd.DataFrame = pairs.assign(value=pairs["value"] - pairs["value_reference"])
    return differences[["patient", "value"]]
