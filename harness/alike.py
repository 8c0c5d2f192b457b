"""One fault of a thousand cases is one line: what differs in nothing but the case and numbers is said once."""

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def group_alike(faults: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Returns faults in groups, each in the order given; groups in the order of their first.

    Args:
        faults: What is wrong with each case.
        key: Gives what the faults of a group have in common, from :func:`without_case`.
    """
    groups: dict[Hashable, list[T]] = defaultdict(list)
    for fault in faults:
        groups[key(fault)].append(fault)
    return list(groups.values())


def without_case(text: str, case: str = "") -> str:
    """Returns a message with its case and all numbers replaced, so that it equals that of another case.

    Args:
        text: The message; paths in it may hold the case's name.
        case: Name of the case; empty for a message whose names differ in numbers alone.
    """
    if case:
        text = re.sub(rf"(?<![^\W_]){re.escape(case)}(?![^\W_])", "CASE", text)
    return _NUMBER.sub("0", text)


def name_some(names: Sequence[str], most: int = 4) -> str:
    """Returns names in one line: all of them, or their number and the first few.

    Args:
        names: Names of cases or files.
        most: Number of names that are shown whole.
    """
    if len(names) <= most:
        return ", ".join(names)
    return f"{len(names)} cases: {', '.join(names[:most])}, ..."
