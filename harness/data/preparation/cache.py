"""Entries of the cache: one folder per case, of arrays that are memory-mapped when they are used.

An entry holds ``images.npy`` (slice by slice, all modalities of a slice together, so that one is one read),
``label.npy``, ``foreground.npy`` (where patches may aim), ``intensities.npy`` (what CT is normalised by) and
``entry.json`` with checksums, statistics and geometry. A prepared case is only a path and a few
numbers: arrays are opened when they are used and closed when they are released, so that neither memory nor open
files grow with the number of cases.
"""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.data.preparation.geometry import Geometry
from harness.errors import DataError
from harness.files import read_json, write_json
from harness.randomness import generator

#: Foreground voxels kept per class and case, for sampling patches around them (as many as in nnU-Net).
_MAX_FOREGROUND = 10_000

_FACTS = "entry.json"


@dataclass(frozen=True)
class Moments:
    """Sums over the nonzero voxels of one modality, before any interpolation; they add up over cases."""

    count: int
    total: float
    squares: float

    @classmethod
    def of(cls, image: NDArray[np.float32]) -> Moments:
        """Returns those of an image; 0 means outside."""
        inside = image[image != 0].astype(np.float64)
        return cls(len(inside), float(inside.sum()), float(np.dot(inside, inside)))

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
        folder: Folder of the case in the cache.
        moments: Intensity moments of each modality, of the cropped case on the grid of its files.
        geometry: Transformation back to the grid of the files.
        counts: Class to the number of foreground voxels that were kept.
        absent: Channels of modalities that the case lacks, in files or by the protocol; what is in them means nothing.
    """

    name: str
    patient: str
    folder: Path
    moments: tuple[Moments, ...]
    geometry: Geometry
    counts: Mapping[int, int]
    absent: tuple[int, ...] = ()

    @property
    def images(self) -> NDArray[Any]:
        """(M, D, H, W), memory-mapped, intensities as in the files: float32, or an integer type that holds them."""
        return self._map("images").swapaxes(0, 1)

    @property
    def label(self) -> NDArray[np.uint8]:
        """(D, H, W), memory-mapped."""
        return self._map("label")

    @property
    def foreground(self) -> dict[int, NDArray[np.int32]]:
        """Class to voxel indices (n, 3), a sample of at most 10,000."""
        voxels = self._map("foreground")
        ends = np.cumsum(list(self.counts.values()))
        return dict(zip(self.counts, np.split(voxels, ends[:-1]), strict=True))

    @property
    def intensities(self) -> NDArray[np.float32]:
        """(M, n) intensities in the files at voxels drawn from the foreground; n is 0 where there is none."""
        return self._map("intensities")

    def _map(self, key: str) -> NDArray[Any]:
        path = self.folder / f"{key}.npy"
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            form = _read_form(path, status.st_ino, status.st_mtime_ns)
            return np.ndarray(form.shape, form.dtype, content, form.offset, order=form.order)
        except (OSError, ValueError, EOFError, TypeError) as error:  # TypeError: shorter than its header says
            raise DataError(
                f"The cache entry {self.folder} was damaged while it was in use: {error}",
                hint="Start again: a damaged entry is prepared anew. Do not clear the cache during a run.",
            ) from error


class _Form(NamedTuple):
    """What the header of an ``.npy`` file says of its array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    order: Literal["C", "F"]


@lru_cache(maxsize=1 << 16)
def _read_form(path: Path, inode: int, changed: int) -> _Form:
    """Reads the header of a file once: that takes as long as mapping it does, for every array of every patch.

    Args:
        path: The file.
        inode: Its number, so that a file that has taken its place is read anew.
        changed: When it was last changed; likewise.
    """
    del inode, changed
    array: np.memmap[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    order: Literal["C", "F"] = "C" if array.flags.c_contiguous else "F"
    return _Form(array.shape, array.dtype, array.offset, order)


def write_entry(
    folder: Path,
    name: str,
    images: NDArray[np.float32],
    label: NDArray[np.uint8],
    intensities: NDArray[np.float32],
    moments: Sequence[Moments],
    geometry: Geometry,
    classes: int,
    absent: Sequence[int] = (),
) -> None:
    """Writes one entry.

    Args:
        folder: An empty one.
        name: Case identifier; seeds the sampling of foreground voxels.
        images: (M, D, H, W).
        label: (D, H, W).
        intensities: (M, n) intensities of foreground voxels, as in :class:`PreparedCase`.
        moments: Intensity moments of each modality, as in :class:`PreparedCase`.
        geometry: Geometry of the case.
        classes: Number of classes, background included.
        absent: Channels of modalities that the case lacks.
    """
    sampled = {value: _sample_voxels(label == value, name, value) for value in range(1, classes)}
    arrays = {
        "images": np.ascontiguousarray(compact(images).swapaxes(0, 1)),
        "label": label,
        "foreground": np.concatenate([np.empty((0, 3), np.int32), *sampled.values()]),
        "intensities": intensities,
    }
    for key, array in arrays.items():
        np.save(folder / f"{key}.npy", array, allow_pickle=False)
    write_json(
        folder / _FACTS,
        {
            "moments": [astuple(one) for one in moments],
            "counts": {value: len(voxels) for value, voxels in sampled.items()},
            "geometry": geometry.to_json(),
            **({"absent": list(absent)} if absent else {}),
            "checksums": {f"{key}.npy": _checksum(folder / f"{key}.npy") for key in arrays},
        },
    )


def open_entry(folder: Path, name: str, patient: str) -> PreparedCase | None:
    """Returns the entry, or None where it is absent or damaged: every file is read and its checksum compared."""
    try:
        facts = read_json(folder / _FACTS)
        if any(_checksum(folder / file) != value for file, value in facts["checksums"].items()):
            return None
        return PreparedCase(
            name=name,
            patient=patient,
            folder=folder,
            moments=tuple(Moments(*values) for values in facts["moments"]),
            geometry=Geometry.from_json(facts["geometry"]),
            counts={int(value): count for value, count in sorted(facts["counts"].items(), key=lambda one: int(one[0]))},
            absent=tuple(facts.get("absent", ())),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def compact(images: NDArray[np.float32]) -> NDArray[Any]:
    """Returns the images in 16 bits where they hold integers that fit, which loses nothing; else as they are."""
    low, high = images.min(), images.max()
    for small in (np.int16, np.uint16):
        limits = np.iinfo(small)
        if limits.min <= low and high <= limits.max:
            whole = images.astype(small)
            return whole if np.array_equal(whole, images) else images
    return images


def _sample_voxels(mask: NDArray[np.bool_], name: str, label: int) -> NDArray[np.int32]:
    voxels = np.argwhere(mask).astype(np.int32)
    if len(voxels) > _MAX_FOREGROUND:
        chosen = generator(0, "foreground", name, label).choice(len(voxels), _MAX_FOREGROUND, replace=False)
        voxels = voxels[np.sort(chosen)]
    return voxels


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            value = zlib.crc32(chunk, value)
    return value
