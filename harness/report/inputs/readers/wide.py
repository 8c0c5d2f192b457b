"""Tables with one row per case and one column per region and metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.errors import DataError, one_line
from harness.evaluation import METRICS
from harness.report.inputs.csv_file import parse_numbers
from harness.report.inputs.readers.source import ROW_COLUMNS, UNNAMED, Request

#: What tables write where there is no number.
ABSENT = ("", "nan", "none", "na", "n/a", "null", "-")
_INFINITE = ("inf", "+inf", "infinity", "∞")


def numbers_of(texts: pd.Series[str], request: Request) -> NDArray[np.float64]:
    """Returns the numbers of a column: NaN where there is none, infinite where it says so.

    Raises:
        DataError: A text is neither; the message names its row.
    """
    lower = texts.str.lower()
    absent, infinite = lower.isin(ABSENT), lower.isin(_INFINITE)
    found = parse_numbers(texts.where(~(absent | infinite), ""), request.path)
    wrong = found.isna() & ~absent & ~infinite
    if wrong.any():
        place = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{request.path}, row {texts.index[place]}: column '{texts.name}' holds "
            f"'{one_line(str(texts.iloc[place]))}', which is not a number.",
            hint="Write a number, or leave the field empty where there is none.",
        )
    return np.where(infinite, np.inf, found.to_numpy(dtype=float))


def statuses_of(metric: str, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.object_]]:
    """Returns values and statuses: an infinite distance stands for one empty mask, no number for no prediction."""
    one_empty = np.isinf(values) & METRICS.get(metric).is_penalised
    status = np.select([np.isnan(values), one_empty], ["missing", "empty_one"], "scored").astype(object)
    return np.where(one_empty, np.nan, values), status


def long_rows(
    table: pd.DataFrame,
    request: Request,
    cases: str,
    columns: Sequence[tuple[str, str, str]],
    statuses: Mapping[str, NDArray[np.object_]] | None = None,
    more: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Returns one row per case, region and metric.

    Args:
        table: Texts, one row per case; the index is the row in the file.
        request: What the user said about the file.
        cases: Heading of the column that names cases.
        columns: Heading, metric and region of each column of scores.
        statuses: Status of every row, ``''`` where the number says it, by region; from counts that the file holds.
        more: Further columns: fold, seed, patient.

    Raises:
        DataError: A field is not a number, or a case has no name.
    """
    names = table[cases]
    if (names == "").any():
        raise DataError(f"{request.path}, row {names.index[names == ''][0]} names no case.")
    shared = {
        "label": request.method, "method": request.method, "dataset": request.dataset or UNNAMED, "leading": "-",
        "fold": 0, "seed": 0, "patient": [request.patient_of(str(name)) for name in names], "case": names,
    } | dict(more or {})  # fmt: skip
    parts = []
    for heading, metric, region in columns:
        values, status = statuses_of(metric, numbers_of(table[heading], request))
        counted = (statuses or {}).get(region)
        if counted is not None:
            values = np.where(counted == "", values, np.nan)
            status = np.where(counted == "", status, counted)
        parts.append(pd.DataFrame({**shared, "region": region, "metric": metric, "value": values, "status": status}))
    return pd.concat(parts)[list(ROW_COLUMNS)].set_axis(np.tile(table.index, len(parts)), axis=0)


def ordered_regions(columns: Sequence[tuple[str, str, str]]) -> tuple[str, ...]:
    """Returns the regions of columns, in the order of the file."""
    return tuple(dict.fromkeys(region for _, _, region in columns))


def refuse_double_cases(table: pd.DataFrame, cases: str, request: Request) -> None:
    """Refuses a table in which a case has two rows.

    Raises:
        DataError: The message names both rows.
    """
    double = table[table.duplicated(cases, keep=False)]
    if len(double):
        name = double[cases].iloc[0]
        rows = double.index[double[cases] == name]
        raise DataError(
            f"{request.path}, rows {rows[0]} and {rows[1]}: the case '{one_line(str(name))}' is there twice.",
            hint="Keep one of the two rows.",
        )
