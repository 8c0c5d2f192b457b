"""Published beside ours: the published number, ours, the difference, its interval and a verdict."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from harness.evaluation import METRICS, Metric
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.published_verdict import Published, compare
from harness.report.analysis.variants import Variant
from harness.report.inputs.published_numbers import SOURCE, TEST_CASES, published_rows, why_not_over_cases
from harness.report.tables.cells import interval_text, mean_cell, provenance, row_headers
from harness.report.tables.table import NO_VALUE, Column, Row, Table, TableCell, TableKind, word_cell
from harness.statistics.patients import MEAN_REGION

_COLUMNS = (
    Column("", "Metric", plain="Metric"),
    Column("", "Region", plain="Region"),
    Column("", "Published", plain="Published"),
    Column("", "Ours", plain="Ours"),
    Column("", "Difference", plain="Ours minus published"),
    Column("", "95 % interval", plain="95 % interval of the difference"),
    Column("", "Verdict", plain="Verdict"),
)


def _published_tables(study: StudyAnalysis, view: DatasetView) -> Iterator[Table]:
    """One row per published number that a variant of the study has too; no table where there is no such number."""
    published = published_rows(view.name)
    row_header, headers = row_headers(view)
    theirs = {(row["method"], row["metric"], row["region"]): row for row in published.to_dict("records")}
    methods = {variant: _published_method(view, variant, published["method"].unique()) for variant in headers}
    shown = [
        (variant, METRICS.get(metric), region, theirs[number])
        for variant, method in methods.items()
        for metric in study.results.metrics
        for region in (*view.regions, MEAN_REGION)
        if (number := (method, _plain(METRICS.get(metric)), region)) in theirs
    ]
    if not shown:
        return
    unmatched = [view.names[variant] for variant, method in methods.items() if method is None]
    yield Table(
        kind="published",
        dataset=view.name,
        title=f"{view.title}: published beside ours",
        caption=(
            f"Published beside ours: {view.title}.",
            f"Published numbers are rounded as ours are ({SOURCE}); their SD stands as printed, its unit is not known. "
            f"Ours are mean ± SD over {view.data.sample}. The two SDs are not comparable.",
            "Difference: ours minus published. Interval: Welch's, with chance in the choice of cases on both sides "
            "and, where there are several seeds, between trainings; the published SD is taken as one over "
            f"{TEST_CASES[view.name]} test cases. Agrees: the interval holds 0, as it does in about 95 % of perfect "
            "replications.",
        ),
        row_header=row_header,
        columns=_COLUMNS,
        rows=tuple(
            Row(headers[variant], _cells(study, view, variant, metric, region, number), variant=variant)
            for variant, metric, region, number in shown
        ),
        notes=(
            "Our sources give neither the paper's splits nor the modality that led in its tables, so its cases are not "
            "ours: agreement is a plausibility check and no proof of reproduction.",
            *_doubts(view, [region for _, _, region, _ in shown]),
            *((f"Not in the paper's tables: {', '.join(unmatched)}.",) if unmatched else ()),
            *provenance(view),
        ),
    )


def _plain(metric: Metric) -> str:
    """The metric's name without its policy for empty masks, since that of the published numbers is not known."""
    return metric.name.removesuffix(f"_{metric.policy}") if metric.policy else metric.name


def _doubts(view: DatasetView, regions: Iterable[str]) -> list[str]:
    """Why there is no verdict on regions whose published SDs are not over cases."""
    reasons: dict[str, list[str]] = {}
    for region in dict.fromkeys(regions):
        if region != MEAN_REGION and (reason := why_not_over_cases(view.name, region)):
            reasons.setdefault(reason, []).append(region)
    return [
        f"No verdict on {', '.join(named)}: the published SDs cannot be over cases, so it is not known either what the "
        f"published means are over. {reason}."
        for reason, named in reasons.items()
    ]


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
    kind = study.results.datasets[view.name].kind
    found = compare(kind, ours, Published(view.name, region, mean, sd))
    return (
        *theirs,
        mean_cell(metric, ours),
        TableCell(metric.signed(ours.mean - mean), sort=ours.mean - mean),
        TableCell(interval_text(metric, found.interval, signed=True)) if found.interval else NO_VALUE,
        word_cell(found.words),
    )


PUBLISHED = TableKind(_published_tables)
