"""Scores by a column of the patients: each group beside the others, and sites that trained beside sites that did not.

A column is personal data. It is here only where the study or the command line names it, never in what is published.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.evaluation import METRICS
from harness.report.analysis.patients.grouping import group_patients
from harness.results.schema import StudyResults
from harness.statistics.analysis import Analysis
from harness.statistics.bootstrap import Interval, mean_intervals
from harness.statistics.comparisons import Comparison, compare, one_sided_p
from harness.statistics.groups import GroupMean, group_means
from harness.statistics.patients import NothingCounts, build_grid, patient_table
from harness.statistics.sample_size import refusal

#: Names of the two columns of scores that are compared where sites train in turn.
INSIDE, OUTSIDE = "trained at the patient's own", "trained at another"


@dataclass(frozen=True)
class SitePair:
    """A method that was trained on the patients of one group and tested on those of one.

    Attributes:
        method: Name of the method.
        trained: Group that it was trained on.
        tested: Group that it was tested on.
        n_patients: Patients tested.
        mean: Mean over them.
        mean_interval: BCa interval of it; ``None`` for too few patients.
    """

    method: str
    trained: str
    tested: str
    n_patients: int
    mean: float
    mean_interval: Interval | None


@dataclass(frozen=True)
class OutOfHouse:
    """What training at another site changes, on patients that were tested both ways.

    Attributes:
        method: Name of the method.
        n_patients: These patients.
        comparison: Mean over the other sites' networks minus the own site's, patient by patient; Holm over methods.
        untested: Why the patients cannot carry the test; ``None`` where they can.
    """

    method: str
    n_patients: int
    comparison: Comparison
    untested: str | None


@dataclass(frozen=True)
class ColumnView:
    """Scores of one dataset by one column.

    Attributes:
        column: Name of the column.
        groups: Its groups, in order.
        held_out: Whether each group was tested by networks that were trained on the others alone.
        means: By metric and region; where folds are pairs of the column's groups, of networks trained on other groups,
            and of the region that stands for all.
        pairs: By metric, of the region that stands for all: each group that trained and each that was tested.
        out_of_house: By metric: the same in one difference per method.
    """

    column: str
    groups: tuple[str, ...]
    held_out: bool
    means: Mapping[tuple[str, str], tuple[GroupMean, ...]]
    pairs: Mapping[str, tuple[SitePair, ...]]
    out_of_house: Mapping[str, tuple[OutOfHouse, ...]]


def column_views(
    results: StudyResults,
    dataset: str,
    rows: Mapping[str, pd.DataFrame],
    analyses: Mapping[tuple[str, str], Analysis],
    main: str,
) -> tuple[ColumnView, ...]:
    """Returns the scores of a dataset by each column that was asked for.

    Args:
        results: The study.
        dataset: Name of the dataset.
        rows: Its rows by metric, with column ``method``.
        analyses: By metric and region.
        main: Region that stands for all.

    Raises:
        DataError: A column has too many values to be groups.
    """
    return tuple(
        _view(results, dataset, column, values, rows, analyses, main)
        for column, values in results.columns.get(dataset, {}).items()
    )


def _view(
    results: StudyResults,
    dataset: str,
    column: str,
    values: Mapping[str, str],
    rows: Mapping[str, pd.DataFrame],
    analyses: Mapping[tuple[str, str], Analysis],
    main: str,
) -> ColumnView:
    cells = results.cells.loc[results.cells["dataset"] == dataset, "cell"]
    kinds = {results.designs[cell].kind_by(column) if cell in results.designs else "" for cell in cells}
    groups, group_of = group_patients(column, values, by_value=kinds != {""})
    if kinds != {"pairs"}:
        means = {place: tuple(group_means(one.table, group_of, groups)) for place, one in analyses.items() if _has(one)}
        return ColumnView(column, groups, kinds == {"leave-one-out"}, means, {}, {})
    sites = sorted(set(values.values()))  # fold numbers count them, as the split does
    pairs, out_of_house, outside = {}, {}, {}
    for metric, mine in rows.items():
        if (analysis := analyses.get((metric, main))) is not None and _has(analysis):
            tables = dict(_by_fold(mine, dataset, analysis, sites))
            pairs[metric] = tuple(_pairs(tables, values))
            out_of_house[metric] = tuple(_out_of_house(tables, values, metric))
            away = pd.DataFrame(
                {name: _both_ways(tables, values, name)[OUTSIDE] for name in map(str, analysis.table)}
            ).dropna()
            if len(away):
                outside[metric, main] = tuple(group_means(away, values, sites))
    return ColumnView(column, tuple(sites), True, outside, pairs, out_of_house)


def _has(analysis: Analysis) -> bool:
    return bool(len(analysis.table.columns) and len(analysis.table))


def _by_fold(
    rows: pd.DataFrame, dataset: str, analysis: Analysis, sites: list[str]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yields the site that trained, and patients x methods, for the methods that have every result."""
    rows = rows[rows["method"].isin(list(analysis.table.columns))]
    for fold, part in rows.groupby("fold", observed=True):
        try:
            table = patient_table(build_grid(part, dataset, analysis.metric), analysis.region).values
        except NothingCounts:
            continue
        yield sites[int(str(fold))], table[[name for name in analysis.table.columns if name in table]]


def _pairs(tables: Mapping[str, pd.DataFrame], site_of: Mapping[str, str]) -> Iterator[SitePair]:
    for trained, table in tables.items():
        sites = pd.Series([site_of[str(patient)] for patient in table.index], table.index)
        for tested in sorted(set(sites)):
            values = table[sites == tested].to_numpy(dtype=float)
            intervals = mean_intervals(values)
            for number, method in enumerate(table.columns):
                yield SitePair(
                    str(method), trained, tested, len(values), float(values[:, number].mean()), intervals[number]
                )


def _out_of_house(tables: Mapping[str, pd.DataFrame], site_of: Mapping[str, str], metric: str) -> Iterator[OutOfHouse]:
    """Compares networks of other sites with that of the own one; the methods are one family."""
    methods = list(dict.fromkeys(str(name) for table in tables.values() for name in table.columns))
    both = {method: _both_ways(tables, site_of, method) for method in methods}
    both = {method: table.dropna() for method, table in both.items() if len(table.dropna())}
    higher = METRICS.get(metric).higher_is_better
    wide = {
        method: pd.DataFrame({f"{method}|{way}": table[way] for way in (INSIDE, OUTSIDE)})
        for method, table in both.items()
    }
    if not wide:
        return
    joined = pd.concat(wide.values(), axis=1).dropna()
    if joined.empty:
        return
    untested = refusal(len(joined), len(wide))
    references = {f"{method}|{OUTSIDE}": f"{method}|{INSIDE}" for method in wide}
    one_sided = None if untested else one_sided_p(joined, higher_is_better=higher)
    for method, comparison in zip(
        wide, compare(joined, references, higher_is_better=higher, one_sided=one_sided), strict=True
    ):
        yield OutOfHouse(method, len(joined), comparison, untested)


def _both_ways(tables: Mapping[str, pd.DataFrame], site_of: Mapping[str, str], method: str) -> pd.DataFrame:
    """Returns patients x (network of the own site, mean over those of the others); NaN where one did not test them."""
    columns = {site: table[method] for site, table in tables.items() if method in table}
    scores = pd.DataFrame(columns)
    own = pd.Series([site_of[str(patient)] for patient in scores.index], scores.index)
    inside = pd.Series(
        [scores.at[patient, site] if site in scores else np.nan for patient, site in own.items()], scores.index
    )
    others = scores.apply(lambda column: column.where(own != column.name))
    return pd.DataFrame({INSIDE: inside, OUTSIDE: others.mean(axis=1)})
