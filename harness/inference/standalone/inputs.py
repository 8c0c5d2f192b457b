"""New patients: which file is which modality, what of them is unlike the training, and volumes in ml."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_ENDINGS = (".nii.gz", ".nii")
_CHANNEL = re.compile(r"(.+)_(\d{4})")
#: A voxel size, a mean or an SD this many times beyond those of the training is reported.
_SIZE_RATIO, _SPREAD_RATIO = 1.5, 3.0
#: A mean this many SDs away from the training's is reported.
_DEVIATIONS = 3.0


class InputError(Exception):
    """Images that cannot be predicted; the message says why."""


def assign(
    files: Iterable[Path], modalities: Sequence[str], leading: str = "", endings: Sequence[str] = _ENDINGS
) -> dict[str, list[Path]]:
    """Returns the files of each patient in channel order, by the suffix of their names as in nnU-Net: ``_0000``.

    Args:
        files: Image files.
        modalities: Names in channel order.
        leading: Name of the leading modality, for messages.
        endings: What names of files may end with.

    Raises:
        InputError: A name has no such suffix, a patient lacks a modality or has one twice, or there is none.
    """
    listed = ", ".join(f"_{number:04d} {name}" for number, name in enumerate(modalities))
    found: dict[str, dict[int, Path]] = {}
    for path in files:
        match = _CHANNEL.fullmatch(_stem(path, endings))
        if match is None or int(match[2]) >= len(modalities):
            raise InputError(
                f"The name of {path} does not say which modality it is: before {' or '.join(endings)} it must end with "
                f"one of {listed}."
            )
        channels = found.setdefault(match[1], {})
        if int(match[2]) in channels:
            raise InputError(f"{path} and {channels[int(match[2])]} are the same modality of patient {match[1]}.")
        channels[int(match[2])] = path
    if not found:
        raise InputError("No image is named.")
    for patient, channels in found.items():
        _check_complete(patient, [name for n, name in enumerate(modalities) if n not in channels], leading)
    return {patient: [channels[n] for n in range(len(modalities))] for patient, channels in found.items()}


def assign_named(
    pairs: Iterable[str], modalities: Sequence[str], leading: str = "", endings: Sequence[str] = _ENDINGS
) -> dict[str, list[Path]]:
    """Returns the files of one patient in channel order, from ``NAME=FILE``; the first modality's file names it.

    Args:
        pairs: A modality's name and its file, each.
        modalities: Names in channel order.
        leading: Name of the leading modality, for messages.
        endings: What names of files may end with.

    Raises:
        InputError: A name is no modality, stands twice or is missing.
    """
    named: dict[str, Path] = {}
    for pair in pairs:
        name, _, file = pair.partition("=")
        if name not in modalities or not file:
            raise InputError(f"'{pair}' does not read NAME=FILE with a modality of {', '.join(modalities)}.")
        if name in named:
            raise InputError(f"Modality {name} is given twice: {named[name]} and {file}.")
        named[name] = Path(file)
    patient = _stem(named[modalities[0]], endings) if modalities[0] in named else "that is named"
    _check_complete(patient, [name for name in modalities if name not in named], leading)
    return {patient: [named[name] for name in modalities]}


def _stem(path: Path, endings: Sequence[str]) -> str:
    return path.name.removesuffix(max((one for one in endings if path.name.endswith(one)), key=len, default=""))


def _check_complete(patient: str, missing: Sequence[str], leading: str) -> None:
    if missing:
        named = " and ".join(f"{name} (the leading modality)" if name == leading else name for name in missing)
        raise InputError(f"Patient {patient} lacks {named}. The network needs every modality it was trained with.")


def notes_on_input(
    modalities: Sequence[str],
    spacing: Sequence[float],
    means: Sequence[tuple[float, float]],
    training_means: Sequence[tuple[float, float]],
    training_spacing: Sequence[Sequence[float]] | None,
) -> list[str]:
    """Returns what differs from the training so much that the prediction may be worth little.

    Args:
        modalities: Names in channel order.
        spacing: Voxel size in mm along right, anterior and superior.
        means: Mean and SD of the voxels that are not 0, of each modality.
        training_means: The same over the training cases.
        training_spacing: Least and greatest voxel size of the training cases; None where it is not known.
    """
    notes = []
    if training_spacing is not None:
        pairs = list(zip(spacing, *training_spacing, strict=True))
        if any(size < least / _SIZE_RATIO or size > most * _SIZE_RATIO for size, least, most in pairs):
            sizes, *known = (" x ".join(f"{one:.3g}" for one in three) for three in (spacing, *training_spacing))
            notes.append(f"Voxels of {sizes} mm; in the training they were {known[0]} to {known[1]} mm.")
    off = [not _fits(own, known) for own, known in zip(means, training_means, strict=True)]
    for number, name in enumerate(modalities):
        if not off[number]:
            continue
        (mean, sd), (known_mean, known_sd) = means[number], training_means[number]
        text = f"{name}: intensities {mean:.4g} ± {sd:.4g}; in the training {known_mean:.4g} ± {known_sd:.4g}."
        for other, other_name in enumerate(modalities):
            fit = _fits(means[number], training_means[other]) and _fits(means[other], training_means[number])
            if off[other] and other != number and fit:
                text += f" They look like {other_name}: were the two files exchanged?"
        notes.append(text)
    return notes


def _fits(own: tuple[float, float], known: tuple[float, float]) -> bool:
    (mean, sd), (known_mean, known_sd) = own, known
    near = abs(mean - known_mean) <= _DEVIATIONS * known_sd
    return near and known_sd / _SPREAD_RATIO <= max(sd, 1e-12) <= known_sd * _SPREAD_RATIO


def check_distinct(images: Floats, modalities: Sequence[str]) -> None:
    """Refuses two modalities that are one image, and an image without content.

    Raises:
        InputError: It names them.
    """
    for name, image in zip(modalities, images, strict=True):
        if not np.isfinite(image).all() or image.min() == image.max():
            raise InputError(f"{name} has one value everywhere, or values that are not finite. Get the image again.")
    for first, second in itertools.combinations(range(len(images)), 2):
        if np.array_equal(images[first], images[second]):
            raise InputError(f"{modalities[first]} and {modalities[second]} are the same image.")


def volumes(
    label: NDArray[np.uint8], affine: NDArray[np.float64], names: Mapping[int, str], regions: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Returns the volume in ml of every label and region, as rows with ``kind``, ``name``, ``voxels`` and ``ml``.

    Args:
        label: (X, Y, Z) label map.
        affine: (4, 4) voxel index to mm.
        names: Label value to name; 0 is the background.
        regions: Region to label values.
    """
    counts = np.bincount(label.ravel(), minlength=max(names) + 1)
    wanted = [("label", name, (value,)) for value, name in sorted(names.items()) if value]
    wanted += [("region", name, tuple(values)) for name, values in regions.items()]
    size = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    rows = [(kind, name, int(counts[list(values)].sum())) for kind, name, values in wanted]
    return [{"kind": kind, "name": name, "voxels": count, "ml": round(count * size, 6)} for kind, name, count in rows]


def write_volumes(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows of :func:`volumes`, each with a column ``patient`` in front, as csv."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["patient", "kind", "name", "voxels", "ml"])
        writer.writeheader()
        writer.writerows(rows)
