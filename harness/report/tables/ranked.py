"""A table of some variants that are ranked among themselves: what ablations and leading modalities have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.report.analysis.analysis import Computed, DatasetView
from harness.report.analysis.variants import Variant
from harness.report.tables.cells import fewer, marks_of, provenance, refused, score_columns, statistic_entry
from harness.report.tables.table import Row, Table

__all__ = ["table_among"]


def table_among(
    computed: Computed,
    view: DatasetView,
    words: Mapping[Variant, tuple[str, ...]],
    heads: tuple[str, ...],
    kind: str,
    title: str,
    caption: Sequence[str],
) -> Table:
    """Returns one row a variant; another model of the study may be better than all of them.

    Args:
        computed: All of the study.
        view: The dataset.
        words: Of each variant, what stands before its scores.
        heads: Above these words.
        kind: Of the table.
        title: What follows the dataset's title.
        caption: First sentences.
    """
    columns = score_columns(computed, view)
    marks = {column: marks_of(computed, view, column, words) for column in columns}
    rows = tuple(
        Row(
            said,
            tuple(statistic_entry(view, variant, column, marks[column].get(variant, "")) for column in columns),
        )
        for variant, said in words.items()
    )
    return Table(
        kind=kind,
        dataset=view.name,
        title=f"{view.title}: {title}",
        caption=(*caption, f"{view.evidence.scales}.", *refused(computed, view)),
        heads=heads,
        columns=columns,
        rows=rows,
        notes=(*fewer(view, list(words)), *provenance(view)),
        marked="mean" if computed.mixing.ranks(view.name) else "",
    )
