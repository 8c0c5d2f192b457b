"""Results of another group, from a csv file with one row per case, region and metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.errors import DataError, did_you_mean, one_line
from harness.evaluation import METRICS
from harness.report.inputs.csv_file import parse_numbers, read_table
from harness.report.inputs.several_studies import combine
from harness.results.schema import CASE_COLUMNS, CELL_COLUMNS, FLOOR_COLUMNS, HISTORY_COLUMNS, STATUSES, StudyResults

#: Columns the file must have.
NEEDED = ("method", "label", "dataset", "patient", "case", "region", "metric", "value")

#: Columns it may have, and what stands for one that it lacks.
_DEFAULTS = {"seed": "0", "fold": "0", "status": "scored", "leading": "-"}
_NAME_DATASET = " `harness evaluate --dataset-name` names the dataset of a file that it writes."
_COSTS = ("parameters", "gflops", "train_seconds", "peak_memory_mb", "latency_seconds", "energy_wh", "steps")
_UNKNOWN = "unknown (imported)"


def add_imported(study: StudyResults, paths: Sequence[Path]) -> tuple[StudyResults, tuple[str, ...]]:
    """Returns a study with the results of others beside its own.

    Args:
        study: The study.
        paths: Csv files, see :func:`read_imported`; one that is named twice is read once.

    Returns:
        All of them as one, and what was assumed or given another name.

    Raises:
        DataError: As :func:`read_imported`.
        HarnessError: As :func:`~harness.report.inputs.several_studies.combine`.
    """
    files = list(dict.fromkeys(path.resolve() for path in paths))
    stems = [path.stem for path in files]
    notes: list[str] = []
    imported = [
        read_imported(path, study, path.stem if stems.count(path.stem) == 1 else str(path.with_suffix("")), notes)
        for path in files
    ]
    joined = combine([study, *imported])
    for other in imported:
        for label in set(other.labels) - set(joined.labels):
            notes.append(
                f"'{label}' in {other.study}.csv is called '{label} ({other.study})': another file has it too."
            )
    return joined, tuple(notes)


def read_imported(path: Path, beside: StudyResults, name: str = "", notes: list[str] | None = None) -> StudyResults:
    """Reads a csv file as a study without models, protocol or split.

    Args:
        path: Csv file as :func:`~harness.report.inputs.csv_file.read_table` reads it, with the columns :data:`NEEDED`.
        beside: Study the file is compared with: its datasets and metrics are the only ones taken.
        name: What the study is called; default: the file's name. It follows a label that ``beside`` has, too.
        notes: What was assumed or given another name is added here.

    Raises:
        DataError: The file cannot be read, lacks a column, holds a dataset, region, metric, status or value that
            cannot be (the message names the file and the first such row), holds one result twice, or shares no case
            with the study.
    """
    name = name or path.stem
    table, assumed = read_table(path, NEEDED, tuple(_DEFAULTS))
    rows = _checked(table.assign(**{key: _DEFAULTS[key] for key in _DEFAULTS if key not in table}), path, beside)
    rows = _with_patients(rows, beside)
    _refuse_double(rows, path)
    _refuse_other_cases(rows, path, beside)
    clashing = {label: f"{label} ({name})" for label in rows["label"].unique() if label in beside.labels}
    rows["label"] = rows["label"].replace(clashing)
    if notes is not None:
        notes += assumed
        notes += [f"{path}: '{old}' is called '{new}', the study has the label too." for old, new in clashing.items()]
    rows["cell"] = [
        f"{name}/{row.label}/{row.dataset}/{row.leading}/fold{row.fold}/seed{row.seed}"
        for row in rows.itertuples(index=False)
    ]
    rows = rows.assign(study=name, profile="imported", model=rows["method"], implementation=f"as in {path.name}")
    columns = beside.cells.columns  # `start` and costs only where the study has them
    return StudyResults(
        study=name,
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
        empty=beside.empty,
    )


def _checked(rows: pd.DataFrame, path: Path, beside: StudyResults) -> pd.DataFrame:
    """Returns the rows of the study's metrics, numbers as numbers."""
    metrics = [*METRICS.names(), *(name for name in rows["metric"].unique() if METRICS.knows(name))]
    for column, known in (("dataset", beside.datasets), ("metric", metrics), ("status", STATUSES)):
        wrong = ~rows[column].isin(list(known))
        remedy = _NAME_DATASET if column == "dataset" else ""
        _refuse(wrong, rows, path, column, did_you_mean(rows[column].loc[_first(wrong)], known) + remedy)
    for column in ("value", "seed", "fold"):
        rows = rows.assign(**{column: parse_numbers(rows[column], path)}, **{f"{column} in file": rows[column]})
    for column in ("seed", "fold"):
        _refuse(~(rows[column] >= 0) | (rows[column] % 1 != 0), rows, path, column, "Give a whole number.")
    # A file may hold more metrics than the study reports.
    rows = rows[rows["metric"].isin(beside.metrics)].astype({"seed": int, "fold": int})
    if rows.empty:
        raise DataError(f"{path} has no row of {', '.join(beside.metrics)}.", hint="These are what the study reports.")
    for dataset, group in rows.groupby("dataset"):
        regions = beside.datasets[str(dataset)].regions
        _refuse(~group["region"].isin(regions), group, path, "region", f"Regions of {dataset}: {', '.join(regions)}.")
    for column in ("method", "label", "patient", "case"):
        _refuse(rows[column] == "", rows, path, column, "It may not be empty.")
    finite = np.isfinite(rows["value"])
    _refuse(~finite, rows, path, "value", "Give a finite number for every case; a missing one counts as worst.")
    for metric in map(METRICS.get, beside.metrics):
        to = f"between {metric.lowest:g} and {metric.highest:g}{' (not a percentage)' if metric.highest == 1 else ''}"
        range_of = to if metric.highest < np.inf else f"at {metric.lowest:g} or above"
        out_of_range = (rows["metric"] == metric.name) & ~rows["value"].between(metric.lowest, metric.highest)
        _refuse(out_of_range, rows, path, "value", f"{metric.title} lies {range_of}.")
    return rows


def _refuse_double(rows: pd.DataFrame, path: Path) -> None:
    """Two values for one thing: whichever was taken, the report would depend on the order of rows."""
    key = ["label", "dataset", "leading", "fold", "seed", "case", "region", "metric"]
    double = rows[rows.duplicated(key, keep=False)]
    if double.empty:
        return
    same = double[(double[key] == double[key].iloc[0]).all(axis=1)]
    one, other = same.iloc[:2].to_dict("records")
    place = one_line(f"'{one['label']}', {one['dataset']}, case '{one['case']}', region '{one['region']}'")
    raise DataError(
        f"{path}, rows {same.index[0]} and {same.index[1]}: two values of {one['metric']} for {place}: "
        f"{one['value in file']} and {other['value in file']}.",
        hint="Keep one. Columns `seed` and `fold` tell several trainings apart, `label` several methods.",
    )


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
            first, second = map(one_line, theirs[0])
            raise DataError(
                f"{path}: no patient and case of {dataset} is one of the study's; e.g. patient '{first}', case "
                f"'{second}' in the file, patient '{patient}', case '{case}' in the study.",
                hint="Give both the names they have in the study (csv/cases.csv of its report); `harness evaluate "
                "--patient` says which part of a case's name is the patient.",
            )


def _refuse(wrong: pd.Series[bool], rows: pd.DataFrame, path: Path, column: str, hint: str) -> None:
    if wrong.any():
        row = _first(wrong)
        text = rows[f"{column} in file" if f"{column} in file" in rows else column].loc[row]
        raise DataError(f"{path}, row {row}: {column} '{one_line(str(text))}' is refused.", hint=hint)


def _first(rows: pd.Series[bool]) -> int:
    return int(str(rows.idxmax()))


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
