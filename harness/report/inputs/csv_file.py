"""Tables of results as spreadsheets export them, with the decimal sign of any locale."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from harness.csv_text import SEPARATORS, find_separator, read_csv_text, records
from harness.errors import DataError


@dataclass(frozen=True)
class TextTable:
    """A csv file whose headings are known and whose rows are not read yet.

    Attributes:
        path: The file.
        headings: Headings as the file writes them.
        notes: What was assumed.
    """

    path: Path
    headings: tuple[str, ...]
    notes: tuple[str, ...]
    _body: str
    _separator: str

    def require(self, needed: Sequence[str], optional: Sequence[str] = ()) -> None:
        """Refuses a table without some columns, or with one twice; upper and lower case are alike.

        Raises:
            DataError: A column is absent, or there twice.
        """
        _places(self.path, self.headings, self._separator, needed, optional)

    def rows(self, needed: Sequence[str], optional: Sequence[str] = (), hint: str = "") -> pd.DataFrame:
        """Reads columns; the others, and empty rows, are left out.

        Args:
            needed: Headings that must be there; upper and lower case are alike.
            optional: Headings that may be there.
            hint: What a table without rows should hold.

        Returns:
            Texts without blanks around them. The index is the row as a spreadsheet numbers it, the headings being
            row 1.

        Raises:
            DataError: A column is absent or there twice, there is no row, or a row has more fields than headings.
        """
        places = _places(self.path, self.headings, self._separator, needed, optional)
        found = records(self.path, self._body, self._separator)
        next(found, None)
        index: list[int] = []
        columns: dict[str, list[str]] = {name: [] for name in places}
        for row, fields in found:
            if any(fields[len(self.headings) :]):
                raise DataError(
                    f"{self.path}, row {row} has {len(fields)} fields, the headings {len(self.headings)}.",
                    hint="Put texts and numbers that hold the separator "
                    f'({SEPARATORS.get(self._separator, self._separator)}) into quotes: "0,816".',
                )
            index.append(row)
            for name, place in places.items():
                columns[name].append(sys.intern(fields[place]) if place < len(fields) else "")
        if not index:
            raise DataError(f"{self.path} has no rows.", hint=hint or "One row per case.")
        return pd.DataFrame(columns, index=index, dtype=object)


def open_table(path: Path, known: Sequence[str] = ()) -> TextTable:
    """Opens a csv file: separated by commas, semicolons, tabs or '|'; UTF-8, UTF-16 or Windows-1252.

    Args:
        path: The file.
        known: Headings by which the separator is told; default: the one that gives most columns.

    Raises:
        DataError: It cannot be read, or is no csv file.
    """
    text, certain = read_csv_text(path)
    guess = f"{path} is not in UTF-8; read as Windows-1252. If names look wrong, save it as 'CSV UTF-8'."
    body, separator = find_separator(text, known)
    _, headings = next(records(path, body, separator), (1, []))
    return TextTable(path, tuple(headings), () if certain else (guess,), body, separator)


def read_table(path: Path, needed: Sequence[str], optional: Sequence[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Reads a csv file with known headings.

    Args:
        path: The file, see :func:`open_table`.
        needed: Headings that must be there.
        optional: Headings that may be there.

    Returns:
        As :meth:`TextTable.rows`, and what was assumed.

    Raises:
        DataError: As :func:`open_table` and :meth:`TextTable.rows`.
    """
    table = open_table(path, needed)
    return table.rows(needed, optional, "One row per case, region and metric."), table.notes


def parse_numbers(texts: pd.Series, path: Path) -> pd.Series:
    """Returns the numbers of a column, whose decimal sign is a point or a comma; NaN where there is none.

    Args:
        texts: The column, as :func:`read_table` returns it.
        path: The file, for messages.

    Raises:
        DataError: Some numbers have a point and others a comma, or one has both: 1,234 has two meanings then.
    """
    comma, point = texts.str.contains(",", regex=False), texts.str.contains(".", regex=False)
    if comma.any() and point.any():
        (row, one), (other_row, other) = (next(texts[rows].items()) for rows in (comma, point))
        raise DataError(
            f"{path}, column '{texts.name}': '{one}' in row {row} has a comma, '{other}' in row {other_row} a point.",
            hint="Use one decimal sign in the whole column, and no sign between thousands.",
        )
    plain = texts.str.replace(",", ".", n=1, regex=False) if comma.any() else texts
    plain = plain.where(plain.str.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", na=False), "")
    return pd.to_numeric(plain, errors="coerce").astype(np.float64)


def _places(
    path: Path, headings: Sequence[str], separator: str, needed: Sequence[str], optional: Sequence[str]
) -> dict[str, int]:
    """Returns where each known column stands."""
    names = [heading.lower() for heading in headings]
    if twice := [name for name in (*needed, *optional) if names.count(name.lower()) > 1]:
        raise DataError(f"{path} has the column '{twice[0]}' twice.", hint="Keep one of them.")
    if absent := [name for name in needed if name.lower() not in names]:
        found = f"Its headings, separated by {SEPARATORS.get(separator, separator)}: {', '.join(headings)}"
        raise DataError(
            f"{path} lacks the column{'s' if len(absent) > 1 else ''} {', '.join(absent)}.",
            hint=f"{found if any(headings) else 'It is empty'}. Needed: {', '.join(needed)}"
            + (f"; optional: {', '.join(optional)}." if optional else "."),
        )
    return {name: names.index(name.lower()) for name in (*needed, *optional) if name.lower() in names}
