"""Reads columns of patients from files that the user or the owners of a dataset wrote. They are personal data."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.csv_text import SEPARATORS, find_separator, read_csv_text, records
from harness.data.reading.special_files import refuse_special
from harness.errors import DataError
from harness.files import read_json

#: Lies beside ``dataset.json``: case to patient, and patient to columns.
PATIENTS = "patients.json"

#: Key of a case's patient among its columns.
_PATIENT = "patient"

#: Headings of the column that names patients, in tables of the user's.
KEYS = (_PATIENT, "participant_id")

#: What stands for no value in tables.
_BLANK = {"", "n/a", "na", "nan", "none"}

_HINT = (
    'It must read {"CASE": "PATIENT", ...} with every labelled case, {"PATIENT": {"site": "A", ...}, ...}, or both, '
    'as in {"CASE": {"patient": "PATIENT", "site": "A"}, ...}.'
)


def read_patients(path: Path) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Reads ``patients.json``: which patient a case belongs to, and what is known of each.

    Args:
        path: The file; it need not be there.

    Returns:
        Case to patient, empty where the file says nothing of it; patient to column to value.

    Raises:
        DataError: The file cannot be read, or cases of one patient differ in a column.
    """
    if not path.exists():
        return {}, {}
    refuse_special(path)
    try:
        content = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint=_HINT) from error
    if not isinstance(content, dict) or not all(isinstance(entry, str | dict) for entry in content.values()):
        raise DataError(f"{path} does not map cases to patients.", hint=_HINT)
    patients: dict[str, str] = {}
    rows: list[tuple[str, dict[str, str]]] = []
    for name, entry in ((str(key), value) for key, value in content.items()):
        if isinstance(entry, str):
            patients[name] = entry
            continue
        columns = {str(column): _text(value, f"{path}, '{name}'") for column, value in entry.items()}
        if patient := columns.pop(_PATIENT, ""):
            patients[name] = patient
        rows.append((patients.get(name, name), columns))
    return patients, _joined(rows, path)


def read_table(path: Path, keys: Sequence[str] = KEYS) -> dict[str, dict[str, str]]:
    """Reads a table with headings and one row per patient, as any spreadsheet writes it.

    Args:
        path: The file; ``.tsv`` is separated by tabs, any other by what its headings show.
        keys: Headings, one of which is that of the column that names patients; upper and lower case are alike.

    Returns:
        Patient to column to value; a value that is blank or ``n/a`` is left out.

    Raises:
        DataError: The file cannot be read, no column names patients, a heading or a patient stands twice, or a row has
            too many values or no patient.
    """
    text, certain = read_csv_text(path)
    if not certain:
        # A wrong guess would make two sites of one, or name patients that do not exist.
        raise DataError(f"{path} is not in UTF-8.", hint="Save it as 'CSV UTF-8'.")
    body, separator = find_separator(text, [key.lower() for key in keys])
    separator = "\t" if path.suffix == ".tsv" else separator
    lines = records(path, body, separator)
    heading = _heading(path, next(lines, (1, []))[1], keys, SEPARATORS.get(separator, separator))
    key = next(name for name in keys if name in heading)
    rows: dict[str, dict[str, str]] = {}
    for number, line in lines:
        if any(line[len(heading) :]):
            raise DataError(
                f"{path}, row {number}: {len(line)} values for {len(heading)} columns.",
                hint="Put a value that holds the separator into quotes.",
            )
        values = {name: value for name, value in zip(heading, line, strict=False) if name}
        patient = values.pop(key, "")
        if not patient:
            raise DataError(f"{path}, row {number} names no patient.", hint=f"Fill its '{key}', or delete the row.")
        if patient in rows:
            raise DataError(f"{path}, row {number}: patient '{patient}' stands twice.", hint="Keep one row each.")
        rows[patient] = {name: value for name, value in values.items() if value.lower() not in _BLANK}
    return rows


def _heading(path: Path, found: Sequence[str], keys: Sequence[str], separator: str) -> list[str]:
    """Returns the headings, that of the patients' column as it is called here."""
    heading = [next((key for key in keys if key.lower() == name.lower()), name) for name in found]
    if not any(name in keys for name in heading):
        seen = f"its headings, separated by {separator}, are {', '.join(found)}" if found else "it is empty"
        raise DataError(
            f"{path} has no column '{keys[0]}': {seen}.",
            hint=f"Its first line must name the columns: `{keys[0]}`, and others such as `site`.",
        )
    if twice := [name for name in heading if name and heading.count(name) > 1]:
        raise DataError(f"{path} has the heading '{twice[0]}' twice.", hint="Keep one of the two columns.")
    return heading


def _text(value: Any, where: str) -> str:
    """Returns a value as text: a number as it is written, nothing for null."""
    if isinstance(value, list | dict):
        raise DataError(f"{where}: a column holds a text or a number, not {value!r}.", hint=_HINT)
    return "" if value is None else str(value).strip()


def _joined(rows: Iterable[tuple[str, Mapping[str, str]]], path: Path) -> dict[str, dict[str, str]]:
    """Returns the columns of each patient, of whom several cases may say the same."""
    joined: dict[str, dict[str, str]] = {}
    for patient, columns in rows:
        known = joined.setdefault(patient, {})
        for column, value in columns.items():
            if value.lower() in _BLANK:
                continue
            if known.setdefault(column, value) != value:
                raise DataError(
                    f"{path}: the cases of patient '{patient}' differ in '{column}'.",
                    hint="A column belongs to the patient: give all cases of a patient the same value.",
                )
    return joined
