"""Published beside ours: what the paper prints, what we measured, the difference, its interval and a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.metric_styles import MetricStyle, metric_style
from harness.report.analysis.variants import Variant
from harness.report.inputs.published_numbers import SOURCE, published_method, published_rows
from harness.report.tables.cells import provenance, row_headers
from harness.report.tables.table import Column, Row, Table, TableCell, word_cell
from harness.statistics.bootstrap import LEAST_PATIENTS, Interval
from harness.statistics.patients import MEAN_REGION

__all__ = ["published_table", "verdict"]

_PARTIAL = "no verdict (results are missing)"
_COLUMNS = (
    Column("", "Metric", plain="Metric"),
    Column("", "Region", plain="Region"),
    Column("", "Published", plain="Published"),
    Column("", "Ours", plain="Ours"),
    Column("", "Difference", plain="Ours minus published"),
    Column("", "95 % interval of ours", plain="95 % interval of ours"),
    Column("", "Verdict", plain="Verdict"),
)


def published_table(study: StudyAnalysis, view: DatasetView) -> Table | None:
    """One row a published number that a variant of the study has too; ``None`` where there is no such number."""
    header, names = row_headers(view)
    theirs = {(row["method"], row["metric"], row["region"]): row for row in _records(published_rows(view.name))}
    methods = {variant: published_method(view, variant) for variant in names}
    rows = [
        Row(names[variant], _cells(study, view, variant, theirs[method, metric, region]))
        for variant, method in methods.items()
        for metric in study.results.metrics
        for region in (*view.regions, MEAN_REGION)
        if (method, metric, region) in theirs
    ]
    if not rows:
        return None
    unmatched = [view.names[variant] for variant, method in methods.items() if method is None]
    return Table(
        kind="published",
        dataset=view.name,
        title=f"{view.title}: published beside ours",
        caption=(
            f"Published beside ours: {view.title}.",
            f"Published numbers are rounded as ours are ({SOURCE}); ours are mean ± SD over {view.data.sample}.",
            "Difference: ours minus published. Interval: BCa bootstrap of our mean over patients. Agrees: the "
            "published mean lies inside it.",
        ),
        row_header=header,
        columns=_COLUMNS,
        rows=tuple(rows),
        notes=(
            "The paper publishes neither its splits nor its leading modality, so its cases are not ours: agreement is "
            "a plausibility check and no proof of reproduction.",
            *((f"Not in the paper: {', '.join(unmatched)}.",) if unmatched else ()),
            *provenance(view),
        ),
    )


def verdict(kind: str, published: float, interval: Interval | None) -> str:
    """What the interval of our mean says of a published mean, in words.

    Args:
        kind: Kind of our data: only real data can agree with published numbers.
        published: The published mean.
        interval: Interval of our mean; ``None`` for too few patients.
    """
    if kind != "real":
        return f"not comparable ({kind} data)"
    if interval is None:
        return f"no verdict (fewer than {LEAST_PATIENTS} patients)"
    if interval.low <= published <= interval.high:
        return "agrees"
    return "ours higher" if published < interval.low else "ours lower"


def _cells(
    study: StudyAnalysis, view: DatasetView, variant: Variant, published: Mapping[str, Any]
) -> tuple[TableCell, ...]:
    style, region = metric_style(str(published["metric"])), str(published["region"])
    mean, sd = float(published["mean"]), float(published["std"])
    head = (
        TableCell(style.heading),
        TableCell("Mean over regions" if region == MEAN_REGION else region),
        TableCell(style.text(mean), spread="" if math.isnan(sd) else style.text(sd), sort=mean),
    )
    ours = view.summary(variant, style.name, region)
    if ours is None:
        state = view.status[variant] if view.status[variant] != "complete" else "no result"
        return (*head, word_cell(state), TableCell("–"), TableCell("–"), word_cell(f"none ({state})"))
    interval = ours.mean_interval
    return (
        *head,
        TableCell(
            style.text(ours.mean),
            spread="" if math.isnan(ours.sd) else style.text(ours.sd),
            dagger=not ours.complete,
            sort=ours.mean,
        ),
        TableCell(style.signed(ours.mean - mean), sort=ours.mean - mean),
        TableCell(_printed(style, interval)),
        word_cell(verdict(study.results.datasets[view.name].kind, mean, interval) if ours.complete else _PARTIAL),
    )


def _printed(style: MetricStyle, interval: Interval | None) -> str:
    return "–" if interval is None else f"{style.text(interval.low)} to {style.text(interval.high)}"


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
