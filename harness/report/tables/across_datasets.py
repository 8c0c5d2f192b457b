"""Ranks across datasets: described, never tested where the datasets are few."""

from __future__ import annotations

from harness.report.analysis.analysis import StudyAnalysis
from harness.report.analysis.metric_styles import metric_style
from harness.report.tables.cells import sentence
from harness.report.tables.table import Column, Row, Table, TableCell

__all__ = ["across_table"]


def across_table(study: StudyAnalysis, metric: str) -> Table:
    """Rank of each method on each dataset by its mean, and the mean rank."""
    found, style = study.across[metric], metric_style(metric)
    titles = {name: study.views[name].title for name in found.ranks.columns}
    order = found.mean_ranks.sort_values(kind="stable").index
    absent = sorted({name for view in study.views.values() for name in view.names.values()} - set(order))
    refusal = (found.refusal,) if found.refusal else ()
    return Table(
        kind=f"ranks-{metric}",
        dataset="all",
        title=f"{style.title}: ranks across datasets",
        caption=(
            f"{style.title}: rank of the mean on each dataset, 1 the best, among methods that every dataset ranks.",
            *(f"{text[0].upper()}{text[1:]}." for text in refusal),
        ),
        row_header=("Variant",),
        columns=(*(Column("Rank", title, plain=title) for title in titles.values()), Column("", "Mean rank")),
        rows=tuple(
            Row(
                (str(name),),
                tuple(
                    TableCell(f"{value:g}" if number < len(titles) else f"{value:.2f}", sort=float(value))
                    for number, value in enumerate([*found.ranks.loc[name], found.mean_ranks[name]])
                ),
            )
            for name in order
        ),
        notes=(
            "Ranks of few datasets are described and not tested.",
            *((sentence(f"Not ranked on every dataset: {', '.join(absent)}"),) if absent else ()),
        ),
    )
