"""What a page says once, and captions that stay short: what is over is a note."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from harness.report.figures.figure import Drawing
from harness.report.tables.table import MARKED, Table

_SENTENCE = re.compile(r"(?<=[.!?]) (?=[A-Z0-9])")
#: Between the parts of a sentence that is too long by itself.
_PART = re.compile(r"(?<=[;,:]) ")


@dataclass(frozen=True)
class Legend:
    """What stands under a figure.

    Attributes:
        caption: Two lines at most.
        notes: The rest; folded where a page can fold.
    """

    caption: str
    notes: tuple[str, ...]


def said_once(tables: Sequence[Table], width: int) -> list[Table]:
    """Returns tables with captions of at most two lines, and without the notes that an earlier table has.

    A page is read whole; a table that stands alone in a file keeps all its notes.

    Args:
        tables: Tables of one page, in its order.
        width: Characters of two lines of a caption.
    """
    said: set[str] = set()
    found = []
    for table in (short_caption(table, width) for table in tables):
        found.append(replace(table, notes=tuple(note for note in table.notes if note not in said)))
        said.update(table.notes)
    return found


def short_caption(table: Table, width: int) -> Table:
    """Returns a table whose caption has at most two lines; the sentences beyond are its first notes.

    Where not even the first sentence fits (questions are the user's) the table's title stands in its place.

    Args:
        table: The table.
        width: Characters of two lines of a caption.
    """
    marked = f" Best and second {table.marked} are marked; {MARKED}." if table.marked else ""  # as writers add it
    caption, rest = _split(table.caption, width - len(marked), f"{table.title}.")
    return replace(table, caption=caption, notes=(*rest, *(note for note in table.notes if note not in rest)))


def legends(drawings: Sequence[Drawing], width: int) -> dict[str, Legend]:
    """Returns what stands under each figure of a page, by its name; a note of an earlier one is left out.

    Args:
        drawings: Figures of one page, in its order.
        width: Characters of two lines of a caption.
    """
    said: set[str] = set()
    found = {}
    for drawing in drawings:
        caption, rest = _split(_SENTENCE.split(drawing.caption), width)
        found[drawing.name] = Legend(" ".join(caption), tuple(note for note in rest if note not in said))
        said.update(rest)
    return found


def _split(sentences: Collection[str], width: int, heading: str = "") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the first sentences that fit, and the others.

    Where the first sentence does not fit by itself the heading stands first; where that does not fit or is not there
    (names are the user's), the parts of the sentence that do. All of the sentence is among the others.
    """
    fitting: list[str] = []
    rest = list(sentences)
    while rest and len(" ".join([*fitting, rest[0]])) <= width:
        fitting.append(rest.pop(0))
    if not fitting and heading and len(heading) <= width:
        return (heading,), tuple(sentence for sentence in rest if sentence != heading)
    if not fitting and rest:
        parts = _PART.split(rest[0])
        while len(parts) > 1 and len(" ".join(parts)) > width - 2:
            parts.pop()
        fitting = [f"{' '.join(parts)[: width - 2].rstrip(' ,;:')} …"]
    return tuple(fitting), tuple(rest)
