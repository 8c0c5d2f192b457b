"""In what two files of a report differ, in words."""

import csv
import io
import math
import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

#: Two sums of the same numbers may differ so much between processors and versions of libraries.
_ROUNDING = 1e-9

#: Pictures in a page.
_IMAGE = re.compile(r"base64,[A-Za-z0-9+/=]+")

_LONGEST = 120


def difference(published: Path, made: Path, pictures: bool = True) -> str:
    """Returns in what a published file differs from the one that was made again; empty where they are equal.

    Args:
        published: The published file.
        made: The one made again.
        pictures: Whether pictures in a page are compared.
    """
    try:
        before = published.read_bytes()
    except OSError:
        return "it is missing"
    after = made.read_bytes()
    if before == after:
        return ""
    if made.suffix in (".png", ".pdf"):
        return "the picture that follows from the rows is another one"
    old, new = before.decode("utf-8", errors="replace"), after.decode("utf-8", errors="replace")
    if made.suffix == ".html" and not pictures:
        old, new = _IMAGE.sub("", old), _IMAGE.sub("", new)
    if made.suffix == ".csv":
        return next(_rows_that_differ(old, new), "")
    for number, (left, right) in enumerate(zip_longest(old.splitlines(), new.splitlines(), fillvalue=""), start=1):
        if left != right:
            return f"line {number}: published {_short(left, right)}, computed {_short(right, left)}"
    return "" if old == new else "its line ends differ"


def _rows_that_differ(old: str, new: str) -> Iterator[str]:
    """Yields in which row and column tables differ beyond rounding, with both values."""
    before, after = (list(csv.reader(io.StringIO(text))) for text in (old, new))
    if before[:1] != after[:1]:
        yield "the columns differ"
        return
    if len(before) != len(after):
        yield f"published {len(before) - 1} rows, computed {len(after) - 1}"
    for number, (left, right) in enumerate(zip(before[1:], after[1:], strict=False), start=1):
        for column, ours, theirs in zip(after[0], left, right, strict=False):
            if ours != theirs and not _is_rounding(ours, theirs):
                yield f"row {number}, {column}: published {_short(ours, theirs)}, computed {_short(theirs, ours)}"


def _is_rounding(one: str, other: str) -> bool:
    try:
        return math.isclose(float(one), float(other), rel_tol=_ROUNDING, abs_tol=_ROUNDING * _ROUNDING)
    except ValueError:
        return False


def _short(text: str, other: str) -> str:
    """Returns a text from near the place where it differs from another one."""
    place = next((n for n, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))
    start = max(0, place - 20) if len(text) > _LONGEST else 0
    return f"'{text[start : start + _LONGEST]}'"
