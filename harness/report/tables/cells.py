"""What the forms of table share: columns, row names, entries and the words under a table."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.data_summary import count
from harness.report.analysis.metric_styles import MetricStyle, metric_style
from harness.report.analysis.variants import Variant
from harness.report.tables.table import DAGGER, Column, TableCell, word_cell
from harness.statistics.analysis import Summary
from harness.statistics.patients import MEAN_REGION

__all__ = [
    "limitations",
    "mean_cell",
    "note_incomplete",
    "provenance",
    "rank",
    "rank_marks",
    "row_headers",
    "score_columns",
    "sentence",
    "statistic_cell",
]

K = TypeVar("K", bound=Hashable)


def score_columns(study: StudyAnalysis, view: DatasetView) -> tuple[Column, ...]:
    """Regions of each metric, then the means; a dataset with one region has nothing to average."""
    styles = [metric_style(metric) for metric in study.results.metrics]
    columns = [
        Column(style.pointed, region, style.name, region, f"{style.heading} {region} {style.arrow}")
        for style in styles
        for region in view.regions
    ]
    if len(view.regions) > 1:
        columns += [
            Column("Mean over regions", style.pointed, style.name, MEAN_REGION, f"Mean {style.pointed}")
            for style in styles
        ]
    return tuple(columns)


def row_headers(view: DatasetView) -> tuple[tuple[str, ...], dict[Variant, tuple[str, ...]]]:
    """Headings of the row-name columns, and the names of each variant; the leading modality where a label varies it."""
    if len({variant.label for variant in view.variants}) < len(view.variants):
        return ("Variant", "Leading"), {each: (each.label, each.leading.replace("-", "–")) for each in view.variants}
    return ("Variant",), {each: (each.label,) for each in view.variants}


def mean_cell(style: MetricStyle, summary: Summary, mark: str = "") -> TableCell:
    """Mean and standard deviation."""
    return TableCell(
        main=style.text(summary.mean),
        spread="" if math.isnan(summary.sd) else style.text(summary.sd),
        mark=mark,
        dagger=not summary.complete,
        sort=summary.mean,
    )


def median_cell(style: MetricStyle, summary: Summary, mark: str = "") -> TableCell:
    """Median and quartiles."""
    return TableCell(
        main=style.text(summary.median),
        span=f"{style.text(summary.q1)}, {style.text(summary.q3)}",
        mark=mark,
        dagger=not summary.complete,
        sort=summary.median,
    )


def statistic_cell(
    view: DatasetView, variant: Variant, column: Column, mark: str = "", *, median: bool = False
) -> TableCell:
    """The statistic of a variant in a column, or the word that stands where there is none."""
    if view.status[variant] != "complete":
        return word_cell(view.status[variant])
    summary = view.summary(variant, column.metric, column.region)
    if summary is None:
        return word_cell("no result")
    return (median_cell if median else mean_cell)(metric_style(column.metric), summary, mark)


def rank_marks(
    study: StudyAnalysis, view: DatasetView, column: Column, variants: Iterable[Variant], *, median: bool = False
) -> dict[Variant, str]:
    """``best`` and ``second`` among variants; none where methods may not be ranked."""
    if not study.comparability.allows_ranking(view.name):
        return {}
    found = {each: view.summary(each, column.metric, column.region) for each in variants}
    values = {
        each: summary.median if median else summary.mean
        for each, summary in found.items()
        if summary is not None and summary.complete
    }
    return rank(values, metric_style(column.metric))


def rank(values: Mapping[K, float], style: MetricStyle) -> dict[K, str]:
    """``best`` and ``second`` of values at printed precision; equal ones share a mark, one alone has none."""
    printed = {each: style.rounded(value) for each, value in values.items() if not math.isnan(value)}
    if len(printed) < 2:
        return {}
    places = sorted(set(printed.values()), reverse=style.higher_is_better)
    names = dict(zip(places, ("best", "second"), strict=False))
    return {each: names.get(value, "") for each, value in printed.items()}


def note_incomplete(view: DatasetView, variants: Sequence[Variant] | None = None) -> list[str]:
    """Which variants stand on fewer results than the others, and on how many."""
    notes = []
    for variant in variants or view.variants:
        name = view.names[variant]
        found = [each for each in view.analyses.values() if name in each.summaries]
        short = [each.summaries[name] for each in found if not each.summaries[name].complete]
        if not short:
            continue
        least = min(short, key=lambda each: each.n_results)
        counted = f"{least.n_results:,} of {least.n_expected:,} results ({count(least.n_cases, 'case')})"
        infinite = any(math.isinf(each.mean) for each in short)
        said = "results are infinite, so there is no mean that could be compared" if infinite else counted
        notes.append(f"{DAGGER} {name}: {said}; not ranked.")
    return notes


def sentence(text: str) -> str:
    """The text with its full stop."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def limitations(study: StudyAnalysis, view: DatasetView) -> tuple[str, ...]:
    """What the table cannot show: too few patients for a test, or methods that may not be ranked together."""
    mixed = study.comparability.sentence(view.name)
    return (*((f"{view.data.refusal}.",) if view.data.refusal else ()), *((mixed,) if mixed else ()))


def provenance(view: DatasetView) -> tuple[str, ...]:
    """The dataset's caveats, policies, implementations, failures and code."""
    data = view.data
    failures = f"Without a result: {'; '.join(data.failures)}." if data.failures else "Every cell finished."
    return (
        *(sentence(note) for note in data.notes),
        f"{data.policies}.",
        f"{data.implementations}.",
        failures,
        f"Commit {data.commits}.",
    )
