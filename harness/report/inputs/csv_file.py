"""Tables as spreadsheets export them: text with separators, in the encoding and with the decimal sign of any locale."""

import csv
import io
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from harness.errors import DataError
from harness.files import read_bytes

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "'|'"}
_BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
#: Excel's own first line, which names the separator.
_SEPARATOR_LINE = re.compile(r"sep=([^\w\s\"]|\t)\r?\n?", re.IGNORECASE)


def read_table(path: Path, needed: Sequence[str], optional: Sequence[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Reads a csv file: separated by commas, semicolons, tabs or '|'; UTF-8, UTF-16 or Windows-1252.

    Headings may be written in upper case. Columns with other headings, empty columns and empty rows are left out.

    Args:
        path: The file.
        needed: Headings that must be there.
        optional: Headings that may be there.

    Returns:
        Texts without blanks around them, and what was assumed. The index is the row as a spreadsheet numbers it,
        the headings being row 1.

    Raises:
        DataError: It cannot be read, is no csv file, lacks a column or has one twice, has no row, or has a row with
            more fields than headings.
    """
    text, notes = _text(path)
    body, separator = _separator(text, needed)
    records = _records(path, body, separator)
    _, headings = next(records, (1, []))
    places = _places(path, headings, separator, needed, optional)
    index: list[int] = []
    columns: dict[str, list[str]] = {name: [] for name in places}
    for row, fields in records:
        if any(fields[len(headings) :]):
            raise DataError(
                f"{path}, row {row} has {len(fields)} fields, the headings {len(headings)}.",
                hint=f"Put texts and numbers that hold the separator ({_SEPARATORS.get(separator, separator)}) into "
                'quotes: "0,816".',
            )
        index.append(row)
        for name, place in places.items():
            columns[name].append(sys.intern(fields[place]) if place < len(fields) else "")
    if not index:
        raise DataError(f"{path} has no rows.", hint="One row per case, region and metric.")
    return pd.DataFrame(columns, index=index, dtype=object), notes


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


def _text(path: Path) -> tuple[str, tuple[str, ...]]:
    try:
        content = read_bytes(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError(f"{path} cannot be read: {reason}.", hint="Give a csv file with headings.") from error
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise DataError(f"{path} is a workbook, not a csv file.", hint="Save its sheet as 'CSV UTF-8'.")
    marked = next((name for mark, name in _BYTE_ORDER_MARKS.items() if content.startswith(mark)), "")
    notes: tuple[str, ...] = ()
    try:
        text = content.decode(marked or "utf-8")
    except UnicodeDecodeError:
        # What Excel for Windows calls "CSV" without more, in Western Europe and America.
        text = content.decode("cp1252", errors="replace")
        notes = (f"{path} is not in UTF-8; read as Windows-1252. If names look wrong, save it as 'CSV UTF-8'.",)
        if marked or "\ufffd" in text:
            text = "\0"
    if "\0" in text:
        raise DataError(f"{path} is not a text file.", hint="Save it as 'CSV UTF-8'.")
    return text, notes


def _separator(text: str, needed: Sequence[str]) -> tuple[str, str]:
    """Returns the table, and the separator with which most of the needed columns are there."""
    if named := _SEPARATOR_LINE.match(text):
        return text[named.end() :], named[1]
    head = text.lstrip("\r\n;,\t ").split("\n", 1)[0]

    def found(separator: str) -> int:
        return len({field.strip(' "\r').lower() for field in head.split(separator)} & set(needed))

    return text, max(_SEPARATORS, key=found)


def _records(path: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yields each row that is not empty with its number, blanks around its fields removed."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    row = 0
    try:
        for row, fields in enumerate(reader, start=1):
            stripped = [field.strip() for field in fields]
            if any(stripped):
                yield row, stripped
    except csv.Error as error:
        raise DataError(
            f"{path}, row {row + 1} cannot be read as csv: {error}.", hint="Look for a quote without its other half."
        ) from error


def _places(
    path: Path, headings: Sequence[str], separator: str, needed: Sequence[str], optional: Sequence[str]
) -> dict[str, int]:
    """Returns where each known column stands."""
    names = [heading.lower() for heading in headings]
    if twice := [name for name in (*needed, *optional) if names.count(name) > 1]:
        raise DataError(f"{path} has the column '{twice[0]}' twice.", hint="Keep one of them.")
    if absent := [name for name in needed if name not in names]:
        found = f"Its headings, separated by {_SEPARATORS.get(separator, separator)}: {', '.join(headings)}"
        raise DataError(
            f"{path} lacks the column{'s' if len(absent) > 1 else ''} {', '.join(absent)}.",
            hint=f"{found if any(headings) else 'It is empty'}. Needed: {', '.join(needed)}; optional: "
            f"{', '.join(optional)}.",
        )
    return {name: names.index(name) for name in (*needed, *optional) if name in names}
