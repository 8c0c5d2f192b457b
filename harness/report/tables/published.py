"""Published beside ours: the published number, ours, the difference, our interval and a verdict."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from harness.evaluation import METRICS, Metric
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.variants import Variant
from harness.report.inputs.published_numbers import SOURCE, published_rows
from harness.report.tables.cells import mean_cell, provenance, row_headers
from harness.report.tables.table import NO_VALUE, Column, Row, Table, TableCell, TableKind, word_cell
from harness.statistics.bootstrap import LEAST_PATIENTS, Interval
from harness.statistics.patients import MEAN_REGION

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


def _published_tables(study: StudyAnalysis, view: DatasetView) -> Iterator[Table]:
    """One row per published number that a variant of the study has too; no table where there is no such number."""
    published = published_rows(view.name)
    row_header, headers = row_headers(view)
    theirs = {(row["method"], row["metric"], row["region"]): row for row in published.to_dict("records")}
    methods = {variant: _published_method(view, variant, published["method"].unique()) for variant in headers}
    rows = tuple(
        Row(headers[variant], _cells(study, view, variant, METRICS.get(metric), region, theirs[method, metric, region]))
        for variant, method in methods.items()
        for metric in study.results.metrics
        for region in (*view.regions, MEAN_REGION)
        if (method, metric, region) in theirs
    )
    if not rows:
        return
    unmatched = [view.names[variant] for variant, method in methods.items() if method is None]
    yield Table(
        kind="published",
        dataset=view.name,
        title=f"{view.title}: published beside ours",
        caption=(
            f"Published beside ours: {view.title}.",
            f"Published numbers are rounded as ours are ({SOURCE}); ours are mean ± SD over {view.data.sample}.",
            "Difference: ours minus published. Interval: BCa bootstrap of our mean over patients. Agrees: the "
            "published mean lies inside it.",
        ),
        row_header=row_header,
        columns=_COLUMNS,
        rows=rows,
        notes=(
            "The paper publishes neither its splits nor its leading modality, so its cases are not ours: agreement is "
            "a plausibility check and no proof of reproduction.",
            *((f"Not in the paper: {', '.join(unmatched)}.",) if unmatched else ()),
            *provenance(view),
        ),
    )


def _published_method(view: DatasetView, variant: Variant, published: Iterable[str]) -> str | None:
    """The published method a variant is an implementation of; ``None`` for none.

    By label or, where the study runs only one variant of a model, by model; spelling (``Swin-Unet``, ``SwinUNet``)
    does not matter. A variant of an ablation is never taken for the whole model.
    """
    methods = {_letters(method): method for method in published}
    if (label := _letters(variant.label)) in methods:
        return methods[label]
    model = str(view.cells.loc[view.cells["label"] == variant.label, "model"].iloc[0])
    labels = set(view.cells.loc[view.cells["model"] == model, "label"])
    return methods.get(_letters(model)) if len(labels) == 1 else None


def _letters(name: str) -> str:
    return "".join(each for each in name.lower() if each.isalnum())


def verdict(kind: str, published: float, interval: Interval | None) -> str:
    """Whether the interval of our mean holds a published mean, in words.

    Args:
        kind: Kind of our data: only real data can agree with published numbers.
        published: Published mean.
        interval: Interval of our mean; ``None`` where patients are too few.
    """
    if kind != "real":
        return f"not comparable ({kind} data)"
    if interval is None:
        return f"no verdict (fewer than {LEAST_PATIENTS} patients)"
    if interval.low <= published <= interval.high:
        return "agrees"
    return "ours higher" if published < interval.low else "ours lower"


def _cells(
    study: StudyAnalysis, view: DatasetView, variant: Variant, metric: Metric, region: str, published: Mapping[Any, Any]
) -> tuple[TableCell, ...]:
    mean, sd = float(published["mean"]), float(published["std"])
    theirs = (
        TableCell(metric.heading),
        TableCell("Mean over regions" if region == MEAN_REGION else region),
        TableCell(metric.text(mean), spread="" if math.isnan(sd) else metric.text(sd), sort=mean),
    )
    ours = view.summary(variant, metric.name, region)
    if ours is None:
        state = view.status[variant] if view.status[variant] != "complete" else "no result"
        return (*theirs, word_cell(state), NO_VALUE, NO_VALUE, word_cell(f"none ({state})"))
    interval = ours.mean_interval
    return (
        *theirs,
        mean_cell(metric, ours),
        TableCell(metric.signed(ours.mean - mean), sort=ours.mean - mean),
        NO_VALUE if interval is None else TableCell(f"{metric.text(interval.low)} to {metric.text(interval.high)}"),
        word_cell(verdict(study.results.datasets[view.name].kind, mean, interval) if ours.complete else _PARTIAL),
    )


PUBLISHED = TableKind(_published_tables)
