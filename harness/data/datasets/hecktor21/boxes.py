"""The official boxes: one per patient, 144 mm along each axis, in LPS millimetres (ITK's world, not NIfTI's)."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import DataError

SIDE_MM = 144

#: Boxes are written with rounded coordinates.
_TOLERANCE_MM = 0.5

_COLUMNS = ("PatientID", "x1", "x2", "y1", "y2", "z1", "z2")


@dataclass(frozen=True)
class Box:
    """One box.

    Attributes:
        corner: Smallest x, y, z of the box in LPS mm.
    """

    corner: tuple[float, float, float]


def read_boxes(path: Path) -> dict[str, Box | str]:
    """Reads the boxes by patient; rows of patients that are not in the folder do no harm.

    Returns:
        Patient to box, or to what is wrong with its row: one bad row stops one patient only.

    Raises:
        DataError: The file is missing or has other columns.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            missing = [name for name in _COLUMNS if name not in (rows.fieldnames or [])]
            if missing:
                raise DataError(f"{path} has no column {missing[0]}.", hint=f"It must have {', '.join(_COLUMNS)}.")
            boxes: dict[str, Box | str] = {}
            for row in rows:
                name, box = (row["PatientID"] or "").strip(), _box(row)
                boxes[name] = "it has two rows that differ" if boxes.get(name, box) != box else box
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="Unpack the official archive again.") from error
    return boxes


def _box(row: Mapping[str, str | None]) -> Box | str:
    try:
        x1, x2, y1, y2, z1, z2 = (float(row[name] or "") for name in _COLUMNS[1:])
    except ValueError:
        return "its row holds a value that is not a number"
    for low, high in ((x1, x2), (y1, y2), (z1, z2)):
        if not abs(high - low - SIDE_MM) <= _TOLERANCE_MM:
            return f"its box is {high - low:g} mm long along one axis, not {SIDE_MM} mm"
    return Box((x1, y1, z1))
