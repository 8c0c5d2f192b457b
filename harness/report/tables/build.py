"""All tables of a report, in the order they are read."""

from __future__ import annotations

from collections.abc import Iterator

from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.tables.ablation import ablation_tables
from harness.report.tables.across_datasets import across_table
from harness.report.tables.comparisons import comparison_tables, difference_tables
from harness.report.tables.efficiency import efficiency_table
from harness.report.tables.leading import leading_tables
from harness.report.tables.means import mean_table, median_table
from harness.report.tables.missing_modalities import missing_tables
from harness.report.tables.published import published_table
from harness.report.tables.table import Table

__all__ = ["build_tables"]


def build_tables(study: StudyAnalysis) -> list[Table]:
    """The tables of every dataset, then those across them; a form that has nothing to say is left out."""
    tables = [table for view in study.views.values() for table in _of_dataset(study, view)]
    return [*tables, *(across_table(study, metric) for metric in study.across)]


def _of_dataset(study: StudyAnalysis, view: DatasetView) -> Iterator[Table]:
    yield mean_table(study, view)
    yield from difference_tables(study, view)
    yield from comparison_tables(study, view)
    yield from ablation_tables(study, view)
    yield from leading_tables(study, view)
    yield from missing_tables(view)
    yield median_table(study, view)
    if (efficiency := efficiency_table(study, view)) is not None:
        yield efficiency
    if (published := published_table(study, view)) is not None:
        yield published
