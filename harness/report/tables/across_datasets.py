"""Ranks across datasets: described, never tested where the datasets are few."""

from collections.abc import Iterator

from harness.evaluation import METRICS
from harness.report.analysis.analysis import StudyAnalysis
from harness.report.tables.cells import sentence
from harness.report.tables.table import Column, Row, Table, TableCell
from harness.statistics.analysis import Across


def across_tables(study: StudyAnalysis) -> Iterator[Table]:
    """One table per metric: the rank of each method on each dataset by its mean, and the mean rank."""
    for metric, across in study.across.items():
        title, datasets = METRICS.get(metric).title, [study.views[str(name)].title for name in across.ranks]
        methods = across.mean_ranks.sort_values(kind="stable").index
        absent = sorted({name for view in study.views.values() for name in view.names.values()} - set(methods))
        yield Table(
            kind=f"ranks-{metric}",
            dataset="all",
            title=f"{title}: ranks across datasets",
            caption=(
                f"{title}: rank of the mean on each dataset, 1 the best, among methods that every dataset ranks.",
                *((sentence(across.refusal, capital=True),) if across.refusal else ()),
            ),
            row_header=("Variant",),
            columns=(
                *(Column("Rank", title, plain=title) for title in datasets),
                Column("", "Mean rank"),
            ),
            rows=tuple(Row((str(name),), tuple(_cells(across, str(name)))) for name in methods),
            notes=(
                "Ranks of few datasets are described and not tested.",
                *((sentence(f"Not ranked on every dataset: {', '.join(absent)}"),) if absent else ()),
            ),
        )


def _cells(across: Across, name: str) -> Iterator[TableCell]:
    for rank in across.ranks.loc[[name]].to_numpy(dtype=float)[0].tolist():
        yield TableCell(f"{rank:g}", sort=rank)
    yield TableCell(f"{across.mean_ranks[name]:.2f}", sort=float(across.mean_ranks[name]))
