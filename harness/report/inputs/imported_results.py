"""Results of another group, from a csv file with one row per case, region and metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.errors import DataError, did_you_mean
from harness.evaluation import METRICS
from harness.results.schema import CASE_COLUMNS, CELL_COLUMNS, FLOOR_COLUMNS, HISTORY_COLUMNS, STATUSES, StudyResults

#: Columns the file must have; ``seed``, ``fold``, ``status`` and ``leading`` may be there too.
NEEDED = ("method", "label", "dataset", "patient", "case", "region", "metric", "value")

_TEXT = ("method", "label", "dataset", "patient", "case", "region", "metric", "status", "leading")
_COSTS = ("parameters", "gflops", "train_seconds", "peak_memory_mb", "latency_seconds", "energy_wh", "steps")
_UNKNOWN = "unknown (imported)"


def read_imported(path: Path, beside: StudyResults) -> StudyResults:
    """Reads a csv file as a study without models, protocol or split.

    Args:
        path: Csv file, UTF-8, with the columns :data:`NEEDED`.
        beside: Study the file is compared with: its datasets and metrics are the only ones taken.

    Raises:
        DataError: The file cannot be read, lacks a column, holds a dataset, region, metric, status or value that
            cannot be (the message names the file and the first such row), or shares no case with the study.
    """
    rows = _with_patients(_checked(_read(path), path, beside), beside)
    rows["cell"] = [
        f"{path.stem}/{row.label}/{row.dataset}/{row.leading}/fold{row.fold}/seed{row.seed}"
        for row in rows.itertuples(index=False)
    ]
    _refuse_other_cases(rows, path, beside)
    rows = rows.assign(study=path.stem, profile="imported", model=rows["method"], implementation=f"as in {path.name}")
    columns = beside.cells.columns  # `start` and costs only where the study has them
    return StudyResults(
        study=path.stem,
        profile="imported",
        question="",
        reference=None,
        metrics=beside.metrics,
        labels=tuple(dict.fromkeys(rows["label"])),
        cases=rows[list(CASE_COLUMNS)],
        cells=pd.DataFrame([_cell(row) for row in rows.drop_duplicates("cell").to_dict("records")], columns=columns),
        history=pd.DataFrame(columns=list(HISTORY_COLUMNS)),
        floors=pd.DataFrame(columns=list(FLOOR_COLUMNS)),
        datasets=beside.datasets,
        overlays={},
    )


def _read(path: Path) -> pd.DataFrame:
    try:
        rows = pd.read_csv(path, dtype=dict.fromkeys(_TEXT, str), keep_default_na=False)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as csv: {error}", hint="Give a UTF-8 csv file with headings."
        ) from error
    absent = [name for name in NEEDED if name not in rows]
    if absent:
        raise DataError(
            f"{path} lacks the column{'s' if len(absent) > 1 else ''} {', '.join(absent)}.",
            hint=f"Needed: {', '.join(NEEDED)}; optional: seed, fold, status, leading.",
        )
    if rows.empty:
        raise DataError(f"{path} has no rows.", hint="One row per case, region and metric.")
    return rows.assign(
        **{name: 0 for name in ("seed", "fold") if name not in rows},
        **{name: default for name, default in (("status", "scored"), ("leading", "-")) if name not in rows},
    )


def _checked(rows: pd.DataFrame, path: Path, beside: StudyResults) -> pd.DataFrame:
    for column in ("dataset", "metric", "status"):
        known = {"dataset": beside.datasets, "metric": METRICS.names(), "status": STATUSES}[column]
        _refuse(~rows[column].isin(list(known)), rows, path, column, did_you_mean("", known))
    # A file may hold more metrics than the study reports; row numbers in messages stay those of the file.
    rows = rows[rows["metric"].isin(beside.metrics)]
    if rows.empty:
        raise DataError(f"{path} has no row of {', '.join(beside.metrics)}.", hint="These are what the study reports.")
    for dataset, group in rows.groupby("dataset"):
        regions = beside.datasets[str(dataset)].regions
        _refuse(~group["region"].isin(regions), group, path, "region", f"Regions of {dataset}: {', '.join(regions)}.")
    for column in ("method", "label", "patient", "case"):
        _refuse(rows[column].str.strip() == "", rows, path, column, "It may not be empty.")
    values = pd.to_numeric(rows["value"], errors="coerce").astype(float)
    _refuse(
        ~values.between(-np.finfo(float).max, np.finfo(float).max),
        rows,
        path,
        "value",
        "Give a finite number for every case; a missing one counts as worst.",
    )
    for metric in map(METRICS.get, beside.metrics):
        to = f"between {metric.lowest:g} and {metric.highest:g}{' (not a percentage)' if metric.highest == 1 else ''}"
        range_of = to if metric.highest < np.inf else f"at {metric.lowest:g} or above"
        out_of_range = (rows["metric"] == metric.name) & ~values.between(metric.lowest, metric.highest)
        _refuse(out_of_range, rows, path, "value", f"{metric.title} lies {range_of}.")
    for column in ("seed", "fold"):
        numbers = pd.to_numeric(rows[column], errors="coerce").astype(float)
        _refuse(~(numbers >= 0) | (numbers % 1 != 0), rows, path, column, "Give a whole number.")
        rows = rows.assign(**{column: numbers.astype(int)})
    return rows.assign(value=values)


def _with_patients(rows: pd.DataFrame, beside: StudyResults) -> pd.DataFrame:
    """Names the patient of each case as the study does, where the file names the case in the patient's place.

    So `harness evaluate` need not know which part of a case's name is the patient.
    """
    keys = ["dataset", "case"]
    ours = beside.cases[[*keys, "patient"]].astype(str).drop_duplicates(keys)
    known = rows[keys].merge(ours, on=keys, how="left")["patient"].set_axis(rows.index).fillna(rows["patient"])
    return rows.assign(patient=rows["patient"].where(rows["patient"] != rows["case"], known))


def _refuse_other_cases(rows: pd.DataFrame, path: Path, beside: StudyResults) -> None:
    """Methods are compared patient by patient: where names differ, nothing at all would be."""
    for dataset, group in rows.groupby("dataset"):
        ours = beside.cases[beside.cases["dataset"] == dataset]
        pairs = set(zip(ours["patient"].astype(str), ours["case"].astype(str), strict=True))
        theirs = list(zip(group["patient"], group["case"], strict=True))
        if pairs and pairs.isdisjoint(theirs):
            patient, case = min(pairs)
            raise DataError(
                f"{path}: no patient and case of {dataset} is one of the study's; e.g. patient '{theirs[0][0]}', case "
                f"'{theirs[0][1]}' in the file, patient '{patient}', case '{case}' in the study.",
                hint="Give both the names they have in the study (csv/cases.csv of its report); `harness evaluate "
                "--patient` says which part of a case's name is the patient.",
            )


def _refuse(wrong: pd.Series[bool], rows: pd.DataFrame, path: Path, column: str, hint: str) -> None:
    if wrong.any():
        place = int(str(wrong.idxmax()))
        # Row 1 of the file holds the headings.
        raise DataError(f"{path}, row {place + 2}: {column} '{rows[column].loc[place]}' is refused.", hint=hint)


def _cell(row: Mapping[Any, Any]) -> dict[str, Any]:
    copied = ("study", "profile", "cell", "dataset", "model", "label", "leading", "fold", "seed")
    return {
        **dict.fromkeys(CELL_COLUMNS, ""),
        **dict.fromkeys(_COSTS, math.nan),
        **{name: row[name] for name in copied},
        **dict.fromkeys(("split", "data", "protocol", "budget", "commit", "device", "start"), _UNKNOWN),
        "status": "done",
        "options": "{}",
    }
