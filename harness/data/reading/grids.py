"""Whether two volumes lie on one voxel grid, and where something lies on it."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError

#: Headers are rounded by whatever wrote them; corners may differ by this share of the smallest voxel side.
_TOLERANCE_VOXELS = 0.5


def check_same_grid(
    path: Path,
    shape: Sequence[int],
    affine: NDArray[np.float64],
    reference: Path,
    reference_shape: Sequence[int],
    reference_affine: NDArray[np.float64],
) -> None:
    """Refuses a file that is not on the grid of another one of its case.

    Args:
        path: The file.
        shape: Number of voxels along each axis.
        affine: (4, 4) affine, voxel index to mm.
        reference: The file whose grid it must have.
        reference_shape: That one's shape.
        reference_affine: That one's affine.

    Raises:
        DataError: The shapes differ, or a corner of the volume lies half a voxel or more elsewhere.
    """
    hint = "Is it a file of another case, or was it resampled? Unpack this case again."
    if tuple(shape) != tuple(reference_shape):
        raise DataError(
            f"{path} is not on the grid of {reference.name}: shape {tuple(shape)} against {tuple(reference_shape)}.",
            hint=hint,
        )
    side = float(np.linalg.norm(reference_affine[:3, :3], axis=0).min())
    distance = corner_distance(shape, affine, reference_affine)
    if not distance < _TOLERANCE_VOXELS * side:
        raise DataError(
            f"{path} is not on the grid of {reference.name}: its corners lie up to {distance:.2f} mm elsewhere.",
            hint=hint,
        )


def corner_distance(shape: Sequence[int], first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Returns how far in mm a corner of a volume of this shape lies from itself under two affines, at most."""
    corners = np.array([[*corner, 1] for corner in itertools.product(*((0, extent - 1) for extent in shape))])
    return float(np.linalg.norm((corners @ (first - second).T)[:, :3], axis=1).max())


def centre(mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the centre in mm (right, anterior, superior) of a mask (X, Y, Z) that is not empty."""
    middle: NDArray[np.float64] = affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + affine[:3, 3]
    return middle
