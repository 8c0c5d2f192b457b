"""Numbers in words and back, and tables that stay readable on 80 columns."""

import math
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from harness.cli.shared.console import styled
from harness.errors import HarnessError


def say_left_out(console: Console, broken: Mapping[str, str]) -> None:
    """Says which plug-ins a list lacks, and why."""
    for message in broken.values():
        console.print(styled("yellow", "left out:", f" {message}"), highlight=False)


def duration(seconds: float) -> str:
    """Returns e.g. '45 s', '3 min 20 s', '5 h 10 min', '12 days'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours / 24:.0f} days"


def parse_duration(text: str) -> float:
    """Returns seconds of e.g. '45', '45s', '90m', '2h', '1.5d'.

    Raises:
        HarnessError: The text is not a positive duration.
    """
    number, unit = (text[:-1], text[-1:]) if text[-1:] in _UNITS else (text, "s")
    try:
        seconds = float(number) * _UNITS[unit]
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise HarnessError(f"'{text}': invalid duration.", hint="Write e.g. 90m, 2h or 1.5d.")
    return seconds


def parse_size(text: str) -> tuple[int, ...]:
    """Returns the sides of e.g. '128x128' or '96,96,96'.

    Raises:
        HarnessError: These are not two or three positive numbers.
    """
    parts = text.lower().replace("x", ",").split(",")
    if len(parts) not in (2, 3) or not all(part.strip().isdecimal() and int(part) for part in parts):
        raise HarnessError(f"'{text}': invalid size.", hint="Write two or three positive numbers, e.g. 128x128.")
    return tuple(int(part) for part in parts)


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def table(*columns: str, wrap: Sequence[str] = ("variant", "note", "what it does", "title", "regions")) -> Table:
    """Returns a plain table; only the columns named by ``wrap`` may break their lines."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        # Where a terminal is too narrow, a number is seen to be cut: 0.8… instead of 0.8.
        made.add_column(column, no_wrap=column not in wrap, overflow="fold" if column in wrap else "ellipsis")
    return made


def constant_axes(rows: Sequence[Mapping[str, object]]) -> tuple[str, list[str]]:
    """Splits axes into those with one value, as words, and those worth a column.

    Args:
        rows: The same keys in every row.

    Returns:
        E.g. ``("dataset cortex, fold 0", ["leading", "seed"])``.
    """
    axes = list(rows[0])
    varying = [axis for axis in axes if len({row[axis] for row in rows}) > 1]
    fixed = ", ".join(f"{axis} {rows[0][axis]}" for axis in axes if axis not in varying)
    return fixed, varying
