"""Columns of a dataset's patients: site, scanner, age and whatever else is known of them.

They are personal data. Nothing stores them: they are read from the dataset's folder when folds or a report ask for
them by name, so that no published folder and no tracking server receives them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from harness.data.contract import Reader
from harness.data.patients.table import KEYS, PATIENTS, read_patients, read_table
from harness.errors import DataError, did_you_mean

#: Tables that may lie in a dataset's folder: ours, and that of BIDS.
TABLES = ("patients.csv", "participants.tsv")

_SHOWN = 3


@runtime_checkable
class HasColumns(Protocol):
    """Additional method of a reader whose archive says more of patients than which images are theirs."""

    def patient_columns(self) -> Mapping[str, Mapping[str, str]]:
        """Returns patient to column to value; of patients and columns it need not know all."""


@dataclass(frozen=True)
class PatientColumns:
    """What is known of the patients of a dataset.

    Attributes:
        dataset: Name of the dataset.
        root: Its folder.
        patients: Patient of each labelled case.
        values: Column to patient to value.
    """

    dataset: str
    root: Path
    patients: Mapping[str, str]
    values: Mapping[str, Mapping[str, str]]

    def of(self, column: str) -> dict[str, str]:
        """Returns the value of every patient that has a labelled case.

        Raises:
            DataError: There is no such column, or patients lack it.
        """
        if column not in self.values:
            known = ", ".join(self.values)
            raise DataError(
                f"The patients of {self.dataset} have no column '{column}'"
                + (f"; they have {known}." if known else f": {self.root} holds no {' or '.join((PATIENTS, *TABLES))}."),
                hint=self._remedy(column),
            )
        known_values = self.values[column]
        everybody = sorted(set(self.patients.values()))
        lacking = [patient for patient in everybody if patient not in known_values]
        if lacking:
            raise DataError(
                f"{len(lacking)} of {len(everybody)} patients of {self.dataset} have no '{column}': {_some(lacking)}.",
                hint="Add their values, or write `unknown` for them, which then is a group of its own.",
            )
        return {patient: known_values[patient] for patient in everybody}

    def _remedy(self, column: str) -> str:
        """Returns what to do where a column is in no table; a spreadsheet that lies there may well have it."""
        sheets = sorted(path for path in self.root.glob("*.xls*") if path.name[0] not in ".~")
        if sheets:
            return (
                f"{sheets[0].name} is a spreadsheet, which is not read: save it beside it as 'CSV UTF-8', by its name "
                f"if it came with the dataset (docs/own_data.md), else as {TABLES[0]} with a column `patient`."
            )
        return did_you_mean(
            column, self.values, f"Write {TABLES[0]} in that folder: a column `patient`, and `{column}`."
        )


def read_columns(dataset: str, root: Path, reader: Reader) -> PatientColumns:
    """Reads what the dataset's own tables, ``patients.json`` and tables of the user's say of patients; the last counts.

    Args:
        dataset: Name of the dataset, for messages.
        root: Its folder.
        reader: Its reader.

    Raises:
        DataError: A file cannot be read, or names patients that the dataset does not have.
    """
    patients = {case: reader.patient(case) for case in reader.cases()}
    known = {*patients.values(), *map(reader.patient, reader.unlabelled())}
    sources = [reader.patient_columns()] if isinstance(reader, HasColumns) else []
    path = root / PATIENTS
    sources.append(_refuse_unknown(read_patients(path)[1], known, path))
    for path in (root / name for name in TABLES):
        if path.exists():
            rows = {_as_known(patient, known): columns for patient, columns in read_table(path).items()}
            sources.append(_refuse_unknown(rows, known, path))
    values: dict[str, dict[str, str]] = {}
    for source in sources:
        for patient, columns in source.items():
            for column, value in columns.items():
                values.setdefault(column, {})[patient] = value
    return PatientColumns(dataset, root, patients, values)


def _as_known(patient: str, known: Iterable[str]) -> str:
    """Returns a patient's name without the prefix that BIDS gives it, where it has none in the dataset."""
    return patient if patient in known else patient.removeprefix("sub-")


def _refuse_unknown(
    rows: Mapping[str, Mapping[str, str]], known: Iterable[str], path: Path
) -> Mapping[str, Mapping[str, str]]:
    if strangers := sorted(set(rows) - set(known)):
        raise DataError(
            f"{path} names {len(strangers)} patient{'s' if len(strangers) > 1 else ''} that the dataset does not have: "
            f"{_some(strangers)}.",
            hint=f"Its patients are called like {_some(sorted(known))}; correct the names, in `{KEYS[0]}` of a table.",
        )
    return rows


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
