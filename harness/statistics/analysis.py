"""Everything said about the methods on one dataset, metric and region."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from harness.errors import DataError
from harness.statistics.comparability import why_not_comparable
from harness.statistics.comparisons import Comparison, Friedman, compare, directed_p, friedman, pairwise_p
from harness.statistics.floors import refusal
from harness.statistics.intervals import RESAMPLES, Interval, few_patients, mean_intervals, median_intervals
from harness.statistics.patients import MEAN_REGION, Grid, Patients, build_grid, method_names, patient_table
from harness.statistics.rankings import AGGREGATE, Ranking, rank
from harness.statistics.seeds import Spread, seed_spread
from harness.statistics.stability import Stability, stability

__all__ = ["Across", "Analysis", "Summary", "across_datasets", "analyse", "analyse_all"]


@dataclass(frozen=True)
class Summary:
    """One method over patients.

    Attributes:
        n: Patients.
        mean: Mean over patients.
        mean_interval: BCa interval of it; ``None`` for one patient.
        median: Median over patients.
        median_interval: Percentile interval of it; ``None`` for one patient.
        q1: Lower quartile.
        q3: Upper quartile.
        spread: SD between patients and between seeds.
    """

    n: int
    mean: float
    mean_interval: Interval | None
    median: float
    median_interval: Interval | None
    q1: float
    q3: float
    spread: Spread


@dataclass(frozen=True)
class Analysis:
    """The statistics of one dataset, metric and region.

    Attributes:
        dataset: Dataset name.
        metric: Metric name.
        region: Region, or ``Mean`` for the mean over regions.
        higher_is_better: Direction of the metric.
        table: Patients x methods.
        summaries: By method.
        excluded: Why a method has no column, by method.
        refusals: What was not computed, and why; printed by the report.
        caveats: What the reader of the numbers must know.
        comparisons: Other methods against the reference; empty without one or where methods may not be compared.
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
    summaries: Mapping[str, Summary]
    excluded: Mapping[str, str]
    refusals: tuple[str, ...]
    caveats: tuple[str, ...]
    comparisons: tuple[Comparison, ...] = ()
    omnibus: Friedman | None = None
    pairwise: pd.DataFrame | None = None
    directed: pd.DataFrame | None = None
    ranking: Ranking | None = None
    stability: Stability | None = None


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
    cases: pd.DataFrame,
    cells: pd.DataFrame,
    reference: str | None,
    metric: str,
    region: str = MEAN_REGION,
    *,
    dataset: str,
    higher_is_better: bool,
    regions: Sequence[str] | None = None,
    allow_mixed: bool = False,
    resamples: int = RESAMPLES,
) -> Analysis:
    """Analyses one dataset, metric and region.

    Args:
        cases: Per-case rows of the results store (any datasets and metrics).
        cells: One row a cell.
        reference: Method the others are compared with; ``None`` for none.
        metric: Metric.
        region: Region, or ``Mean`` for the mean over regions within a case.
        dataset: Dataset.
        higher_is_better: Direction of the metric.
        regions: Regions of the mean; all by default.
        allow_mixed: Rank methods trained under different conditions; the reasons against it become caveats.
        resamples: Bootstrap resamples of the intervals.

    Raises:
        DataError: Rows are absent, without a value or there twice, or the region or the reference is not known.
    """
    rows = cases[(cases["dataset"] == dataset) & (cases["metric"] == metric)]
    mine = cells[cells["dataset"] == dataset]
    grid = build_grid(rows, dataset, metric)
    return _analyse(grid, mine, reference, region, higher_is_better, regions, allow_mixed, resamples)


def analyse_all(
    cases: pd.DataFrame,
    cells: pd.DataFrame,
    reference: str | None,
    directions: Mapping[str, bool],
    *,
    regions: Mapping[str, Sequence[str]] | None = None,
    allow_mixed: bool = False,
    resamples: int = RESAMPLES,
) -> Iterator[Analysis]:
    """Analyses every dataset, metric and region, reading the rows of each dataset and metric once.

    Args:
        cases: Per-case rows.
        cells: One row a cell.
        reference: Method the others are compared with.
        directions: Whether higher is better, by metric; metrics not named are left out.
        regions: Regions of the mean by dataset; all by default.
        allow_mixed: See :func:`analyse`.
        resamples: See :func:`analyse`.

    Yields:
        The mean over regions first, then each region, by dataset and metric in sorted order.
    """
    for (dataset, metric), rows in cases.groupby(["dataset", "metric"], sort=True, observed=True):
        if metric not in directions:
            continue
        grid = build_grid(rows, str(dataset), str(metric))
        mine = cells[cells["dataset"] == dataset]
        declared = regions.get(str(dataset)) if regions else None
        for region in (MEAN_REGION, *grid.regions):
            yield _analyse(grid, mine, reference, region, directions[str(metric)], declared, allow_mixed, resamples)


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


def _analyse(
    grid: Grid,
    cells: pd.DataFrame,
    reference: str | None,
    region: str,
    higher_is_better: bool,
    regions: Sequence[str] | None,
    allow_mixed: bool,
    resamples: int,
) -> Analysis:
    names = method_names(cells)
    if reference is not None and reference not in {*grid.methods, *names}:
        raise DataError(
            f"Dataset '{grid.dataset}' has no method '{reference}' to compare with.",
            hint=f"Known: {', '.join(grid.methods)}.",
        )
    unfinished = sorted(set(names[cells["status"] != "done"]))
    found = patient_table(grid, region, regions=regions, unfinished=unfinished)
    mixed = why_not_comparable(cells[names.isin(found.values.columns)])
    few = few_patients(len(found.values))
    caveats = [*found.caveats, *([few] if few else []), *(mixed if allow_mixed else [])]
    base = Analysis(
        grid.dataset,
        grid.metric,
        region,
        higher_is_better,
        found.values,
        _summaries(found, resamples),
        found.excluded,
        (),
        tuple(caveats),
    )
    if mixed and not allow_mixed:
        return replace(base, refusals=tuple(f"not ranked, {reason}" for reason in mixed))
    return _compared(base, reference, resamples)


def _summaries(found: Patients, resamples: int) -> dict[str, Summary]:
    table = found.values
    if table.empty:
        return {}
    values = table.to_numpy(dtype=float)
    none: list[Interval | None] = [None] * values.shape[1]
    means = mean_intervals(values, resamples=resamples) if len(values) > 1 else none
    medians = median_intervals(values, resamples=resamples) if len(values) > 1 else none
    quarters = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
    spreads = seed_spread(table, found.by_seed)
    return {
        str(name): Summary(
            len(values),
            float(values[:, number].mean()),
            means[number],
            float(quarters[1, number]),
            medians[number],
            float(quarters[0, number]),
            float(quarters[2, number]),
            spreads[str(name)],
        )
        for number, name in enumerate(table.columns)
    }


def _compared(base: Analysis, reference: str | None, resamples: int) -> Analysis:
    """Adds what needs more than one method and patient, and says what the data cannot carry."""
    table, better = base.table, base.higher_is_better
    patients, methods = table.shape
    if methods < 2:
        return replace(base, refusals=("fewer than two methods have comparable results: nothing to compare",))
    refusals = []
    pairs = methods * (methods - 1) // 2
    against = refusal(patients, methods - 1)
    among = refusal(patients, pairs)
    comparisons: list[Comparison] = []
    if reference is not None and reference not in table:
        refusals.append(f"no comparison with the reference, {base.excluded[reference]}")
    elif reference is not None:
        if against:
            refusals.append(against)
        comparisons = compare(table, reference, higher_is_better=better, tested=against is None, resamples=resamples)
        comparisons = [_beside_seeds(each, base.summaries) for each in comparisons]
    if among and among not in refusals:
        refusals.append(among)
    if patients < 2:
        return replace(base, refusals=(*refusals, "1 patient: no ranking"), comparisons=tuple(comparisons))
    directed = None if among else directed_p(table, higher_is_better=better)
    return replace(
        base,
        refusals=tuple(refusals),
        comparisons=tuple(comparisons),
        omnibus=None if among else friedman(table),
        pairwise=None if among else pairwise_p(table),
        directed=directed,
        ranking=rank(table, higher_is_better=better, directed=directed),
        stability=stability(table, higher_is_better=better),
    )


def _beside_seeds(comparison: Comparison, summaries: Mapping[str, Summary]) -> Comparison:
    mine, theirs = (summaries[name].spread for name in (comparison.method, comparison.reference))
    return replace(comparison, within_seeds=mine.ties_with(theirs, comparison.mean_difference))
