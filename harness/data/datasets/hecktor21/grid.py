"""From the grids of CT and PET to one grid of 1 mm in the official box, and back.

The organisers' recipe (voreille/hecktor, ``src/resampling``): the first voxel's centre lies on the box's corner, images
are interpolated by cubic splines, masks by the nearest neighbour. NIfTI affines are in RAS, boxes and SimpleITK in LPS.
"""

from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from harness.data.datasets.hecktor21.boxes import SIDE_MM, Box

#: The official grid: voxels of 1 mm.
_SHAPE = (SIDE_MM,) * 3

#: RAS millimetres to LPS millimetres, and back.
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])

#: Voxels around the box that splines still feel.
_MARGIN = 12


def box_affine(box: Box) -> NDArray[np.float64]:
    """Returns the (4, 4) affine to RAS mm of the box's grid; its axes run to the left, to the back and upwards."""
    affine = np.eye(4)
    affine[:3, 3] = box.corner
    return _FLIP @ affine


def covered(shape: tuple[int, ...], affine: NDArray[np.float64], box: Box) -> float:
    """Returns the share of the box that an image covers, 0 to 1; exact where the axes are parallel."""
    first, last = _voxels(affine, box)
    inside = np.minimum(last, np.array(shape) - 0.5) - np.maximum(first, -0.5)
    return float(np.prod(np.clip(inside, 0, None) / (last - first)))


def to_box(image: NDArray[np.float32], affine: NDArray[np.float64], box: Box) -> NDArray[np.float32]:
    """Resamples an image (X, Y, Z) to the box's grid by cubic splines; beyond its edge its last voxels go on."""
    first, last = _voxels(affine, box)
    start = np.clip(np.floor(first).astype(int) - _MARGIN, 0, np.array(image.shape) - 1)
    stop = np.clip(np.ceil(last).astype(int) + _MARGIN, start + 1, image.shape)
    part = image[tuple(slice(low, high) for low, high in zip(start, stop, strict=True))]
    offset = np.eye(4)
    offset[:3, 3] = start
    return _resample(part, affine @ offset, box_affine(box), _SHAPE, sitk.sitkBSpline).astype(np.float32)


def label_to_box(label: NDArray[np.uint8], affine: NDArray[np.float64], box: Box) -> NDArray[np.uint8]:
    """Resamples a label map (X, Y, Z) to the box's grid by the nearest neighbour."""
    return _resample(label, affine, box_affine(box), _SHAPE, sitk.sitkNearestNeighbor).astype(np.uint8)


def label_to_files(
    label: NDArray[np.uint8], box: Box, affine: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.uint8]:
    """Resamples a label map on the box's grid to that of a file by the nearest neighbour; 0 outside the box."""
    return _resample(label, box_affine(box), affine, shape, sitk.sitkNearestNeighbor).astype(np.uint8)


def _voxels(affine: NDArray[np.float64], box: Box) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the first and last position, in voxels of a file, that the box reaches."""
    corners = np.array(np.meshgrid(*([-0.5, SIDE_MM - 0.5],) * 3)).reshape(3, -1)
    to_file = np.linalg.inv(affine) @ box_affine(box)
    places = to_file[:3, :3] @ corners + to_file[:3, 3:]
    return places.min(axis=1), places.max(axis=1)


def _resample(
    volume: NDArray[Any],
    source: NDArray[np.float64],
    target: NDArray[np.float64],
    shape: tuple[int, ...],
    interpolator: int,
) -> NDArray[Any]:
    """Returns a volume on another grid; splines go on beyond its edge, labels are 0 there."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.T))
    spacing, direction, origin = _itk(source)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    image.SetOrigin(origin)
    spacing, direction, origin = _itk(target)
    resampled = sitk.Resample(
        image,
        size=[int(extent) for extent in shape],
        interpolator=interpolator,
        outputOrigin=origin,
        outputSpacing=spacing,
        outputDirection=direction,
        useNearestNeighborExtrapolator=interpolator == sitk.sitkBSpline,
    )
    return np.ascontiguousarray(sitk.GetArrayFromImage(resampled).T)


def _itk(affine: NDArray[np.float64]) -> tuple[list[float], list[float], list[float]]:
    """Returns spacing, direction (row by row) and origin in LPS."""
    lps = _FLIP @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    return spacing.tolist(), (lps[:3, :3] / spacing).ravel().tolist(), lps[:3, 3].tolist()
