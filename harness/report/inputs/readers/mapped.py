"""Any csv file, its columns named on the command line.

``--column case=ID`` names the column of cases. Scores stand in one column per region (``--column dice/WT=Dice_WT``), or
one row holds one region (``--column region=structure --column dice=DSC``), or one row holds one score (``--column
region=structure --column metric=measure --column value=score``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from harness.errors import DataError, HarnessError, did_you_mean, one_line
from harness.evaluation import METRICS
from harness.report.inputs.csv_file import open_table
from harness.report.inputs.readers.source import ROW_COLUMNS, UNNAMED, Request, Source
from harness.report.inputs.readers.wide import long_rows, numbers_of, ordered_regions, refuse_double_cases, statuses_of

#: What a column may mean beside a metric, or a metric of a region.
MEANINGS = ("case", "patient", "region", "metric", "value", "fold", "seed")


def parse_columns(texts: Sequence[str]) -> dict[str, str]:
    """Returns columns by what they mean.

    Args:
        texts: What each column means and its heading, e.g. ``case=ID``, ``dice/WT=Dice_WT``.

    Raises:
        HarnessError: One is not of that form, names no metric, is there twice, or none names the cases.
    """
    found: dict[str, str] = {}
    for text in texts:
        meaning, separator, heading = (part.strip() for part in text.partition("="))
        if not separator or not meaning or not heading:
            raise HarnessError(f"--column '{text}' is refused.", hint="Write MEANING=HEADING, e.g. --column case=ID.")
        if meaning in found:
            raise HarnessError(f"--column names '{meaning}' twice.", hint="Name each once.")
        metric = meaning.partition("/")[0]
        if meaning not in MEANINGS and not METRICS.knows(metric):
            known = [*MEANINGS, *METRICS.names()]
            raise HarnessError(f"--column '{text}': a column cannot mean '{metric}'.", hint=did_you_mean(metric, known))
        found[meaning] = heading
    if found and "case" not in found:
        raise HarnessError("--column does not say which column names the cases.", hint="Add --column case=HEADING.")
    return found


class MappedReader:
    """Reads a table by the columns that the user named."""

    name = "table with named columns"

    def recognises(self, request: Request) -> bool:
        """Whether the user named columns."""
        return bool(request.columns)

    def read(self, request: Request) -> Source:
        """Reads the named columns.

        Raises:
            DataError: One of them is absent, or a field is not a number.
            HarnessError: The columns do not make scores.
        """
        headings = list(dict.fromkeys(request.columns.values()))
        table = open_table(request.path)
        rows = table.rows(headings)
        scored = {meaning: heading for meaning, heading in request.columns.items() if meaning not in MEANINGS}
        if {"metric", "value"} <= set(request.columns):
            found, regions = _long(rows, request)
        elif scored and all("/" in meaning for meaning in scored):
            found, regions = _wide(rows, request, scored)
        elif scored:
            found, regions = _by_region(rows, request, scored)
        else:
            raise HarnessError(
                f"{request.path}: no --column names a score.",
                hint="Add --column dice/REGION=HEADING, or region= and dice=, or region=, metric= and value=.",
            )
        return Source(
            path=request.path,
            format=self.name,
            rows=found,
            where=lambda row: f"row {row}",
            regions={request.dataset or UNNAMED: regions},
            has_folds="fold" in request.columns,
            notes=table.notes,
            implementation=f"as in {request.path.name}",
        )


def _wide(rows: pd.DataFrame, request: Request, scored: Mapping[str, str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    if "region" in request.columns:
        raise HarnessError("--column names a column of regions and the region of a score.", hint="Name one of them.")
    columns = [(heading, *meaning.split("/", 1)) for meaning, heading in scored.items()]
    cases = request.columns["case"]
    if "fold" not in request.columns and "seed" not in request.columns:
        refuse_double_cases(rows, cases, request)
    placed = [(heading, metric, region) for heading, metric, region in columns]
    return long_rows(rows, request, cases, placed, more=_more(rows, request)), ordered_regions(placed)


def _by_region(rows: pd.DataFrame, request: Request, scored: Mapping[str, str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """One row per case and region, one column per metric; a table without regions has one region."""
    names = rows[request.columns["region"]] if "region" in request.columns else pd.Series("all", rows.index)
    parts = [
        long_rows(rows, request, request.columns["case"], [(heading, metric, "")], more=_more(rows, request)).assign(
            region=names.to_numpy()
        )
        for metric, heading in scored.items()
    ]
    return pd.concat(parts), tuple(map(str, names.unique()))


def _long(rows: pd.DataFrame, request: Request) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """One row per score; metrics are written as ours, upper or lower case."""
    metrics = rows[request.columns["metric"]].str.lower()
    names = rows[request.columns["region"]] if "region" in request.columns else pd.Series("all", rows.index)
    unknown = [name for name in metrics.unique() if not METRICS.knows(str(name))]
    if unknown:
        row = metrics.index[metrics == unknown[0]][0]
        raise DataError(
            f"{request.path}, row {row}: metric '{one_line(str(unknown[0]))}' is refused.",
            hint=did_you_mean(str(unknown[0]), METRICS.names()),
        )
    heading = request.columns["value"]
    found = long_rows(rows, request, request.columns["case"], [(heading, "dice", "")], more=_more(rows, request))
    values = numbers_of(rows[heading], request)
    status = np.empty(len(rows), dtype=object)
    for metric in metrics.unique():
        mine = (metrics == metric).to_numpy()
        values[mine], status[mine] = statuses_of(str(metric), values[mine])
    found = found.assign(metric=metrics.to_numpy(), region=names.to_numpy(), value=values, status=status)
    return found[list(ROW_COLUMNS)], tuple(map(str, names.unique()))


def _more(rows: pd.DataFrame, request: Request) -> dict[str, object]:
    """Returns patient, fold and seed where columns name them."""
    more: dict[str, object] = {}
    if "patient" in request.columns:
        more["patient"] = rows[request.columns["patient"]]
    for name in ("fold", "seed"):
        if name in request.columns:
            more[name] = numbers_of(rows[request.columns[name]], request)
    return more
