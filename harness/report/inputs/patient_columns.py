"""Reads the columns of patients that a report is asked to show, from the datasets' folders."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.data.patients.columns import PatientColumns, read_columns
from harness.errors import DataError, HarnessError
from harness.results.schema import StudyResults
from harness.results.store import Store, StudyFolder
from harness.study.cell import CellSpec


def add_columns(
    study: StudyResults, store: Store, folders: Sequence[StudyFolder], columns: Sequence[str], *, asked: bool
) -> tuple[StudyResults, tuple[str, ...]]:
    """Returns results with columns of their patients, and which datasets lack one.

    Args:
        study: Results of one study or of several together.
        store: The results folder.
        folders: These studies.
        columns: Names of the columns.
        asked: Whether they were asked for now, and not by the study, whose data may be elsewhere by now.

    Raises:
        DataError: No dataset has a column, or patients with results lack its value.
    """
    if not columns:
        return study, ()
    tested = study.cases.groupby("dataset", observed=True)["patient"].unique()
    specs, elsewhere = _specs(store, folders)
    if elsewhere and not asked:
        names = ", ".join(columns)
        return study, (f"Scores by {names} are not shown: the data of {', '.join(elsewhere)} is not here.",)
    found: dict[str, dict[str, Mapping[str, str]]] = {}
    notes = []
    for dataset, spec in specs.items():
        known = _read(spec)
        for column in columns:
            if column in known.values:
                values = known.of(column)
                _refuse_gone(dataset, column, values, [str(one) for one in tested.get(dataset, [])])
                found.setdefault(dataset, {})[column] = values
            else:
                notes.append(f"{dataset} has no column '{column}' of its patients, so it is not shown by it.")
    for column in columns:
        if not any(column in known for known in found.values()):
            datasets = ", ".join(study.datasets)
            raise DataError(
                f"The report is to show scores by '{column}', but no patient of {datasets} has that column.",
                hint="Correct `by` in the study's `report`, or --by; columns may be misspelt in the table.",
            )
    return replace(study, columns=found), tuple(notes)


def _specs(store: Store, folders: Sequence[StudyFolder]) -> tuple[dict[str, CellSpec], list[str]]:
    """Returns a cell of each dataset, and the datasets whose folder is not here: what is published names none."""
    specs: dict[str, CellSpec] = {}
    elsewhere: list[str] = []
    for cell in (cell for folder in folders for _, cell in store.study_cells(folder)):
        if cell.status() == "damaged" or (record := cell.record()).dataset in (*specs, *elsewhere):
            continue
        if not record.root or not Path(record.root).is_dir():
            elsewhere.append(record.dataset)
            continue
        try:
            specs[record.dataset] = cell.spec()
        except (ValueError, HarnessError) as error:
            raise DataError(f"The columns of {record.dataset} cannot be read: {error}") from error
    return specs, elsewhere


def _read(spec: CellSpec) -> PatientColumns:
    dataset = spec.facts()
    reader = dataset.open(spec.root)
    return dataset.read_apart(lambda: read_columns(dataset.name, spec.root, reader))


def _refuse_gone(dataset: str, column: str, values: Mapping[str, str], tested: Sequence[str]) -> None:
    if gone := [patient for patient in tested if patient not in values]:
        raise DataError(
            f"{len(gone)} patients of {dataset} have results, but are no longer in its folder: {gone[0]}.",
            hint=f"Restore the folder that was used, or leave '{column}' out of the report.",
        )
