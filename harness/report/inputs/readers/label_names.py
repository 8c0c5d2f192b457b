"""Names of labels and regions, from nnU-Net's or the Decathlon's ``dataset.json``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import DataError, one_line, shorten
from harness.files import read_json

FILE = "dataset.json"

#: How many folders above a result the file may lie: ``DATASET/MODEL/fold_0/validation/summary.json``.
_LEVELS = 5


@dataclass(frozen=True)
class LabelNames:
    """What a ``dataset.json`` says about labels.

    Attributes:
        path: The file.
        dataset: Name that it states; empty for none.
        regions: Values to name, background left out, in the order of the file.
        modalities: Names in channel order.
    """

    path: Path
    dataset: str
    regions: Mapping[tuple[int, ...], str]
    modalities: tuple[str, ...]


def find_label_names(start: Path) -> LabelNames | None:
    """Returns the names in the ``dataset.json`` beside results or above them; None where there is none.

    Args:
        start: File or folder of results.

    Raises:
        DataError: It cannot be read.
    """
    folder = start.resolve() if start.is_dir() else start.resolve().parent
    for place in [folder, *folder.parents][:_LEVELS]:
        if (place / FILE).is_file():
            return read_label_names(place / FILE)
    return None


def read_label_names(path: Path) -> LabelNames:
    """Reads ``dataset.json``: labels as names to values (nnU-Net v2) or as values to names (v1, Decathlon).

    Raises:
        DataError: It is no JSON mapping, or its labels are not values with names.
    """
    path = path / FILE if path.is_dir() else path
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="Give the dataset.json of the dataset.") from error
    labels = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(labels, dict) or not labels:
        raise DataError(f"{path}: `labels` must map names to values.", hint="Write it as nnU-Net does.")
    regions: dict[tuple[int, ...], str] = {}
    for key, value in labels.items():
        values, name = _region(path, one_line(str(key)), one_line(value) if isinstance(value, str) else value)
        if values == (0,):
            continue
        if values in regions or name in regions.values():
            raise DataError(f"{path}: two names for label {list(values)}, or one name '{name}' for two labels.")
        regions[values] = name
    channels = content.get("channel_names") or content.get("modality") or {}
    names = channels.values() if isinstance(channels, dict) else ()
    stated = one_line(str(content.get("name") or ""))
    return LabelNames(path, stated, regions, tuple(dict.fromkeys(one_line(str(name)) for name in names)))


def dataset_in_path(path: Path) -> str:
    """Returns the name in nnU-Net's folder of a dataset (``Dataset001_BrainTumour``), empty where none is in a path."""
    names = [match[1] for part in path.parts if (match := re.fullmatch(r"(?:Dataset|Task)\d{3}_(.+)", part))]
    return names[-1] if names else ""


def _region(path: Path, key: str, value: Any) -> tuple[tuple[int, ...], str]:
    if isinstance(value, str):
        key, value = value, key
        if not re.fullmatch(r"\d{1,9}", value):
            raise DataError(f"{path}: label '{key}' has no value that is a number: '{value}'.")
        value = int(value)
    values = value if isinstance(value, list) else [value]
    if not values or not all(type(one) is int and one >= 0 for one in values):
        raise DataError(f"{path}: label '{key}' must be a number from 0 or a list of them: {shorten(repr(value), 80)}.")
    return tuple(sorted(set(values))), key.strip() or f"label {values[0]}"
