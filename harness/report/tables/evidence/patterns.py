"""Scores by the modalities that patients have, where patients lack some."""

from collections.abc import Iterator
from typing import Any

from harness.evaluation import METRICS
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.modalities.patterns import PatternScores, scores_by_pattern
from harness.report.tables.cells import mean_cell, provenance
from harness.report.tables.table import (
    NO_VALUE,
    Column,
    CsvFile,
    Row,
    Table,
    TableCell,
    TableKind,
)

_COLUMNS = ("dataset", "modalities", "patients", "variant", "metric", "region", "mean")


def _pattern_tables(study: StudyAnalysis, view: DatasetView) -> Iterator[Table]:
    """One row per set of modalities that patients have, one column per variant; not ranked: patients differ."""
    metric = METRICS.get(study.results.metrics[0])
    found = _found(study, view)
    if not found:
        return
    names = list(view.names.values())
    over = f", region {view.main}" if len(view.regions) == 1 else ", mean over regions"
    yield Table(
        kind="patterns",
        dataset=view.name,
        title=f"{view.title}: {metric.title} by the modalities that patients have",
        caption=(
            f"{metric.title}{over} by the modalities that test patients have: {view.title}.",
            f"Mean ± SD over patients; {metric.direction}. The rows are different patients: differences between them "
            "need not come from the modalities.",
        ),
        row_header=("Modalities", "Patients"),
        columns=tuple(Column("", name, metric.name, view.main) for name in names),
        rows=tuple(
            Row((one.modalities, str(one.patients)), tuple(_cell(one, name, metric.name) for name in names))
            for one in found
        ),
        notes=(*provenance(view),),
    )


def _found(study: StudyAnalysis, view: DatasetView) -> list[PatternScores]:
    return scores_by_pattern(study.results, view.name, study.results.metrics[0], view.main, view.names)


def _cell(scores: PatternScores, name: str, metric: str) -> TableCell:
    summary = scores.summaries.get(name)
    return NO_VALUE if summary is None else mean_cell(METRICS.get(metric), summary)


def _records(study: StudyAnalysis) -> Iterator[dict[str, Any]]:
    for view in study.views.values():
        for one in _found(study, view):
            for name, summary in one.summaries.items():
                place = {"dataset": view.name, "modalities": one.modalities, "patients": one.patients, "variant": name}
                yield place | {"metric": study.results.metrics[0], "region": view.main, "mean": summary.mean}


PATTERNS = TableKind(_pattern_tables, csv=(CsvFile("patterns", _COLUMNS, _records, optional=True),))
