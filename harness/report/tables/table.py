"""What a table is before it takes a form: headings, rows, cells, and the words above and under it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

__all__ = ["CHECK", "DAGGER", "MARKED", "WITHIN_SEEDS", "Column", "Row", "Table", "TableCell", "word_cell"]

#: Marks a mean over fewer results than its neighbours.
DAGGER = "†"

#: A switch that is on.
CHECK = "✓"

#: What the marks of a ranked table mean.
MARKED = "equal printed values share the mark"

#: Whether a difference lies within the spread between seeds, in words.
WITHIN_SEEDS = {None: "–", True: "yes, a tie", False: "no"}


@dataclass(frozen=True)
class Column:
    """One column of numbers.

    Attributes:
        group: Heading over a run of columns, ``''`` for none.
        title: Heading of the column itself.
        metric: Metric name, ``''`` where the column holds none.
        region: Region or the mean over regions, ``''`` where the column belongs to none.
        plain: Heading for forms with one row of headings; default: group and title.
    """

    group: str
    title: str
    metric: str = ""
    region: str = ""
    plain: str = ""

    @property
    def name(self) -> str:
        """Heading for forms that have one row of headings."""
        return self.plain or f"{self.group} {self.title}".strip()


@dataclass(frozen=True)
class TableCell:
    """One cell of a table.

    Attributes:
        main: The value at printed precision, or a word such as ``failed``.
        spread: The standard deviation, ``''`` for none.
        span: Lower and upper end of a range, printed in brackets; ``''`` for none.
        mark: ``best``, ``second`` or ``''``.
        dagger: The value stands on fewer results than its neighbours.
        is_word: ``main`` is a word, not a number.
        sort: What the entry sorts by in a page; ``None`` for last.
    """

    main: str
    spread: str = ""
    span: str = ""
    mark: str = ""
    dagger: bool = False
    is_word: bool = False
    sort: float | None = None

    @property
    def tail(self) -> str:
        """What follows the value in plain text."""
        spread = f" ± {self.spread}" if self.spread else ""
        span = f" [{self.span}]" if self.span else ""
        return f"{spread}{span}{DAGGER if self.dagger else ''}"

    @property
    def text(self) -> str:
        """The cell without emphasis, for forms that have none."""
        return f"{self.main}{self.tail}"


@dataclass(frozen=True)
class Row:
    """One row: its header cells and its other cells."""

    header: tuple[str, ...]
    cells: tuple[TableCell, ...]
    is_floor: bool = False


@dataclass(frozen=True)
class Table:
    """A table, ready for any form.

    Attributes:
        kind: Name of the form, e.g. ``means``; with ``dataset`` it names the table's file.
        dataset: Registered dataset name, or what else the table is about.
        title: Short title, always with the kind of data.
        caption: Sentences above the table.
        row_header: Headings of the columns that name the rows.
        columns: Columns of numbers.
        rows: Variants in study order, then floors.
        notes: Sentences under the table.
        marked: What the best and second marks rank, e.g. ``mean``; ``''`` where nothing is marked.
    """

    kind: str
    dataset: str
    title: str
    caption: tuple[str, ...]
    row_header: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    marked: str = ""

    @property
    def name(self) -> str:
        """Name of the table's file and of its LaTeX label."""
        return "".join(each if each.isalnum() and each.isascii() else "-" for each in f"{self.kind}-{self.dataset}")

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Group headings with the number of columns under each."""
        return [(name, len(list(members))) for name, members in groupby(column.group for column in self.columns)]


def word_cell(text: str) -> TableCell:
    """An entry that is a word where a number would stand."""
    return TableCell(text, is_word=True)
