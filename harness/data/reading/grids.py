"""Whether two volumes lie on one voxel grid, and where something lies on it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data.assumptions import note_assumptions
from harness.data.reading.nifti import IMAGE_ENDINGS, read_placement
from harness.data.reading.transforms import corner_distance
from harness.errors import DataError

#: Two grids are the same if their corners lie nearer than this share of the smallest voxel side: headers are rounded
#: by whatever wrote them. There is no other tolerance, wherever grids are compared.
_TOLERANCE_VOXELS = 0.5

_HINT = "Is it a file of another case, or was it resampled? Unpack this case again."


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
    if tuple(shape) != tuple(reference_shape):
        raise DataError(
            f"{path} is not on the grid of {reference.name}: shape {tuple(shape)} against {tuple(reference_shape)}.",
            hint=_HINT,
        )
    if distance := distance_off_grid(path, shape, affine, reference, reference_affine):
        raise DataError(
            f"{path} is not on the grid of {reference.name}: its corners lie up to {distance:.2f} mm elsewhere.",
            hint=_HINT,
        )


def distance_off_grid(
    path: Path,
    shape: Sequence[int],
    affine: NDArray[np.float64],
    reference: Path,
    reference_affine: NDArray[np.float64],
) -> float:
    """Returns how far in mm corners of a file lie from those of another one of its shape; 0 on the same grid.

    Where the sform and the qform of a file disagree, either of them may be the grid that both share.

    Args:
        path: The file.
        shape: Number of voxels along each axis, of both.
        affine: (4, 4) affine, voxel index to mm.
        reference: The other file.
        reference_affine: Its affine.
    """
    if same_grid(shape, affine, reference_affine):
        return 0.0
    others = [(first, second) for first in _stated(path, affine) for second in _stated(reference, reference_affine)]
    if any(same_grid(shape, first, second) for first, second in others):
        note_assumptions(path, ["it shares the grid of its case by one of the two transforms that a header states"])
        return 0.0
    return corner_distance(shape, affine, reference_affine)


def same_grid(shape: Sequence[int], affine: NDArray[np.float64], reference: NDArray[np.float64]) -> bool:
    """Whether a volume of this shape has every voxel in one place under two affines, up to rounding of headers."""
    side = float(np.linalg.norm(reference[:3, :3], axis=0).min())
    return corner_distance(shape, affine, reference) < _TOLERANCE_VOXELS * side


def _stated(path: Path, affine: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Returns every affine that a file states, the one that is read first; that one alone of a DICOM series."""
    if not path.name.endswith(IMAGE_ENDINGS):
        return [affine]
    return [affine, *read_placement(path).stated]


def centre(mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the centre in mm (right, anterior, superior) of a mask (X, Y, Z) that is not empty."""
    middle: NDArray[np.float64] = affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + affine[:3, 3]
    return middle
