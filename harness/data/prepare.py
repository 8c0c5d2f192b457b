"""Preparation: a case is read, brought to the network's grid once, and kept in a cache of memory-mapped arrays.

A cache entry is a folder named by a hash of the dataset's files and of all settings that shape it. It appears whole
or not at all (two processes may prepare the same case; the first one wins), and its arrays are checked on opening.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from harness.data.contract import Case, Dataset, Reader
from harness.data.geometry import resize_label, resize_planes, to_slices
from harness.data.settings import PreparationSettings
from harness.errors import DataError
from harness.files import atomic_folder, read_json, write_json
from harness.randomness import generator

__all__ = ["Moments", "PreparedCase", "prepare"]

#: Raised whenever the prepared arrays change for the same settings.
_REVISION = 1

#: Foreground voxels kept a class and case, to aim patches at (nnU-Net keeps as many).
_MAX_FOREGROUND = 10_000


@dataclass(frozen=True)
class Moments:
    """Sums over the nonzero voxels of one modality; they add up over cases."""

    count: int
    total: float
    squares: float

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        """Mean intensity; 0 where there is no voxel."""
        return self.total / self.count if self.count else 0.0

    @property
    def std(self) -> float:
        """Standard deviation; 1 where it would be 0."""
        if self.count < 2:
            return 1.0
        variance = max(self.squares / self.count - self.mean**2, 0.0)
        return variance**0.5 or 1.0


@dataclass(frozen=True)
class PreparedCase:
    """One case on the network's grid.

    Attributes:
        name: Case identifier.
        patient: Patient identifier.
        images: (M, D, H, W) float32, memory-mapped, intensities as in the files.
        label: (D, H, W) uint8, memory-mapped.
        foreground: Class to voxel indices (n, 3), a sample of at most 10,000.
        moments: One a modality.
    """

    name: str
    patient: str
    images: NDArray[np.float32]
    label: NDArray[np.uint8]
    foreground: dict[int, NDArray[np.int32]]
    moments: tuple[Moments, ...]


def prepare(
    dataset: Dataset,
    reader: Reader,
    cases: Sequence[str],
    settings: PreparationSettings,
    patch_size: tuple[int, ...],
    cache: Path,
    progress: Callable[[int, int], None] | None = None,
) -> list[PreparedCase]:
    """Returns the cases prepared, from the cache where they are there already.

    Args:
        dataset: Facts.
        reader: Reader of the dataset's folder.
        cases: Which ones.
        settings: How.
        patch_size: Network input; its last two numbers are the plane that slices are resized to.
        cache: Folder of the cache.
        progress: Called with (done, total) after each case.

    Raises:
        DataError: A case cannot be read.
    """
    plane = (patch_size[-2], patch_size[-1]) if settings.plane == "resize" and len(patch_size) == 2 else None
    folder = cache / dataset.name / _key(dataset, reader, plane)
    prepared = []
    for number, name in enumerate(cases, start=1):
        prepared.append(_prepare_one(dataset, reader, name, plane, folder / name))
        if progress is not None:
            progress(number, len(cases))
    return prepared


def _key(dataset: Dataset, reader: Reader, plane: tuple[int, int] | None) -> str:
    parts = [_REVISION, dataset.name, dataset.revision, reader.fingerprint(), dataset.slice_axis, plane]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _prepare_one(
    dataset: Dataset, reader: Reader, name: str, plane: tuple[int, int] | None, entry: Path
) -> PreparedCase:
    if entry.is_dir():
        found = _open(entry, name, reader.patient(name))
        if found is not None:
            return found
        shutil.rmtree(entry)  # damaged: prepare it again
    case = reader.load(name)
    _check(case, dataset, name)
    with atomic_folder(entry) as temporary:
        _write(case, dataset, name, plane, temporary)
    found = _open(entry, name, reader.patient(name))
    if found is None:
        raise DataError(f"The cache entry {entry} is damaged right after writing.", hint="Is the disk full or failing?")
    return found


def _check(case: Case, dataset: Dataset, name: str) -> None:
    expected = (len(dataset.modalities), *case.label.shape)
    if case.images.shape != expected:
        raise DataError(
            f"Case {name} of {dataset.name}: images have shape {case.images.shape}, the label asks for {expected}.",
            hint="All modalities and the label of a case must share one grid.",
        )
    if not case.images.any():
        raise DataError(f"Case {name} of {dataset.name} is empty: every voxel is 0.", hint="Check the source files.")


def _write(case: Case, dataset: Dataset, name: str, plane: tuple[int, int] | None, folder: Path) -> None:
    images = torch.from_numpy(np.ascontiguousarray(to_slices(case.images, dataset.slice_axis)))
    label = torch.from_numpy(np.ascontiguousarray(to_slices(case.label, dataset.slice_axis)))
    if plane is not None:
        images = resize_planes(images, plane)
        label = resize_label(label, plane, len(dataset.labels))
    classes = [value for value in dataset.labels if value != 0]
    arrays = {"images": images.numpy(), "label": label.numpy()}
    for value in classes:
        arrays[f"foreground_{value}"] = _sample_voxels(arrays["label"] == value, name, value)
    for key, array in arrays.items():
        np.save(folder / f"{key}.npy", array, allow_pickle=False)
    write_json(
        folder / "entry.json",
        {
            "classes": classes,
            "moments": [_moments(image) for image in arrays["images"]],
            "checksums": {key: _checksum(folder / f"{key}.npy") for key in arrays},
        },
    )


def _sample_voxels(mask: NDArray[np.bool_], name: str, label: int) -> NDArray[np.int32]:
    voxels = np.argwhere(mask).astype(np.int32)
    if len(voxels) > _MAX_FOREGROUND:
        chosen = generator(0, "foreground", name, label).choice(len(voxels), _MAX_FOREGROUND, replace=False)
        voxels = voxels[np.sort(chosen)]
    return voxels


def _moments(image: NDArray[np.float32]) -> tuple[int, float, float]:
    inside = image[image != 0].astype(np.float64)
    return len(inside), float(inside.sum()), float((inside**2).sum())


def _open(entry: Path, name: str, patient: str) -> PreparedCase | None:
    """Returns the entry, or None where it is damaged."""
    try:
        facts = read_json(entry / "entry.json")
        intact = all(_checksum(entry / f"{key}.npy") == value for key, value in facts["checksums"].items())
    except (OSError, ValueError, KeyError):
        return None
    if not intact:
        return None
    return PreparedCase(
        name=name,
        patient=patient,
        images=np.load(entry / "images.npy", mmap_mode="r", allow_pickle=False),
        label=np.load(entry / "label.npy", mmap_mode="r", allow_pickle=False),
        foreground={key: np.load(entry / f"foreground_{key}.npy", allow_pickle=False) for key in facts["classes"]},
        moments=tuple(Moments(*values) for values in facts["moments"]),
    )


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            value = zlib.crc32(chunk, value)
    return value
