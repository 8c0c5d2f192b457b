"""Everything said about the methods on one dataset, metric and region."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.errors import DataError
from harness.statistics.bootstrap import (
    RESAMPLES,
    Interval,
    bootstrap_means,
    few_patients,
    mean_intervals,
    median_intervals,
)
from harness.statistics.comparisons import (
    Comparison,
    Friedman,
    compare,
    directed_p,
    friedman,
    one_sided_p,
    pairwise_p,
)
from harness.statistics.patients import MEAN_REGION, Grid, Patients, patient_table
from harness.statistics.rankings import AGGREGATE, Ranking, rank
from harness.statistics.sample_size import refusal
from harness.statistics.stability import Stability, stability


@dataclass(frozen=True)
class Summary:
    """One method over patients; over the cases of the patient where there is one patient.

    Attributes:
        n_patients: Patients.
        n_cases: Cases.
        n_results: Results: cases times the seeds they were tested with.
        n_expected: Results that the finished methods have between them.
        n_missing: Results without a prediction, which count as worst.
        n_empty: Results whose value the policy for empty regions set.
        complete: The method has every result, so it may be compared.
        mean: Mean.
        sd: Standard deviation between patients; NaN for one value and beside an infinite one.
        mean_interval: BCa interval of the mean over patients; ``None`` for too few patients.
        median: Median.
        median_interval: Percentile interval of it; ``None`` for too few patients.
        q1: Lower quartile.
        q3: Upper quartile.
        mean_scored: Mean over patients of results in which truth and prediction both show the region; NaN for none.
        seed_sd: SD between the seeds' means over patients; NaN for one seed.
        n_seeds: Seeds that were run on every case.
    """

    n_patients: int
    n_cases: int
    n_results: int
    n_expected: int
    n_missing: int
    n_empty: int
    complete: bool
    mean: float
    sd: float
    mean_interval: Interval | None
    median: float
    median_interval: Interval | None
    q1: float
    q3: float
    mean_scored: float
    seed_sd: float
    n_seeds: int


@dataclass(frozen=True)
class Analysis:
    """The statistics of one dataset, metric and region.

    Attributes:
        dataset: Dataset name.
        metric: Metric name.
        region: Region, or ``Mean`` for the mean over regions.
        higher_is_better: Direction of the metric.
        table: Patients x methods that may be compared.
        by_case: Cases x methods with results, seeds averaged; the index is patient and case.
        summaries: By method, those that lack results included.
        excluded: Why a method is not in the table, by method.
        untested: Why the patients cannot carry the tests against the references (of all pairs, where there are none);
            ``None`` where they can.
        refusals: What was not computed, and why; printed by the report.
        caveats: What the reader of the numbers must know.
        comparisons: Methods against their references; empty where there are none or they may not be compared.
        omnibus: Friedman's test; ``None`` where not made.
        pairwise: Two-sided p of all pairs after Holm; ``None`` where the data cannot carry it.
        directed: One-sided p that the row beats the column after Holm; ``None`` where the data cannot carry it.
        ranking: Three rankings; ``None`` where methods may not be ranked.
        stability: Ranks under resampling of patients; ``None`` where methods may not be ranked.
    """

    dataset: str
    metric: str
    region: str
    higher_is_better: bool
    table: pd.DataFrame
    by_case: pd.DataFrame
    summaries: Mapping[str, Summary]
    excluded: Mapping[str, str]
    untested: str | None
    refusals: tuple[str, ...]
    caveats: tuple[str, ...]
    comparisons: tuple[Comparison, ...] = ()
    omnibus: Friedman | None = None
    pairwise: pd.DataFrame | None = None
    directed: pd.DataFrame | None = None
    ranking: Ranking | None = None
    stability: Stability | None = None


#: In the place of two intervals, where there are none.
_NO_ENDS: tuple[Interval | None, Interval | None] = (None, None)


@dataclass(frozen=True)
class Across:
    """Ranks across datasets, described and never tested where the datasets are few.

    Attributes:
        ranks: Methods x datasets, rank by mean.
        mean_ranks: Mean over datasets.
        refusal: Why no test is made over datasets; ``None`` where there are enough.
    """

    ranks: pd.DataFrame
    mean_ranks: pd.Series[float]
    refusal: str | None


def analyse(
    grid: Grid,
    region: str = MEAN_REGION,
    *,
    higher_is_better: bool,
    references: Mapping[str, str] | None = None,
    regions: Sequence[str] | None = None,
    unfinished: Collection[str] = (),
    unranked: Collection[str] = (),
    unlike: Sequence[str] = (),
    allow_mixed: bool = False,
    resamples: int = RESAMPLES,
) -> Analysis:
    """Analyses one dataset, metric and region.

    Args:
        grid: Results, see :func:`harness.statistics.patients.build_grid`.
        region: Region, or ``Mean`` for the mean over regions within a case.
        higher_is_better: Direction of the metric.
        references: Reference of each method that is to be compared with one.
        regions: Regions of the mean; all by default.
        unfinished: Methods with a cell that failed or has not finished.
        unranked: Methods that have summaries, but no part in tests and rankings.
        unlike: Why the methods may not be ranked together, see
            :func:`harness.statistics.comparability.reasons_not_comparable`.
        allow_mixed: Rank them all the same; the reasons become caveats.
        resamples: Bootstrap resamples of the intervals.

    Raises:
        DataError: The region has no results, or a reference is not known.
    """
    known = {*grid.methods, *unfinished}
    for reference in dict.fromkeys((references or {}).values()):
        if reference not in known:
            raise DataError(
                f"Dataset '{grid.dataset}' has no method '{reference}' to compare with.",
                hint=f"Known: {', '.join(sorted(known))}.",
            )
    found = patient_table(grid, region, regions=regions, unfinished=unfinished)
    few = few_patients(len(found.values))
    caveats = [*found.caveats, *([few] if few else []), *(unlike if allow_mixed else [])]
    values = found.values.to_numpy(dtype=float)
    means = bootstrap_means(values, resamples=resamples) if len(values) > 1 else None
    ranked = ~found.values.columns.isin(list(unranked))
    table = found.values.loc[:, ranked]
    base = Analysis(
        grid.dataset,
        grid.metric,
        region,
        higher_is_better,
        table,
        found.by_case,
        summaries_of(found, means),
        {**{name: f"{name} is ranked apart" for name in unranked}, **found.excluded},
        _untested(table, references or {}),
        (),
        tuple(caveats),
    )
    if unlike and not allow_mixed:
        return replace(base, refusals=tuple(f"not ranked, {reason}" for reason in unlike))
    return _compared(base, references or {}, None if means is None else means[:, ranked])


def across_datasets(analyses: Sequence[Analysis]) -> Across:
    """Ranks of the methods that every dataset ranks; one analysis a dataset, all of one metric.

    Raises:
        DataError: A dataset is there twice, or none of them ranks its methods.
    """
    names = [each.dataset for each in analyses]
    if len(set(names)) != len(names):
        raise DataError("Ranks across datasets need one analysis a dataset.", hint="Choose one metric and region.")
    ranked = {each.dataset: each.ranking.ranks[AGGREGATE] for each in analyses if each.ranking is not None}
    if not ranked:
        raise DataError("No dataset ranks its methods.", hint="The analyses say why in their refusals.")
    columns = pd.DataFrame(ranked).dropna().sort_index()
    # Ranks among the methods that all datasets have, not among those of each.
    ranks = columns.rank(axis=0)
    return Across(ranks, ranks.mean(axis=1), refusal(len(ranked), max(1, len(ranks) - 1), unit="dataset"))


def summaries_of(found: Patients, means: NDArray[np.float64] | None = None) -> dict[str, Summary]:
    """Summaries of all methods with results.

    Args:
        found: One value per patient and method.
        means: Bootstrap means of ``found.values``; drawn here by default.
    """
    complete = found.values.columns
    ends: dict[object, tuple[Interval | None, Interval | None]] = {}
    if len(complete) and len(found.values):
        values = found.values.to_numpy(dtype=float)
        pairs = zip(mean_intervals(values, means=means), median_intervals(values), strict=True)
        ends = dict(zip(complete, pairs, strict=True))
    everything = [
        (str(name), column)
        for table in (found.values, found.partial)
        for name, column in zip(table.columns, table.to_numpy(dtype=float).T, strict=True)
    ]
    cases = dict(zip(found.by_case.columns, found.by_case.to_numpy(dtype=float).T, strict=True))
    seeds = dict(zip(found.by_seed.index, found.by_seed.to_numpy(dtype=float), strict=True))
    return {
        name: _summary(found, name, _there(column), _there(cases[name]), _there(seeds[name]), ends.get(name, _NO_ENDS))
        for name, column in everything
        if not np.isnan(column).all()
    }


def _there(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values that are there, side by side in memory."""
    return values[~np.isnan(values)]


def _summary(
    found: Patients,
    name: str,
    patients: NDArray[np.float64],
    cases: NDArray[np.float64],
    seeds: NDArray[np.float64],
    ends: tuple[Interval | None, Interval | None],
) -> Summary:
    values = patients if len(patients) > 1 else cases
    q1, median, q3 = (float(each) for each in np.quantile(values, [0.25, 0.5, 0.75]))
    counts = found.counts[name]
    return Summary(
        n_patients=len(patients),
        n_cases=len(cases),
        n_results=counts.results,
        n_expected=counts.expected,
        n_missing=counts.missing,
        n_empty=counts.empty,
        complete=name not in found.excluded,
        mean=float(values.mean()),
        sd=_sd(values),
        mean_interval=ends[0],
        median=median,
        median_interval=ends[1],
        q1=q1,
        q3=q3,
        mean_scored=counts.mean_scored,
        seed_sd=_sd(seeds),
        n_seeds=len(seeds),
    )


def _sd(values: NDArray[np.floating[Any]]) -> float:
    """NaN for one value, and beside an infinite one."""
    return float(values.std(ddof=1)) if len(values) > 1 and np.isfinite(values).all() else np.nan


def _compared(base: Analysis, references: Mapping[str, str], means: NDArray[np.float64] | None) -> Analysis:
    """Adds what needs more than one method and patient, and says what the data cannot carry."""
    table, better = base.table, base.higher_is_better
    patients, methods = table.shape
    if methods < 2:
        return replace(base, refusals=("fewer than two methods have comparable results: nothing to compare",))
    pairs = _pairs(table, references)
    lost = sorted({reference for reference in references.values() if reference not in table})
    refusals = [f"no comparison with the reference, {base.excluded[each]}" for each in lost]
    against = refusal(patients, len(pairs)) if pairs else None
    every = methods * (methods - 1) // 2
    among = refusal(patients, every, which="of all pairs" if pairs and len(pairs) != every else "")
    refusals += dict.fromkeys(each for each in (against, among) if each)
    one_sided = None if among and (against or not pairs) else one_sided_p(table, higher_is_better=better)
    comparisons = compare(table, pairs, higher_is_better=better, means=means, one_sided=None if against else one_sided)
    base = replace(
        base,
        refusals=tuple(refusals),
        comparisons=tuple(_beside_seeds(each, base.summaries) for each in comparisons),
    )
    if patients < 2:
        return replace(base, refusals=(*refusals, "1 patient: no ranking"))
    tested = None if among else one_sided
    directed = None if tested is None else directed_p(tested)
    return replace(
        base,
        omnibus=None if tested is None else friedman(table),
        pairwise=None if tested is None else pairwise_p(tested),
        directed=directed,
        ranking=rank(table, higher_is_better=better, directed=directed),
        stability=stability(table, higher_is_better=better, means=means),
    )


def _pairs(table: pd.DataFrame, references: Mapping[str, str]) -> dict[str, str]:
    """Methods and references that both may be compared."""
    return {method: reference for method, reference in references.items() if {method, reference} <= set(table)}


def _untested(table: pd.DataFrame, references: Mapping[str, str]) -> str | None:
    patients, methods = table.shape
    return refusal(patients, len(_pairs(table, references)) or max(1, methods * (methods - 1) // 2))


def _beside_seeds(comparison: Comparison, summaries: Mapping[str, Summary]) -> Comparison:
    """Says whether the gap between two means is within the larger of their seed SDs."""
    spreads = [summaries[name].seed_sd for name in (comparison.method, comparison.reference)]
    if np.isnan(spreads).any():
        return comparison
    return replace(comparison, within_seeds=abs(comparison.mean_difference) <= max(spreads))
