"""Groups of patients by a column: its values, or thirds where it holds many numbers."""

from collections.abc import Mapping

import numpy as np

from harness.errors import DataError

#: So many different numbers are still groups of their own, such as field strengths.
_FEW_NUMBERS = 6


def group_patients(
    column: str, values: Mapping[str, str], *, by_value: bool = False
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Groups patients by what a column says of them.

    Args:
        column: Name of the column, for messages.
        values: Value of each patient.
        by_value: Whether each value is a group, however many there are: folds went by it.

    Returns:
        Groups in order, and the group of each patient.

    Raises:
        DataError: There are so many different texts that they are no groups.
    """
    distinct = set(values.values())
    numbers = {text: number for text in distinct if (number := _number(text)) is not None}
    if len(numbers) == len(distinct):
        if len(distinct) > _FEW_NUMBERS and not by_value:
            return _thirds({patient: numbers[text] for patient, text in values.items()})
        return tuple(sorted(distinct, key=lambda text: (numbers[text], text))), dict(values)
    if len(distinct) > max(2, len(values) // 2) and not by_value:
        raise DataError(
            f"'{column}' has {len(distinct)} different values for {len(values)} patients, so it makes no groups.",
            hint="Name a column with fewer values, or join some of them; numbers are grouped by thirds.",
        )
    return tuple(sorted(distinct)), dict(values)


def _thirds(numbers: Mapping[str, float]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Groups patients by thirds of a number; equal numbers are in one group."""
    known = np.array(list(numbers.values()))
    bounds = np.quantile(known, [1 / 3, 2 / 3])
    places = {patient: int(np.searchsorted(bounds, number)) for patient, number in numbers.items()}
    names = {}
    for place in sorted(set(places.values())):
        own = [number for patient, number in numbers.items() if places[patient] == place]
        names[place] = f"{min(own):g}" if min(own) == max(own) else f"{min(own):g} to {max(own):g}"
    return tuple(names.values()), {patient: names[place] for patient, place in places.items()}


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None
