"""Refuses what cannot be in rows of others' results, by file and place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from harness.errors import DataError, did_you_mean, one_line
from harness.evaluation import METRICS
from harness.report.inputs.readers.source import Source
from harness.results.schema import STATUSES, StudyResults

_NAME_DATASET = " `--dataset-name` names the dataset of a file, in `harness evaluate` and `harness report`."


def check_rows(source: Source, beside: StudyResults) -> pd.DataFrame:
    """Returns the rows of the study's metrics, all of them checked.

    Args:
        source: What was read, the policy's values included.
        beside: Study that says which datasets, regions and metrics there are.

    Raises:
        DataError: A row holds a dataset, region, metric, status or value that cannot be, or two rows are of one result.
    """
    rows = source.rows
    refuse = _refusing(source)
    metrics = [*METRICS.names(), *(name for name in rows["metric"].unique() if METRICS.knows(name))]
    for column, known in (("dataset", beside.datasets), ("metric", metrics), ("status", STATUSES)):
        wrong = ~rows[column].isin(list(known))
        first = str(rows[column].iloc[int(np.argmax(wrong.to_numpy()))])
        refuse(wrong, rows, column, did_you_mean(first, known) + (_NAME_DATASET if column == "dataset" else ""))
    for column in ("seed", "fold"):
        refuse(~(rows[column] >= 0) | (rows[column] % 1 != 0), rows, column, "Give a whole number.")
    # A file may hold more metrics than the study reports.
    rows = rows[rows["metric"].isin(beside.metrics)].astype({"seed": int, "fold": int})
    if rows.empty:
        raise DataError(
            f"{source.path} has no row of {', '.join(beside.metrics)}.", hint="These are what the study reports."
        )
    for dataset, group in rows.groupby("dataset"):
        regions = beside.datasets[str(dataset)].regions
        refuse(~group["region"].isin(regions), group, "region", f"Regions of {dataset}: {', '.join(regions)}.")
    for column in ("method", "label", "patient", "case"):
        refuse(rows[column] == "", rows, column, "It may not be empty.")
    # A distance of a missing prediction is infinite where nothing says how large the image is.
    wrong = ~np.isfinite(rows["value"]) & ~(np.isinf(rows["value"]) & (rows["status"] != "scored"))
    refuse(wrong, rows, "value", "Give a finite number for every case; a missing one counts as worst.")
    for metric in map(METRICS.get, beside.metrics):
        to = f"between {metric.lowest:g} and {metric.highest:g}{' (not a percentage)' if metric.highest == 1 else ''}"
        range_of = to if metric.highest < np.inf else f"at {metric.lowest:g} or above"
        out_of_range = (rows["metric"] == metric.name) & ~rows["value"].between(metric.lowest, metric.highest)
        refuse(out_of_range, rows, "value", f"{metric.title} lies {range_of}.")
    _refuse_double(rows, source)
    return rows


def refuse_other_cases(rows: pd.DataFrame, source: Source, beside: StudyResults) -> None:
    """Methods are compared patient by patient: where names differ, nothing at all would be.

    Raises:
        DataError: No patient and case is one of the study's.
    """
    for dataset, group in rows.groupby("dataset"):
        ours = beside.cases[beside.cases["dataset"] == dataset]
        pairs = set(zip(ours["patient"].astype(str), ours["case"].astype(str), strict=True))
        theirs = list(zip(group["patient"], group["case"], strict=True))
        if pairs and pairs.isdisjoint(theirs):
            patient, case = min(pairs)
            first, second = map(one_line, theirs[0])
            raise DataError(
                f"{source.path}: no patient and case of {dataset} is one of the study's; e.g. patient '{first}', case "
                f"'{second}' in the file, patient '{patient}', case '{case}' in the study.",
                hint="Give both the names they have in the study (csv/cases.csv of its report); `--patient` says which "
                "part of a case's name is the patient.",
            )


def _refuse_double(rows: pd.DataFrame, source: Source) -> None:
    """Two values for one thing: whichever was taken, the report would depend on the order of rows."""
    key = ["label", "dataset", "leading", "fold", "seed", "case", "region", "metric"]
    double = rows[rows.duplicated(key, keep=False)]
    if double.empty:
        return
    same = double[(double[key] == double[key].iloc[0]).all(axis=1)]
    one, other = same.iloc[:2].to_dict("records")
    text = "value in file" if "value in file" in same else "value"
    place = one_line(f"'{one['label']}', {one['dataset']}, case '{one['case']}', region '{one['region']}'")
    first, second = (source.where(int(row)) for row in same.index[:2])
    rows_of = f"rows {same.index[0]} and {same.index[1]}" if first.startswith("row ") else f"{first} and {second}"
    raise DataError(
        f"{source.path}, {rows_of}: two values of {one['metric']} for {place}: {one[text]} and {other[text]}.",
        hint="Keep one. Columns `seed` and `fold` tell several trainings apart, `label` several methods.",
    )


def _refusing(source: Source) -> Callable[[pd.Series[bool], pd.DataFrame, str, str], None]:
    def refuse(wrong: pd.Series[bool], rows: pd.DataFrame, column: str, hint: str) -> None:
        if wrong.any():
            place = int(np.flatnonzero(wrong)[0])
            text = rows[f"{column} in file" if f"{column} in file" in rows else column].iloc[place]
            where = source.where(int(str(rows.index[place])))
            raise DataError(f"{source.path}, {where}: {column} '{one_line(str(text))}' is refused.", hint=hint)

    return refuse
