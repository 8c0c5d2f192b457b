"""Scores of variants that are ranked among themselves: what means, ablations and leading modalities share."""

from collections.abc import Iterable, Mapping, Sequence

from harness.evaluation import METRICS
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.variants import Variant
from harness.report.tables.cells import limitations, mean_cell, median_cell, note_incomplete, provenance
from harness.report.tables.table import Column, Row, Table, TableCell, word_cell
from harness.statistics.patients import MEAN_REGION


def ranked_table(
    study: StudyAnalysis,
    view: DatasetView,
    headers: Mapping[Variant, tuple[str, ...]],
    row_header: tuple[str, ...],
    kind: str,
    title: str,
    caption: Sequence[str],
) -> Table:
    """Returns one row per variant; another model of the study may be better than all of them.

    Args:
        study: Analysis of the study.
        view: Dataset of the table.
        headers: Header cells of each variant, in the order of the rows.
        row_header: Headings above the header cells.
        kind: Kind of the table.
        title: Words that follow the dataset's title.
        caption: First sentences of the caption.
    """
    columns = score_columns(study, view)
    return Table(
        kind=kind,
        dataset=view.name,
        title=f"{view.title}: {title}",
        caption=(*caption, f"{view.data.scales}.", *limitations(study, view)),
        row_header=row_header,
        columns=columns,
        rows=score_rows(study, view, headers, columns),
        notes=(*note_incomplete(view, headers), *provenance(view)),
        marked="mean" if study.comparability.allows_ranking(view.name) else "",
    )


def score_columns(study: StudyAnalysis, view: DatasetView) -> tuple[Column, ...]:
    """Regions of each metric, then the means; a dataset with one region has nothing to average."""
    metrics = [METRICS.get(name) for name in study.results.metrics]
    columns = [
        Column(metric.heading_with_arrow, region, metric.name, region, f"{metric.heading} {region} {metric.arrow}")
        for metric in metrics
        for region in view.regions
    ]
    if len(view.regions) > 1:
        columns += [
            Column(
                "Mean over regions",
                metric.heading_with_arrow,
                metric.name,
                MEAN_REGION,
                f"Mean {metric.heading_with_arrow}",
            )
            for metric in metrics
        ]
    return tuple(columns)


def score_rows(
    study: StudyAnalysis,
    view: DatasetView,
    headers: Mapping[Variant, tuple[str, ...]],
    columns: Sequence[Column],
    *,
    median: bool = False,
) -> tuple[Row, ...]:
    """One row per variant, with best and second marked in every column."""
    marks = {column: rank_marks(study, view, column, headers, median=median) for column in columns}
    return tuple(
        Row(
            header,
            tuple(
                _score_cell(view, variant, column, marks[column].get(variant, ""), median=median) for column in columns
            ),
            variant=variant,
        )
        for variant, header in headers.items()
    )


def _score_cell(view: DatasetView, variant: Variant, column: Column, mark: str, *, median: bool) -> TableCell:
    """The mean or median of a variant in a column, or the word that stands where there is none."""
    if view.status[variant] != "complete":
        return word_cell(view.status[variant])
    summary = view.summary(variant, column.metric, column.region)
    if summary is None:
        return word_cell("no result")
    return (median_cell if median else mean_cell)(METRICS.get(column.metric), summary, mark)


def rank_marks(
    study: StudyAnalysis, view: DatasetView, column: Column, variants: Iterable[Variant], *, median: bool = False
) -> dict[Variant, str]:
    """``best`` and ``second`` among variants; none where methods may not be ranked."""
    if not study.comparability.allows_ranking(view.name):
        return {}
    ranked = view.ranked(variants)
    summaries = {variant: view.summary(variant, column.metric, column.region) for variant in ranked}
    values = {
        variant: summary.median if median else summary.mean
        for variant, summary in summaries.items()
        if summary is not None and summary.complete
    }
    return METRICS.get(column.metric).best_and_second(values)
