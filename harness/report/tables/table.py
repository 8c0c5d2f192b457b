"""What a table is before a writer gives it a format, and what a new kind of table declares."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import groupby
from typing import Any

from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.variants import Variant

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
        plain: Heading for formats with one row of headings; default: group and title.
    """

    group: str
    title: str
    metric: str = ""
    region: str = ""
    plain: str = ""

    @property
    def name(self) -> str:
        """Heading for formats with one row of headings."""
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
        sort: What the cell sorts by in a page; ``None`` for last.
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
        """The cell without emphasis, for formats that have none."""
        return f"{self.main}{self.tail}"


#: A cell without a value.
NO_VALUE = TableCell("–")


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        header: Cells that name it.
        cells: Its other cells.
        is_floor: Whether it is a trivial method's.
        variant: The variant that it is about; None where it is about none or several.
    """

    header: tuple[str, ...]
    cells: tuple[TableCell, ...]
    is_floor: bool = False
    variant: Variant | None = None


@dataclass(frozen=True)
class Table:
    """A table, ready for any format.

    Attributes:
        kind: Name of the kind, e.g. ``means``; with ``dataset`` it names the table's file.
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


@dataclass(frozen=True)
class CsvFile:
    """One csv file: the numbers of a kind of table at full precision.

    Attributes:
        name: File name without suffix.
        columns: Columns in order, ``dataset`` and ``metric`` among them; the writer adds study, data, refusals and
            units.
        rows: Yields the rows of a study, each by column.
        optional: The file is left out where it has no rows.
    """

    name: str
    columns: tuple[str, ...]
    rows: Callable[[StudyAnalysis], Iterable[Mapping[str, Any]]]
    optional: bool = False


@dataclass(frozen=True)
class TableKind:
    """A kind of table: all that a new one declares; ``tables/build.py`` lists them.

    Attributes:
        build: Returns the tables of a dataset; none where there is nothing to show.
        csv: Files with the same numbers at full precision.
    """

    build: Callable[[StudyAnalysis, DatasetView], Iterable[Table]]
    csv: tuple[CsvFile, ...] = ()


def word_cell(text: str) -> TableCell:
    """A cell that holds a word where a number would stand."""
    return TableCell(text, is_word=True)


def flat_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with every interval as two columns, ``..._low`` and ``..._high``."""
    flat: dict[str, Any] = {}
    for name, value in record.items():
        if name.endswith("_interval"):
            start = name.removesuffix("_interval")
            flat[f"{start}_low"], flat[f"{start}_high"] = value or (None, None)
        else:
            flat[name] = value
    return flat


def flat_columns(record: type) -> tuple[str, ...]:
    """The columns of :func:`flat_record` for a dataclass."""
    return tuple(flat_record(dict.fromkeys(field.name for field in fields(record))))
