"""The official tables ``train.csv``, ``valid.csv`` and ``test.csv``: which files belong to which patient."""

import csv
from dataclasses import dataclass
from pathlib import Path

from harness.data.reading.files import find_folder, inside
from harness.errors import DataError

#: Columns of the modalities, in channel order.
IMAGES = ("t2", "adc", "dwi")

_LABEL = "t2_anatomy_reader1"

#: What the official tables hold where nothing was drawn.
_BLANK = ("", "nan")


@dataclass(frozen=True)
class Row:
    """The files of one patient.

    Attributes:
        images: One file per modality, in channel order.
        label: Zones; ``None`` where they were not drawn.
    """

    images: tuple[Path, ...]
    label: Path | None


@dataclass(frozen=True)
class Tables:
    """The three official lists, by case.

    Attributes:
        files: Paths of the three tables.
    """

    files: tuple[Path, ...]
    train: dict[str, Row]
    valid: dict[str, Row]
    test: dict[str, Row]

    @property
    def rows(self) -> dict[str, Row]:
        """All of them, sorted by case."""
        return dict(sorted({**self.train, **self.valid, **self.test}.items()))


def read_tables(root: Path) -> Tables:
    """Reads the three tables, wherever the two archives were unpacked below ``root``.

    Raises:
        DataError: A table is missing, lacks a column, holds no rows, or lists a patient that another one lists.
    """
    training = _find(root, "train.csv", "the training archive (zenodo.org record 6481141)")
    testing = _find(root, "test.csv", "the test archive (zenodo.org record 6592345)")
    files = (training / "train.csv", training / "valid.csv", testing / "test.csv")
    tables = Tables(files, *(_read(root, file) for file in files))
    listed = [*tables.train, *tables.valid, *tables.test]
    if twice := sorted({case for case in listed if listed.count(case) > 1}):
        raise DataError(
            f"Patients are listed in two of the tables train.csv, valid.csv and test.csv: {', '.join(twice)}",
            hint="Unpack the official archives again, and do not edit their tables.",
        )
    return tables


def _find(root: Path, table: str, archive: str) -> Path:
    try:
        return find_folder(root, lambda folder: (folder / table).is_file(), table)
    except DataError as error:
        if "more than once" in error.message:
            raise
        raise DataError(
            f"{root} does not hold {table} of Prostate158.",
            hint=f"Name a folder that holds both unpacked archives; {table} comes with {archive}.",
        ) from error


def _read(root: Path, table: Path) -> dict[str, Row]:
    """Returns the rows by patient number of three digits, as folders are named; the tables have it without zeros."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} cannot be read: {error}", hint="Unpack the official archive again.") from error
    if not lines:
        raise DataError(f"{table} lists no patient.", hint="Unpack the official archive again.")
    if missing := [name for name in ("ID", *IMAGES, _LABEL) if name not in lines[0]]:
        raise DataError(
            f"{table} lacks the columns {', '.join(missing)}.", hint="Unpack the official archive again, unchanged."
        )
    rows: dict[str, Row] = {}
    for number, line in enumerate(lines, start=2):
        case = _case(line["ID"], table, number)
        if case in rows:
            raise DataError(
                f"{table}, line {number}: patient {case} is listed twice.", hint="Unpack the archive again."
            )
        blank = [name for name in IMAGES if _is_blank(line[name])]
        if blank:
            raise DataError(
                f"{table}, line {number}: patient {case} has no {', '.join(blank)}.", hint="Unpack the archive again."
            )
        label = None if _is_blank(line[_LABEL]) else _path(root, table, line[_LABEL])
        rows[case] = Row(tuple(_path(root, table, line[name]) for name in IMAGES), label)
    return rows


def _case(identifier: str | None, table: Path, number: int) -> str:
    text = (identifier or "").strip().removesuffix(".0")  # some tools read the column as decimals
    if not text.isdecimal():
        raise DataError(
            f"{table}, line {number}: '{identifier}' is not a patient number.", hint="Unpack the archive again."
        )
    return f"{int(text):03d}"


def _is_blank(value: str | None) -> bool:
    return value is None or value.strip().lower() in _BLANK


def _path(root: Path, table: Path, value: str) -> Path:
    return inside(root, table.parent / value.strip())
