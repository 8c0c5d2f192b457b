"""From the grids of CT and PET to one grid of 1 mm in the official box, and back.

The organisers' recipe (voreille/hecktor, ``src/resampling``): the first voxel's centre lies on the box's corner, images
are interpolated by cubic splines, masks by the nearest neighbour. NIfTI affines are in RAS, boxes and SimpleITK in LPS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.data.datasets.hecktor21.boxes import SIDE_MM, Box

if TYPE_CHECKING:
    import SimpleITK as sitk

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
    import SimpleITK as sitk

    first, last = _voxels(affine, box)
    start = np.clip(np.floor(first).astype(int) - _MARGIN, 0, np.array(image.shape) - 1)
    stop = np.clip(np.ceil(last).astype(int) + _MARGIN, start + 1, image.shape)
    part = image[tuple(slice(low, high) for low, high in zip(start, stop, strict=True))]
    offset = np.eye(4)
    offset[:3, 3] = start
    filtered = _resampler(box_affine(box), (SIDE_MM,) * 3, sitk.sitkBSpline)
    filtered.SetUseNearestNeighborExtrapolator(True)
    return _array(filtered.Execute(_image(part, affine @ offset))).astype(np.float32)


def label_to_box(label: NDArray[np.uint8], affine: NDArray[np.float64], box: Box) -> NDArray[np.uint8]:
    """Resamples a label map (X, Y, Z) to the box's grid by the nearest neighbour."""
    return _nearest(label, affine, box_affine(box), (SIDE_MM,) * 3)


def label_to_files(
    label: NDArray[np.uint8], box: Box, affine: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.uint8]:
    """Resamples a label map on the box's grid to that of a file by the nearest neighbour; 0 outside the box."""
    return _nearest(label, box_affine(box), affine, shape)


def _nearest(
    label: NDArray[np.uint8], source: NDArray[np.float64], target: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.uint8]:
    import SimpleITK as sitk

    return _array(_resampler(target, shape, sitk.sitkNearestNeighbor).Execute(_image(label, source))).astype(np.uint8)


def _voxels(affine: NDArray[np.float64], box: Box) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the first and last position, in voxels of a file, that the box reaches."""
    corners = np.array(np.meshgrid(*([-0.5, SIDE_MM - 0.5],) * 3)).reshape(3, -1)
    to_file = np.linalg.inv(affine) @ box_affine(box)
    places = to_file[:3, :3] @ corners + to_file[:3, 3:]
    return places.min(axis=1), places.max(axis=1)


def _resampler(affine: NDArray[np.float64], shape: tuple[int, ...], kind: int) -> sitk.ResampleImageFilter:
    import SimpleITK as sitk

    spacing, direction, origin = _itk(affine)
    made = sitk.ResampleImageFilter()
    made.SetOutputSpacing(spacing)
    made.SetOutputDirection(direction)
    made.SetOutputOrigin(origin)
    made.SetSize([int(extent) for extent in shape])
    made.SetInterpolator(kind)
    return made


def _image(volume: NDArray[Any], affine: NDArray[np.float64]) -> sitk.Image:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.T))
    spacing, direction, origin = _itk(affine)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    image.SetOrigin(origin)
    return image


def _array(image: sitk.Image) -> NDArray[Any]:
    import SimpleITK as sitk

    return np.ascontiguousarray(sitk.GetArrayFromImage(image).T)


def _itk(affine: NDArray[np.float64]) -> tuple[list[float], list[float], list[float]]:
    """Returns spacing, direction (row by row) and origin in LPS."""
    lps = _FLIP @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    return spacing.tolist(), (lps[:3, :3] / spacing).ravel().tolist(), lps[:3, 3].tolist()
