"""All tables of a report, in the order they are read."""

from __future__ import annotations

from collections.abc import Iterator

from harness.report.computed import Computed
from harness.report.forms.ablation import ablation_tables
from harness.report.forms.differences import difference_table
from harness.report.forms.efficiency import efficiency_table
from harness.report.forms.leading import leading_tables
from harness.report.forms.means import mean_table, median_table
from harness.report.forms.published import published_table
from harness.report.layout import Table
from harness.report.variants import datasets_of

__all__ = ["build_tables"]


def build_tables(computed: Computed) -> list[Table]:
    """The tables of every dataset; a form that has nothing to say about a study is left out."""
    return [table for dataset in datasets_of(computed.results) for table in _of_dataset(computed, dataset)]


def _of_dataset(computed: Computed, dataset: str) -> Iterator[Table]:
    yield mean_table(computed, dataset)
    if (deltas := difference_table(computed, dataset)) is not None:
        yield deltas
    yield from ablation_tables(computed, dataset)
    yield from leading_tables(computed, dataset)
    yield median_table(computed, dataset)
    if (efficiency := efficiency_table(computed, dataset)) is not None:
        yield efficiency
    if (published := published_table(computed, dataset)) is not None:
        yield published
