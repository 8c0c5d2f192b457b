"""Tables in parts that fit a printed page and can still be read."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, pairwise

from harness.report.tables.table import Row, Table

#: Characters of a row name that still fit on one line.
LONG_NAME = 26

#: Characters across a page on which a table is still set in 7 pt: upright, and turned.
_UPRIGHT, _TURNED = 140, 210
#: Lines of rows on a page, beside caption and notes: upright, and turned.
_TALL, _SHORT = 44, 30
#: What stands between two columns, in characters.
_BETWEEN = 2.4


def is_wide(table: Table) -> bool:
    """Whether the table needs a page that is turned."""
    return _names_width(table) + sum(_widths(table)) > _UPRIGHT


def parts_of(table: Table, *, turned: bool) -> list[Table]:
    """The table itself, or parts of whole groups of columns and whole runs of rows; the notes stand under the last.

    Args:
        table: The table.
        turned: Whether the page is.
    """
    across = _packed(_column_groups(table), _widths(table), _TURNED - _names_width(table))
    down = _packed(_row_groups(table), [_lines(row) for row in table.rows], _SHORT if turned else _TALL)
    places = [(columns, rows) for rows in down for columns in across]
    if len(places) == 1:
        return [table]
    return [_part(table, number, len(places), *each) for number, each in enumerate(places, start=1)]


def _packed(groups: Sequence[Sequence[int]], sizes: Sequence[float], room: float) -> list[list[int]]:
    """Groups laid one after another into as few parts as hold them; a group too large for a part is broken."""
    parts: list[list[int]] = [[]]
    for group in groups:
        whole = sum(sizes[place] for place in group) <= room
        for block in [list(group)] if whole else [[place] for place in group]:
            if parts[-1] and sum(sizes[place] for place in [*parts[-1], *block]) > room:
                parts.append([])
            parts[-1] += block
    return parts


def _column_groups(table: Table) -> list[list[int]]:
    starts = [0]
    for _, width in table.groups:
        starts.append(starts[-1] + width)
    return [list(range(start, end)) for start, end in pairwise(starts)]


def _row_groups(table: Table) -> list[list[int]]:
    """Rows of one variant belong together, and so do all floors."""
    keys = ["" if row.is_floor else row.header for row in table.rows]
    return [[place for place, _ in group] for _, group in groupby(enumerate(keys), key=lambda each: each[1])]


def _part(table: Table, number: int, of: int, columns: Sequence[int], rows: Sequence[int]) -> Table:
    return replace(
        table,
        kind=table.kind if number == 1 else f"{table.kind}-{number}",
        caption=(*(table.caption if number == 1 else table.caption[:1]), f"Part {number} of {of}."),
        columns=tuple(table.columns[place] for place in columns),
        rows=tuple(
            replace(table.rows[place], cells=tuple(table.rows[place].cells[column] for column in columns))
            for place in rows
        ),
        notes=table.notes if number == of else (),
    )


def _widths(table: Table) -> list[float]:
    """Width of each column in characters."""
    return [
        _BETWEEN + max([len(column.title), *(len(row.cells[place].text) for row in table.rows)])
        for place, column in enumerate(table.columns)
    ]


def _names_width(table: Table) -> float:
    longest = [
        max(map(len, names)) for names in zip(table.row_header, *(row.header for row in table.rows), strict=True)
    ]
    return sum(_BETWEEN + min(each, LONG_NAME) for each in longest)


def _lines(row: Row) -> float:
    return -(-max(len(row.header[0]), 1) // LONG_NAME)
