"""Markdown (GitHub's): the tables for a terminal, an issue or a README."""

import re
from collections.abc import Sequence

from harness.report.tables.table import MARKED, Row, Table, TableCell
from harness.report.writers.repeats import said_once
from harness.results.schema import StudyResults

#: Characters of two lines where GitHub shows them.
TWO_LINES = 250

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~#$])")


def escape_markdown(text: str) -> str:
    """Makes any text safe inside a table cell or a paragraph."""
    return _SPECIAL.sub(r"\\\1", re.sub(r"\s+", " ", text))


def markdown_document(results: StudyResults, answers: Sequence[str], tables: Sequence[Table], remark: str = "") -> str:
    """The study's question, what it answers of a publication, the answers, a remark and every table; notes once."""
    asked = f"Answers: {results.answers}." if results.answers else ""
    place = f"Study {results.study}, profile {results.profile}."
    head = [escape_markdown(text) for text in (results.question, f"{place} {asked}".strip(), *answers, remark) if text]
    sections = [_section(table) for table in said_once(tables, TWO_LINES)]
    return "\n\n".join([f"# {escape_markdown(results.study)}", *head, *sections]) + "\n"


def _section(table: Table) -> str:
    caption = " ".join(escape_markdown(sentence) for sentence in table.caption)
    if table.marked:
        caption += f" **Best** and *second* {table.marked} are marked; {MARKED}."
    notes = "\n".join(f"- {escape_markdown(note)}" for note in table.notes)
    return "\n\n".join(filter(None, [f"## {escape_markdown(table.title)}", caption, _grid(table), notes]))


def _grid(table: Table) -> str:
    """Pads the columns, so that the table also reads well where nothing renders it."""
    header = [escape_markdown(name) for name in (*table.row_header, *(column.name for column in table.columns))]
    body = [_row(row) for row in table.rows]
    widths = [max(3, *(len(line[i]) for line in [header, *body])) for i in range(len(header))]
    named = len(table.row_header)
    rule = [":" + "-" * (width - 1) if i < named else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return "\n".join(_line(line, widths, named) for line in [header, rule, *body])


def _line(parts: Sequence[str], widths: Sequence[int], named: int) -> str:
    padded = (
        part.ljust(width) if i < named else part.rjust(width)
        for i, (part, width) in enumerate(zip(parts, widths, strict=True))
    )
    return f"| {' | '.join(padded)} |"


def _row(row: Row) -> list[str]:
    names = [f"*{escape_markdown(name)}*" if row.is_floor and name else escape_markdown(name) for name in row.header]
    return [*names, *(_entry(entry) for entry in row.cells)]


def _entry(entry: TableCell) -> str:
    if entry.is_word:
        return f"*{escape_markdown(entry.text)}*"
    main = escape_markdown(entry.main)
    main = {"best": f"**{main}**", "second": f"*{main}*"}.get(entry.mark, main)
    return main + escape_markdown(entry.tail)
