"""The checked content of ``dataset.json``, nnU-Net's or the Decathlon's."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.assumptions import Assumption, sum_up
from harness.data.contract import FOLD_NAMES, Dataset, Normalisation
from harness.data.preparation.geometry import orientation_of
from harness.data.reading.nifti import read_placement
from harness.data.reading.special_files import refuse_special
from harness.errors import DataError, shorten
from harness.files import check_path, read_json

FILE = "dataset.json"
_MOST_LABELS = 256
_HEADERS = 32  # headers that voxel size and slice axis are taken from
_THICK = 1.5  # slices are cut along an axis whose voxels are so much longer than the others


@dataclass(frozen=True)
class Facts:
    """Content of a ``dataset.json``.

    Attributes:
        name: Name that ``dataset.json`` states.
        channels: Names in channel order, as the file states them; :func:`distinct` numbers equal ones.
        names: Value in the files to name, background 0 included.
        regions: Scored regions: name to values in the files.
        licence: Licence that ``dataset.json`` states.
        description: Description that ``dataset.json`` states.
        notes: Points in which the harness treats the data differently.
    """

    name: str
    channels: tuple[str, ...]
    names: Mapping[int, str]
    regions: Mapping[str, tuple[int, ...]]
    licence: str = ""
    description: str = ""
    notes: tuple[str, ...] = ()

    @property
    def values(self) -> tuple[int, ...]:
        """Values in the files, in the order of the harness's labels."""
        return tuple(sorted(self.names))


def read_document(root: Path) -> dict[str, Any]:
    """Reads ``dataset.json``.

    Raises:
        DataError: It is missing or no JSON mapping.
    """
    path = root / FILE
    if path.exists():
        refuse_special(path)
    try:
        content = read_json(path)
    except FileNotFoundError as error:
        raise DataError(f"Missing file: {path}", hint="Name the folder that holds dataset.json.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="Correct the file: it must be JSON.") from error
    if not isinstance(content, dict):
        raise document_error(root, "it must hold a mapping.")
    return content


def document_error(root: Path, what: str, hint: str = "Correct the file.") -> DataError:
    """Returns the error about something in ``dataset.json``."""
    return DataError(f"{root / FILE}: {what}", hint=hint)


def listed_file(root: Path, entry: object) -> Path:
    """Returns where a file lies that ``dataset.json`` names; it may lie outside of ``root``, which the user named.

    Raises:
        DataError: It is no path, or one that no file can have.
    """
    try:
        if not isinstance(entry, str) or not entry:
            raise ValueError("a file must be named by its path")
        check_path(Path(entry))
        return root / entry
    except ValueError as error:
        raise document_error(root, f"{shorten(repr(entry), 100)} is not the name of a file: {error}.") from error


def facts_to_dataset(root: Path, facts: Facts, images: list[Path], reader: str) -> Dataset:
    """Returns the dataset that facts declare.

    Args:
        root: Folder of the dataset.
        facts: Content of ``dataset.json``.
        images: Some image of every case, for voxel size and orientation.
        reader: ``module:function``.

    Raises:
        DataError: Labels are not usable, or no header can be read.
    """
    values = facts.values
    if not facts.channels or not all(name.strip() for name in facts.channels):
        raise document_error(root, f"channels must have names: {list(facts.channels)}.")
    if len(values) < 2 or values[0] != 0 or values[-1] >= _MOST_LABELS:
        raise document_error(
            root, f"label values must be 0 (background) and others up to {_MOST_LABELS - 1}: {list(values)}."
        )
    ours = {value: number for number, value in enumerate(values)}
    slice_axis, spacing, assumed = _grid(root, images)
    channels = distinct(facts.channels)
    kinds: dict[str, Normalisation] = {
        name: "ct" for name, stated in zip(channels, facts.channels, strict=True) if stated.lower() == "ct"
    }
    return Dataset(
        name=re.sub(r"[^a-z0-9]+", "-", facts.name.lower()).strip("-")[:48] or "own",
        title=facts.name,
        summary=facts.description or f"The folder {root.name}.",
        kind="real",
        unit="case",
        modalities=channels,
        labels={number: facts.names[value] for value, number in ours.items()},
        file_labels={number: value for value, number in ours.items() if value != number},
        regions={name: tuple(ours[value] for value in held) for name, held in facts.regions.items()},
        default_leading=channels[0],
        folds=len(FOLD_NAMES),
        fold_names=FOLD_NAMES,
        slice_axis=slice_axis,
        reader=reader,
        modality_normalisation=kinds,
        typical_spacing=spacing,
        licence=facts.licence or "not stated",
        access="yours",
        notes=(*facts.notes, *assumed),
    )


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Returns names of which no two are equal: those that occur several times are numbered from 1."""
    taken, made = set(names), list(names)
    for index, name in enumerate(names):
        if names.count(name) > 1:
            number = names[: index + 1].count(name)
            made[index] = next(new for n in count(number) if (new := f"{name}_{n}") not in taken)
            taken.add(made[index])
    return tuple(made)


def _grid(root: Path, images: list[Path]) -> tuple[int, tuple[float, float, float], tuple[str, ...]]:
    """Returns slice axis and median voxel size in mm, along axes turned to RAS, and what was assumed of some images."""
    spacings: list[list[float]] = []
    noted: list[Assumption] = []
    for path in sorted(images)[:_HEADERS]:
        try:
            placement = read_placement(path)
        except DataError:
            continue  # reading the case says what is wrong with it; the others tell the voxel size
        affine = placement.affine
        noted += [Assumption(path, words) for words in placement.assumed]
        if np.isfinite(affine).all() and np.linalg.det(affine[:3, :3]):
            turned = [0.0, 0.0, 0.0]
            for size, (axis, _) in zip(np.linalg.norm(affine[:3, :3], axis=0), orientation_of(affine), strict=True):
                turned[axis] = float(size)
            spacings.append(turned)
    if not spacings:
        raise DataError(
            f"{root} holds no image whose header can be read" + (f", e.g. {images[0]}." if images else "."),
            hint="Are the images there, in the format that `file_ending` names?",
        )
    x, y, z = (float(size) for size in np.round(np.median(spacings, axis=0), 4))
    thickest = int(np.argmax((x, y, z)))
    anisotropic = (x, y, z)[thickest] >= _THICK * sorted((x, y, z))[1]
    return (
        (thickest if anisotropic else 2),
        (x, y, z),
        tuple(f"Of {len(spacings)} images, {text}" for text in sum_up(noted)),
    )
