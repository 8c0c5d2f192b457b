"""Whether the data at hand can tell methods apart, how small a difference they show, and how many patients it takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.results.schema import StudyResults
from harness.statistics.analysis import Analysis
from harness.statistics.comparisons import Comparison
from harness.statistics.power import Chances, chances_of, least_difference, patients_for, power_of
from harness.statistics.sample_size import ALPHA

#: Fewer patients than this give no estimate of power.
LEAST_PATIENTS = 12

Finding = Literal["better", "worse", "cannot tell", "not tested"]


@dataclass(frozen=True)
class Spread:
    """Standard deviations of a metric, so that one may be seen beside the other; NaN where there is only one value.

    Attributes:
        methods: Between the means of the methods.
        seeds: Between the means of the seeds of a method.
        folds: Between the means of the folds of a method.
        folds_by_chance: What folds would differ by if they differed by their patients alone.
        patients: Between the patients of a method.
        differences: Between the patients' differences of a method to its reference.
    """

    methods: float
    seeds: float
    folds: float
    folds_by_chance: float
    patients: float
    differences: float


@dataclass(frozen=True)
class Resolution:
    """What the data say of one method and its reference.

    Attributes:
        comparison: The comparison.
        finding: Whether the method is better, worse, or cannot be told from the reference, after correction.
        chances: What the test goes by, from the patients' differences.
        least: Least difference, the same for every patient, that so many patients show in 80 % of studies.
        power: Chance that a study of so many patients shows the difference that was observed.
        patients: Patients that show it in 80 % of studies; None for more than a million.
        patients_range: The same at both ends of the interval of the mean difference: fewest, and most (None where the
            interval holds no difference at all).
    """

    comparison: Comparison
    finding: Finding
    chances: Chances
    least: float | None
    power: float
    patients: int | None
    patients_range: tuple[int | None, int | None]


@dataclass(frozen=True)
class Verdict:
    """What one dataset can show in one metric, over the mean over regions.

    Attributes:
        metric: Name of the metric.
        patients: Number of patients.
        alpha: Level of a single test: :data:`~harness.statistics.sample_size.ALPHA` over the number of comparisons.
        spread: Standard deviations.
        resolutions: One per comparison with a reference.
    """

    metric: str
    patients: int
    alpha: float
    spread: Spread
    resolutions: tuple[Resolution, ...]


def verdict_of(results: StudyResults, analysis: Analysis) -> Verdict | None:
    """Returns what a dataset can show in a metric; None where nothing is compared or patients are too few.

    Args:
        results: The results, for the folds of the cases.
        analysis: Statistics of the dataset, the metric and the mean over regions.
    """
    if not analysis.comparisons or len(analysis.table) < LEAST_PATIENTS:
        return None
    alpha = ALPHA / len(analysis.comparisons)
    resolutions = [
        _resolution(analysis, comparison, alpha)
        for comparison in analysis.comparisons
        if np.ptp(_differences(analysis, comparison)) > 0
    ]
    if not resolutions:
        return None
    return Verdict(analysis.metric, len(analysis.table), alpha, _spread(results, analysis), tuple(resolutions))


def _differences(analysis: Analysis, comparison: Comparison) -> NDArray[np.float64]:
    return (analysis.table[comparison.method] - analysis.table[comparison.reference]).to_numpy(dtype=float)


def _resolution(analysis: Analysis, comparison: Comparison, alpha: float) -> Resolution:
    differences = _differences(analysis, comparison)
    count, chances = len(differences), chances_of(differences)
    return Resolution(
        comparison=comparison,
        finding=_finding(analysis, comparison, chances),
        chances=chances,
        least=least_difference(differences, alpha=alpha),
        power=power_of(chances, count, alpha),
        patients=patients_for(chances, alpha=alpha),
        patients_range=_range(differences, comparison, alpha),
    )


def _finding(analysis: Analysis, comparison: Comparison, chances: Chances) -> Finding:
    if comparison.p_holm is None:
        return "not tested"
    if comparison.p_holm >= ALPHA:
        return "cannot tell"
    return "better" if (chances.two > 0.5) == analysis.higher_is_better else "worse"


def _range(differences: NDArray[np.float64], comparison: Comparison, alpha: float) -> tuple[int | None, int | None]:
    """Returns the patients needed if the true mean difference were at the far and at the near end of its interval."""
    if comparison.mean_interval is None:
        return None, None
    shifts = sorted(comparison.mean_interval, key=abs)
    near, far = (
        patients_for(chances_of(differences - comparison.mean_difference + end), alpha=alpha) for end in shifts
    )
    return far, None if comparison.mean_interval.low <= 0 <= comparison.mean_interval.high else near


def _spread(results: StudyResults, analysis: Analysis) -> Spread:
    summaries = [analysis.summaries[str(name)] for name in analysis.table]
    folds, by_chance = _folds(results, analysis)
    return Spread(
        methods=_sd([one.mean for one in summaries]),
        seeds=_pooled([one.seed_sd for one in summaries]),
        folds=folds,
        folds_by_chance=by_chance,
        patients=_pooled([one.sd for one in summaries]),
        differences=_pooled([_sd(_differences(analysis, one)) for one in analysis.comparisons]),
    )


def _folds(results: StudyResults, analysis: Analysis) -> tuple[float, float]:
    """Returns the SD between the means of folds, pooled over methods, and what patients alone would make of it.

    NaN where a case was tested in several folds, or there is one fold.
    """
    rows = results.cases.loc[
        results.cases["dataset"] == analysis.dataset, ["patient", "case", "fold"]
    ].drop_duplicates()
    place = pd.MultiIndex.from_frame(rows[["patient", "case"]].astype(str))
    if place.has_duplicates or rows["fold"].nunique() < 2:
        return math.nan, math.nan
    fold = pd.Series(rows["fold"].to_numpy(), index=place)
    names = analysis.by_case.index
    own = fold.reindex(pd.MultiIndex.from_arrays([names.get_level_values(n).astype(str) for n in range(2)])).to_numpy()
    table = analysis.by_case[list(analysis.table)].groupby(own)
    sizes, variances = table.size().to_numpy(dtype=float), table.var(ddof=1).to_numpy(dtype=float)
    if (sizes < 2).any():
        return math.nan, math.nan
    means = table.mean().to_numpy(dtype=float)
    found = _pooled([_sd(means[:, number]) for number in range(means.shape[1])])
    return found, float(np.sqrt((variances / sizes[:, None]).mean()))


def _sd(values: Sequence[float] | NDArray[np.float64]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def _pooled(sds: Sequence[float]) -> float:
    """Returns the root of the mean variance of those that are known."""
    known = [sd**2 for sd in sds if math.isfinite(sd)]
    return math.sqrt(sum(known) / len(known)) if known else math.nan
