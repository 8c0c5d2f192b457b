"""Between the grid of a case's files and the grid a network sees.

On the way there a volume is turned to RAS (closest canonical orientation), cropped, resampled, and cut into slices
along the dataset's slice axis; prepared arrays have that axis first: images (M, D, H, W), labels (D, H, W).
:class:`Geometry` remembers what the way back needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from nibabel import orientations
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

#: Of each file axis: the axis it becomes, and -1 where it is reversed (nibabel's orientation array).
Orientation = tuple[tuple[int, int], ...]
Box = tuple[tuple[int, int], ...]
Value = TypeVar("Value", bound=np.generic)

#: Leaves a volume as it is.
AS_IN_FILES: Orientation = ((0, 1), (1, 1), (2, 1))


@dataclass(frozen=True)
class Geometry:
    """Position of a prepared case on the grid of its files.

    Attributes:
        affine: Rows of the files' (4, 4) affine, voxel index to RAS mm.
        shape: (X, Y, Z) of the files.
        orientation: Axis permutation and flips that turned the volume to RAS.
        crop: First and one past the last voxel that was kept, along the turned axes.
        spacing: Voxel size in mm along the turned axes, before resampling.
        resampled: Shape after resampling, along the turned axes; that of the crop where nothing was resampled.
        slice_axis: Turned axis along which slices were cut.
        padded: Height and width that slices were padded to after resampling, before they were resized; None where they
            were not padded.
    """

    affine: tuple[tuple[float, ...], ...]
    shape: tuple[int, ...]
    orientation: Orientation
    crop: Box
    spacing: tuple[float, ...]
    resampled: tuple[int, ...]
    slice_axis: int
    padded: tuple[int, int] | None = None

    @property
    def native_affine(self) -> NDArray[np.float64]:
        """(4, 4) affine of the files, voxel index to RAS mm."""
        return np.array(self.affine, dtype=np.float64)

    @property
    def cropped(self) -> tuple[int, int, int]:
        """Slices, height and width (D, H, W) of the cropped volume at the files' voxel size."""
        extents = [stop - start for start, stop in self.crop]
        depth = extents.pop(self.slice_axis)
        return depth, extents[0], extents[1]

    @property
    def frame(self) -> tuple[tuple[int, int], tuple[slice, slice]]:
        """Height and width of a slice with its padding, at the files' voxel size, and where in it the slice lies."""
        _, *plane = self.cropped
        if self.padded is None:
            return (plane[0], plane[1]), (slice(plane[0]), slice(plane[1]))
        after = [extent for axis, extent in enumerate(self.resampled) if axis != self.slice_axis]
        sides = [max(own, round(side * own / made)) for side, own, made in zip(self.padded, plane, after, strict=True)]
        at = [slice((side - own) // 2, (side - own) // 2 + own) for side, own in zip(sides, plane, strict=True)]
        return (sides[0], sides[1]), (at[0], at[1])

    def to_files(self, label: NDArray[Value], outside: float = 0) -> NDArray[Value]:
        """Maps a label map (D, H, W) of the cropped volume to the files' grid.

        Args:
            label: A label map, or one number per voxel.
            outside: What voxels outside the crop are; default: background.

        Returns:
            (X, Y, Z), contiguous.
        """
        turned_shape = [0, 0, 0]
        for extent, (axis, _) in zip(self.shape, self.orientation, strict=True):
            turned_shape[axis] = extent
        whole = np.full(turned_shape, outside, label.dtype)
        whole[tuple(slice(*ends) for ends in self.crop)] = from_slices(label, self.slice_axis)
        return np.ascontiguousarray(turn_back(whole, self.orientation))

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values; :meth:`from_json` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Geometry:
        """Reads the values of :meth:`to_json`.

        Raises:
            KeyError: Something is missing.
        """

        def rows(key: str) -> tuple[tuple[Any, ...], ...]:
            return tuple(tuple(row) for row in values[key])

        return cls(
            affine=rows("affine"),
            shape=tuple(values["shape"]),
            orientation=rows("orientation"),
            crop=rows("crop"),
            spacing=tuple(values["spacing"]),
            resampled=tuple(values["resampled"]),
            slice_axis=values["slice_axis"],
            padded=tuple(values["padded"]) if values.get("padded") else None,
        )


def orientation_of(affine: NDArray[np.float64]) -> Orientation:
    """Returns how a volume of this affine is turned to the closest RAS orientation."""
    return tuple((int(axis), int(step)) for axis, step in orientations.io_orientation(affine))


def turn(volume: NDArray[Any], orientation: Orientation) -> NDArray[Any]:
    """Turns (..., X, Y, Z); a view, nothing is interpolated."""
    last = orientations.apply_orientation(_lead_last(volume), np.array(orientation))
    return _lead_first(last)


def turn_back(volume: NDArray[Any], orientation: Orientation) -> NDArray[Any]:
    """Undoes :func:`turn`."""
    back = orientations.ornt_transform(np.array(AS_IN_FILES), np.array(orientation))
    return _lead_first(orientations.apply_orientation(_lead_last(volume), back))


def to_slices(volume: NDArray[Any], axis: int) -> NDArray[Any]:
    """Moves the slice axis of (..., X, Y, Z) to the front of the three: (..., D, H, W)."""
    lead = volume.ndim - 3
    return np.moveaxis(volume, lead + axis, lead)


def from_slices(volume: NDArray[Any], axis: int) -> NDArray[Any]:
    """Undoes :func:`to_slices`."""
    lead = volume.ndim - 3
    return np.moveaxis(volume, lead, lead + axis)


def pad_planes(volume: NDArray[Any], size: tuple[int, int], value: float) -> NDArray[Any]:
    """Pads the planes of (D, H, W) on both sides to (D, *size)."""
    before = [(side - own) // 2 for side, own in zip(size, volume.shape[1:], strict=True)]
    after = [side - own - first for side, own, first in zip(size, volume.shape[1:], before, strict=True)]
    return np.pad(volume, [(0, 0), *zip(before, after, strict=True)], constant_values=value)


def resize_planes(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes (C, D, H, W) in-plane by linear interpolation, low-pass filtered where it shrinks.

    Returns:
        (C, D, *size) of the same type.
    """
    if tuple(planes.shape[-2:]) == size:
        return planes
    return F.interpolate(planes, size=size, mode="bilinear", align_corners=False, antialias=True)


def resize_label(label: Tensor, size: tuple[int, int], classes: int) -> Tensor:
    """Resizes a label map (D, H, W) in-plane: each class linearly, then the strongest wins (as nnU-Net does).

    Returns:
        (D, *size) uint8.
    """
    if tuple(label.shape[-2:]) == size:
        return label
    best = torch.zeros((len(label), *size))
    winner = torch.zeros((len(label), *size), dtype=torch.uint8)
    for value in range(classes):  # one class at a time: memory does not grow with their number
        share = resize_planes((label == value).float()[None], size)[0]
        better = share > best
        best = torch.where(better, share, best)
        winner = torch.where(better, torch.tensor(value, dtype=torch.uint8), winner)
    return winner


def _lead_last(volume: NDArray[Any]) -> NDArray[Any]:
    """Moves the leading axes of (..., X, Y, Z) behind the three, where nibabel leaves them alone."""
    lead = tuple(range(volume.ndim - 3))
    return np.moveaxis(volume, lead, tuple(axis + 3 for axis in lead))


def _lead_first(volume: NDArray[Any]) -> NDArray[Any]:
    lead = tuple(range(volume.ndim - 3))
    return np.moveaxis(volume, tuple(axis + 3 for axis in lead), lead)
