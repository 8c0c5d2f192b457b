"""Text of tables as spreadsheets export them: any encoding, any separator."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.errors import DataError
from harness.files import read_bytes

#: Separators, and their names in messages.
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "'|'"}

_BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
#: Excel's own first line, which names the separator.
_SEPARATOR_LINE = re.compile(r"sep=([^\w\s\"]|\t)\r?\n?", re.IGNORECASE)


def read_csv_text(path: Path) -> tuple[str, bool]:
    """Reads the text of a csv file.

    Returns:
        The text, and whether its encoding is certain: UTF-8, or what a byte order mark names. What is neither is read
        as Windows-1252.

    Raises:
        DataError: The file cannot be read, or is no text file.
    """
    try:
        content = read_bytes(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError(f"{path} cannot be read: {reason}.", hint="Give a csv file with headings.") from error
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise DataError(f"{path} is a workbook, not a csv file.", hint="Save its sheet as 'CSV UTF-8'.")
    marked = next((name for mark, name in _BYTE_ORDER_MARKS.items() if content.startswith(mark)), "")
    certain = True
    try:
        text = content.decode(marked or "utf-8")
    except UnicodeDecodeError:
        # What Excel for Windows calls "CSV" without more, in Western Europe and America.
        text, certain = content.decode("cp1252", errors="replace"), False
        if marked or "\ufffd" in text:
            text = "\0"
    if "\0" in text:
        raise DataError(f"{path} is not a text file.", hint="Save it as 'CSV UTF-8'.")
    return text, certain


def find_separator(text: str, known: Sequence[str]) -> tuple[str, str]:
    """Returns the table without Excel's line ``sep=``, and its separator.

    Args:
        text: The file's text.
        known: Headings in lower case. The separator is that with which most of them are there, then the one with which
            there are most columns.
    """
    if named := _SEPARATOR_LINE.match(text):
        return text[named.end() :], named[1]
    head = text.lstrip("\r\n;,\t ").split("\n", 1)[0]

    def found(separator: str) -> tuple[int, int]:
        fields = [field.strip(' "\r').lower() for field in head.split(separator)]
        return len(set(fields) & set(known)), len(fields)

    return text, max(SEPARATORS, key=found)


def records(path: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yields each row that is not empty with its number, blanks around its fields removed.

    Raises:
        DataError: A quote lacks its other half, or a field has no end.
    """
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
