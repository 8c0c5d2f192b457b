"""What is wrong with the columns of a dataset's patients, for ``harness data check``; no value is shown."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.data.contract import Dataset, Reader
from harness.data.patients.columns import read_columns
from harness.data.reading.checks import Finding
from harness.errors import DataError


def check_columns(dataset: Dataset, root: Path, reader: Reader) -> tuple[Finding, ...]:
    """Returns whether the files cannot be read, columns that some patients with a labelled case lack, and likely typos.

    Args:
        dataset: Facts of the dataset.
        root: Its folder.
        reader: Its reader.
    """
    try:
        columns = read_columns(dataset.name, root, reader)
    except DataError as error:
        return (Finding("fix", "columns of patients", error.message, error.hint),)
    everybody = sorted(set(columns.patients.values()))
    lacking = {name: [one for one in everybody if one not in known] for name, known in columns.values.items()}
    gaps = tuple(
        Finding("look", patients[0], f"{len(patients)} of {len(everybody)} patients have no '{name}'.", "Add it.")
        for name, patients in lacking.items()
        if patients
    )
    return gaps + tuple(_alike(columns.values))


def _alike(values: Mapping[str, Mapping[str, str]]) -> Iterator[Finding]:
    """Yields columns in which one value is written in two ways, which a split takes for two."""
    for column, known in values.items():
        first: dict[str, tuple[str, str]] = {}
        for patient, value in sorted(known.items()):
            other, written = first.setdefault("".join(value.casefold().split()), (patient, value))
            if written != value:
                what = f"'{column}' of {other} and {patient} differs in upper and lower case or blanks alone."
                yield Finding("look", patient, what, "Write both alike, unless they are two things.")
                break
