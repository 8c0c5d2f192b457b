"""The paper's layout: methods by regions, Dice then HD95, mean and SD (or median and quartiles), best and second."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from harness.evaluation import METRICS
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.low_score_notes import low_score_notes
from harness.report.tables.cells import limitations, mean_cell, note_incomplete, provenance, row_headers, sentence
from harness.report.tables.ranked import score_columns, score_rows
from harness.report.tables.table import (
    DAGGER,
    NO_VALUE,
    Column,
    CsvFile,
    Row,
    Table,
    TableKind,
    flat_columns,
    flat_record,
    word_cell,
)
from harness.statistics.analysis import Summary
from harness.statistics.patients import MEAN_REGION


def mean_tables(study: StudyAnalysis, view: DatasetView) -> Iterator[Table]:
    """Mean and SD of every variant, then the floors."""
    row_header, headers = row_headers(view)
    columns = score_columns(study, view)
    yield Table(
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
        row_header=row_header,
        columns=columns,
        rows=(*score_rows(study, view, headers, columns), *_floors(view, columns, len(row_header))),
        notes=(*_notes(study, view), *provenance(view)),
        marked="mean" if study.comparability.allows_ranking(view.name) else "",
    )


def _median_tables(study: StudyAnalysis, view: DatasetView) -> Iterator[Table]:
    """Median and quartiles of every variant: what a few bad cases cannot move."""
    row_header, headers = row_headers(view)
    columns = score_columns(study, view)
    yield Table(
        kind="medians",
        dataset=view.name,
        title=f"{view.title}: medians",
        caption=(
            f"{view.title}: median [first quartile, third quartile] over {view.data.sample}.",
            f"{view.data.scales}.",
            *limitations(study, view),
        ),
        row_header=row_header,
        columns=columns,
        rows=score_rows(study, view, headers, columns, median=True),
        notes=(*note_incomplete(view, view.variants), *provenance(view)),
        marked="median" if study.comparability.allows_ranking(view.name) else "",
    )


def _notes(study: StudyAnalysis, view: DatasetView) -> list[str]:
    notes = [*note_incomplete(view, view.variants), *_note_incomplete_floors(view)]
    if len(view.regions) > 1:
        notes.append("Mean over regions: taken within each case, then over patients.")
    if view.floors:
        notes.append("Floors are trivial methods on the same test cases; they are not ranked.")
    notes += dict.fromkeys(
        sentence(caveat, capital=True)
        for (_, region), analysis in view.analyses.items()
        if region == MEAN_REGION
        for caveat in analysis.caveats
        if "the mean is over" in caveat or "left out of the mean" in caveat
    )
    return notes + low_score_notes(study, view)


def _floors(view: DatasetView, columns: Sequence[Column], n_headers: int) -> Iterator[Row]:
    for name in sorted({name for name, *_ in view.floors}):
        summaries = [view.floors.get((name, column.metric, column.region)) for column in columns]
        cells = [
            word_cell(NO_VALUE.main) if summary is None else mean_cell(METRICS.get(column.metric), summary)
            for column, summary in zip(columns, summaries, strict=True)
        ]
        yield Row((f"{name} (floor)", *[""] * (n_headers - 1)), tuple(cells), is_floor=True)


def _note_incomplete_floors(view: DatasetView) -> list[str]:
    short = {name: summary for (name, *_), summary in view.floors.items() if not summary.complete}
    return [
        f"{DAGGER} {name}: {each.n_results:,} of {each.n_expected:,} cases." for name, each in sorted(short.items())
    ]


def _mean_records(study: StudyAnalysis) -> Iterator[dict[str, Any]]:
    for view, variant, analysis, place in study.places():
        summary = analysis.summaries.get(view.names[variant])
        yield place | {"status": view.status[variant]} | (flat_record(asdict(summary)) if summary else {})


def _floor_records(study: StudyAnalysis) -> Iterator[dict[str, Any]]:
    for view in study.views.values():
        for (name, metric, region), summary in view.floors.items():
            place = {"dataset": view.name, "floor": name, "metric": metric, "region": region}
            yield place | flat_record(asdict(summary))


MEANS = TableKind(
    mean_tables,
    csv=(
        CsvFile(
            "means",
            ("dataset", "label", "leading", "metric", "region", "status", *flat_columns(Summary)),
            _mean_records,
        ),
        CsvFile("floors", ("dataset", "floor", "metric", "region", *flat_columns(Summary)), _floor_records),
    ),
)
MEDIANS = TableKind(_median_tables)
