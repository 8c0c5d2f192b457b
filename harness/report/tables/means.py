"""The paper's layout: methods by regions, Dice then HD95, mean and SD (or median and quartiles), best and second."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.low_score_notes import low_score_notes
from harness.report.analysis.metric_styles import metric_style
from harness.report.tables.cells import (
    limitations,
    mean_cell,
    note_incomplete,
    provenance,
    rank_marks,
    row_headers,
    score_columns,
    sentence,
    statistic_cell,
)
from harness.report.tables.table import DAGGER, Column, Row, Table, word_cell
from harness.statistics.patients import MEAN_REGION

__all__ = ["mean_table", "median_table"]


def mean_table(study: StudyAnalysis, view: DatasetView) -> Table:
    """Mean and SD of every variant, then the floors."""
    notes = [*note_incomplete(view), *_note_incomplete_floors(view)]
    if len(view.regions) > 1:
        notes.append("Mean over regions: taken within each case, then over patients.")
    if view.floors:
        notes.append("Floors are trivial methods on the same test cases; they are not ranked.")
    notes += dict.fromkeys(
        sentence(caveat[0].upper() + caveat[1:])
        for (_, region), analysis in view.analyses.items()
        if region == MEAN_REGION
        for caveat in analysis.caveats
        if "the mean is over" in caveat or "left out of the mean" in caveat
    )
    notes += low_score_notes(study, view)
    columns = score_columns(study, view)
    table = _table(study, view, columns, median=False)
    return Table(
        kind="means",
        dataset=view.name,
        title=view.title,
        caption=(
            f"{sentence(study.results.question)} {view.title}.",
            *((f"Answers: {study.results.answers}.",) if study.results.answers else ()),
            f"Mean ± SD over {view.data.sample}.",
            f"{view.data.scales}.",
            *limitations(study, view),
        ),
        row_header=row_headers(view)[0],
        columns=columns,
        rows=(*table, *_floors(view, columns)),
        notes=(*notes, *provenance(view)),
        marked="mean" if study.comparability.allows_ranking(view.name) else "",
    )


def median_table(study: StudyAnalysis, view: DatasetView) -> Table:
    """Median and quartiles of every variant: what a few bad cases cannot move."""
    columns = score_columns(study, view)
    return Table(
        kind="medians",
        dataset=view.name,
        title=f"{view.title}: medians",
        caption=(
            f"{view.title}: median [first quartile, third quartile] over {view.data.sample}.",
            f"{view.data.scales}.",
            *limitations(study, view),
        ),
        row_header=row_headers(view)[0],
        columns=columns,
        rows=tuple(_table(study, view, columns, median=True)),
        notes=(*note_incomplete(view), *provenance(view)),
        marked="median" if study.comparability.allows_ranking(view.name) else "",
    )


def _table(study: StudyAnalysis, view: DatasetView, columns: Sequence[Column], *, median: bool) -> list[Row]:
    marks = {column: rank_marks(study, view, column, view.variants, median=median) for column in columns}
    return [
        Row(
            header,
            tuple(
                statistic_cell(view, variant, column, marks[column].get(variant, ""), median=median)
                for column in columns
            ),
        )
        for variant, header in row_headers(view)[1].items()
    ]


def _floors(view: DatasetView, columns: Sequence[Column]) -> list[Row]:
    blank = ("",) * (len(row_headers(view)[0]) - 1)
    rows = []
    for name in sorted({name for name, *_ in view.floors}):
        found = [view.floors.get((name, column.metric, column.region)) for column in columns]
        cells = [
            word_cell("–") if summary is None else mean_cell(metric_style(column.metric), summary)
            for column, summary in zip(columns, found, strict=True)
        ]
        rows.append(Row((f"{name} (floor)", *blank), tuple(cells), is_floor=True))
    return rows


def _note_incomplete_floors(view: DatasetView) -> list[str]:
    short = {name: summary for (name, *_), summary in view.floors.items() if not summary.complete}
    return [
        f"{DAGGER} {name}: {each.n_results:,} of {each.n_expected:,} cases." for name, each in sorted(short.items())
    ]
