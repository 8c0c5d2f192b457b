"""Scores by a column of the patients: one row per group and method, and one per pair of sites."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from harness.evaluation import METRICS, Metric
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.p_values import starred_p
from harness.report.analysis.patients.columns import ColumnView, OutOfHouse, SitePair
from harness.report.tables.cells import interval_text, limitations, provenance
from harness.report.tables.table import NO_VALUE, Column, CsvFile, Row, Table, TableCell, TableKind, flat_record
from harness.statistics.groups import GroupMean

_PLACE = ("dataset", "column", "metric", "region", "method")


def _column_tables(study: StudyAnalysis, view: DatasetView) -> Iterator[Table]:
    """One table per column and metric; where sites train in turn, one of their pairs and one of what it changes."""
    for one in view.columns:
        for name in study.results.metrics:
            metric = METRICS.get(name)
            if (name, view.main) in one.means:
                yield _groups(study, view, one, metric)
            if one.pairs.get(name):
                yield _pairs(study, view, one, metric)
            if one.out_of_house.get(name):
                yield _out_of_house(study, view, one, metric)


def _groups(study: StudyAnalysis, view: DatasetView, one: ColumnView, metric: Metric) -> Table:
    shown = [region for region in view.shown if (metric.name, region) in one.means]
    by_place = {
        (found.group, found.method, region): found for region in shown for found in one.means[metric.name, region]
    }
    main = one.means[metric.name, view.main]
    held_out = ", each tested by networks trained on the others alone" if one.held_out else ""
    return Table(
        kind=f"column-{one.column}-{metric.name}",
        dataset=view.name,
        title=f"{view.title}: {metric.title} by {one.column}",
        caption=(
            f"{metric.title} by {one.column}{held_out}: {view.title}.",
            "Mean over the group's patients [95 % interval]; difference: the group minus all other patients, mean over "
            "regions where there are several.",
            *limitations(study, view),
        ),
        row_header=(one.column, "Variant"),
        columns=(
            Column("", "patients"),
            *(Column(metric.heading_with_arrow, region, metric.name, region) for region in shown),
            Column("against the others", "difference"),
            Column("against the others", "p (Holm)"),
        ),
        rows=tuple(
            Row(
                (found.group, found.method),
                (
                    TableCell(str(found.n_patients), sort=found.n_patients),
                    *(_mean(by_place.get((found.group, found.method, region)), metric) for region in shown),
                    *_difference(found, metric),
                ),
            )
            for found in main
        ),
        notes=(
            "Difference with Welch's interval; p: permutation of which patients are the group, two-sided, after Holm "
            "over groups and variants. A group may be harder in itself: a difference need not come from the network. "
            "No interval of a mean stands on fewer than 6 patients.",
            *provenance(view),
        ),
    )


def _mean(found: GroupMean | SitePair | None, metric: Metric) -> TableCell:
    if found is None:
        return NO_VALUE
    return TableCell(metric.text(found.mean), span=interval_text(metric, found.mean_interval), sort=found.mean)


def _difference(found: GroupMean, metric: Metric) -> Iterator[TableCell]:
    if found.p_holm is None:
        yield from (NO_VALUE, NO_VALUE)
        return
    span = interval_text(metric, found.difference_interval, signed=True)
    yield TableCell(metric.signed(found.difference), span=span, sort=found.difference)
    yield TableCell(starred_p(found.p_holm) if found.can_tell else "too few", sort=found.p_holm)


def _pairs(study: StudyAnalysis, view: DatasetView, one: ColumnView, metric: Metric) -> Table:
    return Table(
        kind=f"column-{one.column}-pairs-{metric.name}",
        dataset=view.name,
        title=f"{view.title}: {metric.title} by the {one.column} that trained and the one tested",
        caption=(
            f"{metric.title}{_over(view)} of networks trained at one {one.column} and tested at each: {view.title}.",
            "Mean over patients [95 % interval]. At its own site, a network is tested on patients held out there.",
            *limitations(study, view),
        ),
        row_header=("Variant", "Trained at", "Tested at"),
        columns=(Column("", "patients"), Column("", metric.heading_with_arrow, metric.name, view.main)),
        rows=tuple(
            Row(
                (pair.method, pair.trained, pair.tested),
                (TableCell(str(pair.n_patients), sort=pair.n_patients), _mean(pair, metric)),
            )
            for pair in one.pairs[metric.name]
        ),
        notes=(
            "In all other tables a patient's score is the mean over the networks of all sites that tested the patient.",
            *provenance(view),
        ),
    )


def _out_of_house(study: StudyAnalysis, view: DatasetView, one: ColumnView, metric: Metric) -> Table:
    found = one.out_of_house[metric.name]
    return Table(
        kind=f"column-{one.column}-out-{metric.name}",
        dataset=view.name,
        title=f"{view.title}: {metric.title} of networks of another {one.column}",
        caption=(
            f"What it changes to train at another {one.column}, {metric.title}{_over(view)}: {view.title}.",
            f"Networks of the others minus the own one's, on the {found[0].n_patients} patients that were tested both "
            "ways; mean difference [95 % interval].",
            *limitations(study, view),
        ),
        row_header=("Variant",),
        columns=(Column("", "patients"), Column("", "difference"), Column("", "p (Holm)")),
        rows=tuple(Row((each.method,), tuple(_changes(each, metric))) for each in found),
        notes=(
            *((f"{found[0].untested}.",) if found[0].untested else ("p: signed-rank test, Holm over variants.",)),
            *provenance(view),
        ),
    )


def _changes(found: OutOfHouse, metric: Metric) -> Iterator[TableCell]:
    comparison = found.comparison
    yield TableCell(str(found.n_patients), sort=found.n_patients)
    span = interval_text(metric, comparison.mean_interval, signed=True)
    yield TableCell(metric.signed(comparison.mean_difference), span=span, sort=comparison.mean_difference)
    yield NO_VALUE if comparison.p_holm is None else TableCell(starred_p(comparison.p_holm), sort=comparison.p_holm)


def _over(view: DatasetView) -> str:
    return ", mean over regions," if len(view.regions) > 1 else ""


def _group_records(study: StudyAnalysis) -> Iterator[dict[str, Any]]:
    for view in study.views.values():
        for one in view.columns:
            for (metric, region), means in one.means.items():
                place = {"dataset": view.name, "column": one.column, "metric": metric, "region": region}
                yield from (place | flat_record(asdict(found)) for found in means)


def _pair_records(study: StudyAnalysis) -> Iterator[dict[str, Any]]:
    for view in study.views.values():
        for one in view.columns:
            for metric, pairs in one.pairs.items():
                place = {"dataset": view.name, "column": one.column, "metric": metric, "region": view.main}
                yield from (place | flat_record(asdict(pair)) for pair in pairs)


_GROUP = ("group", "n_patients", "n_others", "mean", "mean_low", "mean_high", "difference", "difference_low")
_PAIR = ("trained", "tested", "n_patients", "mean", "mean_low", "mean_high")

COLUMNS = TableKind(
    _column_tables,
    csv=(
        CsvFile(
            "column_groups",
            (*_PLACE, *_GROUP, "difference_high", "p", "p_holm", "can_tell"),
            _group_records,
            optional=True,
        ),
        CsvFile("column_pairs", (*_PLACE, *_PAIR), _pair_records, optional=True),
    ),
)
