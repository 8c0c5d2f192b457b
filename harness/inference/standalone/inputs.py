"""New patients: which file is which modality, what of them is unlike the training, and volumes in ml."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
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
    files: Iterable[Path],
    modalities: Sequence[str],
    leading: str = "",
    endings: Sequence[str] = _ENDINGS,
    may_lack: Collection[str] = (),
) -> dict[str, list[Path | None]]:
    """Returns the files of each patient in channel order, by the suffix of their names as in nnU-Net: ``_0000``.

    Args:
        files: Image files.
        modalities: Names in channel order.
        leading: Name of the leading modality, for messages.
        endings: What names of files may end with.
        may_lack: Modalities that a patient may lack; None stands in the place of their file.

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
        check_complete(patient, [name for n, name in enumerate(modalities) if n not in channels], leading, may_lack)
    return {patient: [channels.get(n) for n in range(len(modalities))] for patient, channels in found.items()}


def assign_named(
    pairs: Iterable[str],
    modalities: Sequence[str],
    leading: str = "",
    endings: Sequence[str] = _ENDINGS,
    may_lack: Collection[str] = (),
) -> dict[str, list[Path | None]]:
    """Returns the files of one patient in channel order, from ``NAME=FILE``; the first of them names it.

    Args:
        pairs: A modality's name and its file, each.
        modalities: Names in channel order.
        leading: Name of the leading modality, for messages.
        endings: What names of files may end with.
        may_lack: Modalities that the patient may lack; None stands in the place of their file.

    Raises:
        InputError: A name is no modality, stands twice or is missing, or there is none.
    """
    named: dict[str, Path] = {}
    for pair in pairs:
        name, _, file = pair.partition("=")
        if name not in modalities or not file:
            raise InputError(f"'{pair}' does not read NAME=FILE with a modality of {', '.join(modalities)}.")
        if name in named:
            raise InputError(f"Modality {name} is given twice: {named[name]} and {file}.")
        named[name] = Path(file)
    if not named:
        raise InputError("No image is named.")
    patient = _stem(next(named[name] for name in modalities if name in named), endings)
    check_complete(patient, [name for name in modalities if name not in named], leading, may_lack)
    return {patient: [named.get(name) for name in modalities]}


def _stem(path: Path, endings: Sequence[str]) -> str:
    return path.name.removesuffix(max((one for one in endings if path.name.endswith(one)), key=len, default=""))


def check_complete(patient: str, lacking: Sequence[str], leading: str, may_lack: Collection[str]) -> None:
    """Refuses a patient that lacks a modality which the network cannot do without.

    Args:
        patient: Name of the patient.
        lacking: Modalities that it lacks.
        leading: Name of the leading modality.
        may_lack: Modalities that the network was trained to do without.

    Raises:
        InputError: It names the modalities and says what to do.
    """
    needed = [name for name in lacking if name not in may_lack]
    if not needed:
        return
    named = " and ".join(f"{name} (the leading modality)" if name == leading else name for name in needed)
    why = "No modality was absent in the training of this network, and it is not made for that."
    remedy = "`sampling: {modality_dropout: {p: 0.3}}` in its protocol"
    if may_lack:
        why = f"This network was trained to do without {', '.join(may_lack)} alone."
        remedy = "`sampling: {missing: {fill: zeros}}` in its protocol, or with another modality that leads"
    raise InputError(f"Patient {patient} lacks {named}. {why} Get the image, or train a network with {remedy}.")


def note_on_absent(lacking: Sequence[str], fill: str, told: bool) -> str:
    """Returns the sentence that says what stands for the modalities that a patient lacks.

    Args:
        lacking: Modalities that the patient lacks.
        fill: ``zeros``, ``mean`` or ``token``.
        told: Whether the network is told what is present.
    """
    stands = {"zeros": "zeros stand", "mean": "the training's mean stands", "token": "the learned value stands"}[fill]
    return f"No {' and no '.join(lacking)}: " + ("the network is told so." if told else f"{stands} for it.")


def notes_on_input(
    modalities: Sequence[str],
    spacing: Sequence[float],
    means: Sequence[tuple[float, float]],
    training_means: Sequence[tuple[float, float]],
    training_spacing: Sequence[Sequence[float]] | None,
    absent: Collection[int] = (),
) -> list[str]:
    """Returns what differs from the training so much that the prediction may be worth little.

    Args:
        modalities: Names in channel order.
        spacing: Voxel size in mm along right, anterior and superior.
        means: Mean and SD of the voxels that are not 0, of each modality.
        training_means: The same over the training cases.
        training_spacing: Least and greatest voxel size of the training cases; None where it is not known.
        absent: Channels without an image, of which nothing is said.
    """
    notes = []
    if training_spacing is not None:
        pairs = list(zip(spacing, *training_spacing, strict=True))
        if any(size < least / _SIZE_RATIO or size > most * _SIZE_RATIO for size, least, most in pairs):
            sizes, *known = (" x ".join(f"{one:.3g}" for one in three) for three in (spacing, *training_spacing))
            notes.append(f"Voxels of {sizes} mm; in the training they were {known[0]} to {known[1]} mm.")
    pairs_of_means = enumerate(zip(means, training_means, strict=True))
    off = [channel not in absent and not _fits(own, known) for channel, (own, known) in pairs_of_means]
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


def check_distinct(images: Floats, modalities: Sequence[str], absent: Collection[int] = ()) -> None:
    """Refuses two modalities that are one image, and an image without content.

    Args:
        images: (M, ...).
        modalities: Names in channel order.
        absent: Channels without an image, which are not looked at.

    Raises:
        InputError: It names them.
    """
    channels = [channel for channel in range(len(images)) if channel not in absent]
    for channel in channels:
        image = images[channel]
        if not np.isfinite(image).all() or image.min() == image.max():
            name = modalities[channel]
            raise InputError(f"{name} has one value everywhere, or values that are not finite. Get the image again.")
    for first, second in itertools.combinations(channels, 2):
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
