"""panoptica's tsv file: ``subject_name``, then ``GROUP-METRIC``.

Only metrics of the whole group are read (``global_bin_...``), not those of matched instances. Where counts of instances
are there, they say which masks are empty. Source of the format: ``panoptica/panoptica_aggregator.py`` of
BrainLesion/panoptica.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.errors import DataError
from harness.report.inputs.csv_file import open_table
from harness.report.inputs.readers.source import UNNAMED, Request, Source
from harness.report.inputs.readers.wide import (
    ABSENT,
    long_rows,
    numbers_of,
    ordered_regions,
    refuse_double_cases,
)

_METRICS = {
    "global_bin_dsc": "dice",
    "global_bin_hd95": "hd95",
    "global_bin_hd": "hd",
    "global_bin_assd": "assd",
}
_CASES = "subject_name"
_TRUE, _PREDICTED = "num_ref_instances", "num_pred_instances"


class PanopticaReader:
    """Reads panoptica's table."""

    name = "panoptica"

    def recognises(self, request: Request) -> bool:
        """A column ``subject_name``."""
        if request.columns or request.path.suffix.lower() not in (".csv", ".tsv", ".txt"):
            return False
        return _CASES in open_table(request.path).headings

    def read(self, request: Request) -> Source:
        """Reads the cases; rows of single instances are left out.

        Raises:
            DataError: It has no metric of a whole group, or a field is not a number.
        """
        table = open_table(request.path)
        columns = _columns(table.headings)
        if not columns:
            raise DataError(
                f"{request.path} has no column of a whole group: {', '.join(_METRICS)}.",
                hint="Let panoptica compute them: global_metrics=[Metric.DSC].",
            )
        counts = [
            heading
            for _, _, region in columns
            for heading in (f"{region}-{_TRUE}", f"{region}-{_PREDICTED}")
            if heading in table.headings
        ]
        shown = list(dict.fromkeys([*(heading for heading, _, _ in columns), *counts]))
        rows = table.rows([_CASES, *shown])
        instances = rows[shown].apply(lambda column: column.str.lower().isin(ABSENT)).all(axis=1)
        rows = rows[~instances]
        if rows.empty:
            raise DataError(f"{request.path} has no row of a case.")
        refuse_double_cases(rows, _CASES, request)
        notes = (f"{request.path}: {int(instances.sum())} rows of single instances are left out.",)
        return Source(
            path=request.path,
            format=self.name,
            rows=long_rows(rows, request, _CASES, columns, _statuses(rows, columns, request)),
            where=lambda row: f"row {row}",
            regions={request.dataset or UNNAMED: ordered_regions(columns)},
            notes=(*table.notes, *(notes if instances.any() else ())),
            implementation="panoptica",
        )


def _columns(headings: tuple[str, ...]) -> list[tuple[str, str, str]]:
    found = [(heading, *heading.rpartition("-")[::2]) for heading in headings]
    return [(heading, _METRICS[metric], group) for heading, group, metric in found if metric in _METRICS and group]


def _statuses(
    rows: pd.DataFrame, columns: list[tuple[str, str, str]], request: Request
) -> dict[str, NDArray[np.object_]]:
    """Returns by region which masks are empty, ``''`` where both hold something or no count is there."""
    found = {}
    for region in ordered_regions(columns):
        headings = [f"{region}-{name}" for name in (_TRUE, _PREDICTED)]
        if set(headings) <= set(rows):
            true, predicted = (numbers_of(rows[heading], request) == 0 for heading in headings)
            status = np.select([true & predicted, true | predicted], ["empty_both", "empty_one"], "")
            found[region] = status.astype(object)
    return found
