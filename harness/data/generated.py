"""Generated data: a marker in its folder, so that every table can say so and no training code needs to know."""

from __future__ import annotations

from pathlib import Path

from harness.errors import DataError
from harness.files import read_json, write_json

__all__ = ["MARKER", "is_generated", "mark_generated"]

#: Written by generators into the folder they fill.
MARKER = "GENERATED.json"


def mark_generated(root: Path, dataset: str, patients: int, seed: int, scale: float) -> None:
    """Marks a folder as generated.

    Args:
        root: The folder that was filled.
        dataset: Whose layout it has.
        patients: How many there are.
        seed: What it was drawn from.
        scale: Size against the real images, 1 for the official shape.
    """
    write_json(root / MARKER, {"dataset": dataset, "patients": patients, "seed": seed, "scale": scale})


def is_generated(root: Path) -> bool:
    """Returns whether a dataset folder, or a folder it lies in (two levels up at most), was generated.

    Raises:
        DataError: There is a marker that cannot be read.
    """
    for folder in (root, *list(root.resolve().parents)[:2]):
        marker = folder / MARKER
        if marker.is_file():
            try:
                read_json(marker)
            except ValueError as error:
                raise DataError(f"{marker} is damaged: {error}", hint="Generate the data again.") from error
            return True
    return False
