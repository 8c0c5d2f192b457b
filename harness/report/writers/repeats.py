"""What every table of a dataset says is said once on a page."""

from collections.abc import Sequence
from dataclasses import replace

from harness.report.tables.table import Table


def said_once(tables: Sequence[Table]) -> list[Table]:
    """Returns tables without the notes that an earlier table of the same dataset has, in the order given.

    A page is read whole; a table that stands alone in a file keeps all its notes.

    Args:
        tables: Tables of one page.
    """
    said: dict[str, set[str]] = {}
    found = []
    for table in tables:
        before = said.setdefault(table.dataset, set())
        found.append(replace(table, notes=tuple(note for note in table.notes if note not in before)))
        before.update(table.notes)
    return found
