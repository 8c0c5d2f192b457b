"""Learning curves as a table: measured points, and what each step brought on the same test patients."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from harness.evaluation import METRICS, Metric
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.p_values import starred_p
from harness.report.analysis.patients.shares import LearningCurves, Point
from harness.report.tables.cells import interval_text, limitations, mean_cell, provenance
from harness.report.tables.table import (
    NO_VALUE,
    Column,
    CsvFile,
    Row,
    Table,
    TableCell,
    TableKind,
    flat_columns,
    flat_record,
    word_cell,
)
from harness.statistics.analysis import Summary


def _share_tables(study: StudyAnalysis, view: DatasetView) -> Iterator[Table]:
    """One table per metric."""
    curves = view.curves
    if curves is None:
        return
    for name in study.results.metrics:
        if not any(metric == name for metric, _ in curves.analyses):
            continue
        metric = METRICS.get(name)
        main = curves.analyses.get((name, curves.main))
        untested = "" if main is None else main.untested or ""
        yield Table(
            kind=f"learning-{name}",
            dataset=view.name,
            title=f"{view.title}: learning curve, {metric.title}",
            caption=(
                f"{metric.title} by the number of training patients: {view.title}.",
                "Mean over test patients [95 % interval]; step: mean difference to the point before it, on the same "
                "test patients.",
                *limitations(study, view),
            ),
            row_header=("Variant", "Share"),
            columns=(
                Column("", "training patients"),
                *(Column(metric.heading_with_arrow, region, name, region) for region in view.shown),
                Column("step", "difference"),
                Column("step", "p (Holm)"),
            ),
            rows=tuple(
                Row(
                    (curve.name, f"{100 * point.share:.4g} %"),
                    (
                        TableCell(point.count, sort=point.patients[1]),
                        *(_mean(curves, point, metric, region) for region in view.shown),
                        *_step(curves, point, metric),
                    ),
                )
                for curve in curves.curves
                for point in curve.points
            ),
            notes=(
                "Points are measured; nothing is known between them or beyond. A smaller share is part of a larger "
                "one, and each seed draws others. p: signed-rank test, Holm over all steps of all variants.",
                *((f"{untested}.",) if untested else ()),
                *provenance(view),
            ),
        )


def _mean(curves: LearningCurves, point: Point, metric: Metric, region: str) -> TableCell:
    if point.status != "complete":
        return word_cell(point.status)
    summary = curves.summary(point, metric.name, region)
    return word_cell("no result") if summary is None else mean_cell(metric, summary, interval=True)


def _step(curves: LearningCurves, point: Point, metric: Metric) -> Iterator[TableCell]:
    step = curves.step(point, metric.name)
    if step is None:
        yield from (NO_VALUE, NO_VALUE)
        return
    span = interval_text(metric, step.mean_interval, signed=True)
    yield TableCell(metric.signed(step.mean_difference), span=span, sort=step.mean_difference)
    yield NO_VALUE if step.p_holm is None else TableCell(starred_p(step.p_holm), sort=step.p_holm)


def _records(study: StudyAnalysis) -> Iterator[dict[str, Any]]:
    for view in study.views.values():
        if (curves := view.curves) is None:
            continue
        for (metric, region), analysis in curves.analyses.items():
            for curve in curves.curves:
                for point in curve.points:
                    if (summary := analysis.summaries.get(point.name)) is None:
                        continue
                    low, high = point.patients
                    place = {"dataset": view.name, "variant": curve.name, "metric": metric, "region": region}
                    place |= {"train_share": str(point.share), "train_patients_low": str(low)}
                    yield {**place, "train_patients_high": str(high), **flat_record(asdict(summary))}


_PLACE = ("dataset", "variant", "metric", "region", "train_share", "train_patients_low", "train_patients_high")

LEARNING = TableKind(
    _share_tables, csv=(CsvFile("learning_curves", (*_PLACE, *flat_columns(Summary)), _records, optional=True),)
)
