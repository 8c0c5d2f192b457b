"""Tables that no page holds come in parts: nothing is lost, and rows and columns that belong together stay so."""

from __future__ import annotations

from harness.report.tables.table import Column, Row, Table, TableCell
from harness.report.writers.pagination import is_wide, parts_of


def table(methods: int, groups: int, rows_each: int = 1) -> Table:
    columns = tuple(Column(f"metric {n}", region) for n in range(groups) for region in ("WT", "TC", "ET"))
    rows = [
        Row((f"method {number}",), tuple(TableCell(f"0.{place:03d}", spread="0.123") for place in range(len(columns))))
        for number in range(methods)
        for _ in range(rows_each)
    ]
    floor = Row(("floor",), tuple(TableCell("0.000") for _ in columns), is_floor=True)
    return Table("means", "d", "T", ("Title.", "More."), ("Variant",), columns, (*rows, floor), ("Note.",), "mean")


def test_a_table_that_fits_is_left_alone() -> None:
    small = table(4, 2)
    assert parts_of(small, turned=False) == [small]
    assert not is_wide(small)


def test_a_wide_table_is_cut_between_groups_of_columns() -> None:
    wide = table(4, 12)
    parts = parts_of(wide, turned=True)
    assert is_wide(wide)
    assert len(parts) == 3
    assert [column for part in parts for column in part.columns] == list(wide.columns)
    assert all(len(part.columns) % 3 == 0 for part in parts)
    assert [part.notes for part in parts] == [(), (), ("Note.",)]
    assert parts[1].caption == ("Title.", "Part 2 of 3.")
    assert len({part.name for part in parts}) == 3
    for part in parts:
        assert [row.header for row in part.rows] == [row.header for row in wide.rows]
        assert all(len(row.cells) == len(part.columns) for row in part.rows)


def test_a_tall_table_is_cut_between_methods() -> None:
    tall = table(11, 2, rows_each=8)
    parts = parts_of(tall, turned=False)
    assert len(parts) == 3
    assert [row for part in parts for row in part.rows] == list(tall.rows)
    for part in parts[:-1]:
        assert len(part.rows) == 40
    assert parts[-1].rows[-1].is_floor
