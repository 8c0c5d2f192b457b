"""A table of some variants that are ranked among themselves: what ablations and leading modalities have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.variants import Variant
from harness.report.tables.cells import (
    limitations,
    note_incomplete,
    provenance,
    rank_marks,
    score_columns,
    statistic_cell,
)
from harness.report.tables.table import Row, Table

__all__ = ["ranked_table"]


def ranked_table(
    study: StudyAnalysis,
    view: DatasetView,
    words: Mapping[Variant, tuple[str, ...]],
    row_header: tuple[str, ...],
    kind: str,
    title: str,
    caption: Sequence[str],
) -> Table:
    """Returns one row a variant; another model of the study may be better than all of them.

    Args:
        study: All of the study.
        view: The dataset.
        words: Of each variant, what stands before its scores.
        row_header: Above these words.
        kind: Of the table.
        title: What follows the dataset's title.
        caption: First sentences.
    """
    columns = score_columns(study, view)
    marks = {column: rank_marks(study, view, column, words) for column in columns}
    rows = tuple(
        Row(
            said,
            tuple(statistic_cell(view, variant, column, marks[column].get(variant, "")) for column in columns),
        )
        for variant, said in words.items()
    )
    return Table(
        kind=kind,
        dataset=view.name,
        title=f"{view.title}: {title}",
        caption=(*caption, f"{view.data.scales}.", *limitations(study, view)),
        row_header=row_header,
        columns=columns,
        rows=rows,
        notes=(*note_incomplete(view, list(words)), *provenance(view)),
        marked="mean" if study.comparability.allows_ranking(view.name) else "",
    )
