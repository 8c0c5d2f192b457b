"""Images and label maps in and out, with messages that name the file and the remedy."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from harness.data.assumptions import note_assumptions
from harness.data.reading.files import NIFTI_ENDINGS
from harness.data.reading.headers import fits_memory, read_header, read_volume
from harness.data.reading.itk_files import ITK_ENDINGS, read_voxels
from harness.data.reading.itk_files import read_placement as read_itk_placement
from harness.data.reading.transforms import Placement, is_oblique, place
from harness.errors import DataError

#: What the name of an image that can be read may end with.
IMAGE_ENDINGS = (*NIFTI_ENDINGS, *ITK_ENDINGS)

#: Labels may be stored this far from a whole number; more means they were interpolated.
_NEARLY = 0.1

#: Label values that a message lists.
_MOST_SHOWN = 12

_VOLUME = 3

#: Code of a transform to the scanner's space, and the greatest there is.
_SCANNER, _MOST_CODE = 1, 5


def read_placement(path: Path) -> Placement:
    """Returns where the image of a file lies, from its header alone.

    Raises:
        DataError: The file is missing or its header cannot be read.
    """
    return read_itk_placement(path) if path.name.endswith(ITK_ENDINGS) else place(read_header(path))


def read_image(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Reads a 3D image.

    Returns:
        The voxels (X, Y, Z) as float32 and the (4, 4) affine to RAS mm.

    Raises:
        DataError: The file is missing or unreadable, is not 3D, has no voxel size, or holds values that are not finite.
    """
    with fits_memory(path):
        voxels, affine = _read(path)
        image = voxels.astype(np.float32)
        _check_finite(image, path)
        return image, affine


def read_channels(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Reads a plane or a 3D image, or a 4D one whose last axis is the modality.

    Returns:
        The voxels (M, X, Y, Z) as float32 and the (4, 4) affine to RAS mm.

    Raises:
        DataError: As :func:`read_image`.
    """
    with fits_memory(path):
        voxels, affine = _read(path, (2, 3, 4))
        image = voxels.astype(np.float32)
        _check_finite(image, path)
        return (image[None] if image.ndim == _VOLUME else np.moveaxis(image, -1, 0)), affine


def read_label(path: Path, declared: frozenset[int]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Reads a label map, a plane or 3D; values are rounded, as some tools store 0.9999.

    Raises:
        DataError: As :func:`read_image`, or a value is not an integer or not among ``declared``.
    """
    with fits_memory(path):
        return _read_label(path, declared)


def _read_label(path: Path, declared: frozenset[int]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    voxels, affine = _read(path, (2, 3))
    rounded = voxels
    if voxels.dtype.kind not in "iu":
        _check_finite(voxels, path)
        rounded = np.rint(voxels)
        if np.abs(voxels - rounded).max(initial=0) > _NEARLY:
            raise DataError(
                f"{path} holds invalid label values, such as {voxels[np.abs(voxels - rounded) > _NEARLY][0]:.3g}.",
                hint="Labels must be resampled by the nearest neighbour: take the file as it was downloaded.",
            )
    present = _values(rounded)
    if surplus := sorted(present - declared):
        raise DataError(
            f"{path} holds label values {_listed(surplus)}, but the dataset declares {_listed(sorted(declared))}.",
            hint="Is this the right file, and the right release of the dataset?",
        )
    return rounded.astype(np.uint8), affine


def _listed(values: Sequence[int | float]) -> str:
    """Returns values in brackets, of many the first and the last: an image in place of a label has thousands."""
    shown = [f"{value:g}" for value in values]
    return f"[{', '.join(shown if len(shown) <= _MOST_SHOWN else [*shown[: _MOST_SHOWN - 2], '...', shown[-1]])}]"


def _check_finite(voxels: NDArray[Any], path: Path) -> None:
    if not np.isfinite(voxels).all():
        bad = int((~np.isfinite(voxels)).sum())
        raise DataError(
            f"{path} holds {bad} voxels that are not finite.", hint="Convert the image again from its source."
        )


def _values(voxels: NDArray[Any]) -> set[int | float]:
    """Returns which values occur; counting is many times faster than sorting where they are few."""
    if voxels.size and voxels.min() >= 0 and voxels.max() <= np.iinfo(np.uint8).max:
        return set(np.flatnonzero(np.bincount(voxels.astype(np.uint8).ravel())).tolist())
    return set(np.unique(voxels).tolist())


def write_label(
    path: Path, label: NDArray[np.uint8], affine: NDArray[np.float64], codes: tuple[int, int] = (_SCANNER, _SCANNER)
) -> None:
    """Writes a label map (X, Y, Z) as NIfTI, see :func:`write_volume`."""
    write_volume(path, label, affine, codes)


def write_volume(path: Path, voxels: NDArray[Any], affine: NDArray[np.float64], codes: tuple[int, int]) -> None:
    """Writes voxels (X, Y, Z) as NIfTI in mm, qform and sform equal.

    Args:
        path: The file.
        voxels: Image or label map.
        affine: (4, 4) voxel index to RAS mm.
        codes: Codes of qform and sform, those of the original; where it has none, both are 1. Axes that are not
            perpendicular have no qform.
    """
    qform, sform = (code if code in range(_MOST_CODE + 1) else _SCANNER for code in codes)
    if is_oblique(affine):
        qform, sform = 0, sform or _SCANNER
    elif not qform and not sform:
        qform, sform = _SCANNER, _SCANNER
    image = nib.Nifti1Image(voxels, affine)
    image.set_sform(affine, code=sform)
    image.set_qform(affine, code=qform)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def _read(path: Path, dimensions: tuple[int, ...] = (_VOLUME,)) -> tuple[NDArray[Any], NDArray[np.float64]]:
    if path.name.endswith(ITK_ENDINGS):
        voxels, placement = read_voxels(path)
    else:
        volume = read_volume(path)
        voxels, placement = volume.voxels, place(volume.header)
    affine = placement.affine
    if voxels.dtype.kind not in "iuf":
        raise DataError(
            f"{path} holds {voxels.dtype}; one real number per voxel is expected.",
            hint="Is it a colour picture, or the raw data of a scanner? Take the image itself.",
        )
    shape = voxels.shape
    voxels = _without_idle_axes(voxels, most=max(dimensions))
    if voxels.ndim not in dimensions:
        raise DataError(f"{path} has shape {shape}; a 3D volume is expected.", hint="Is this the right file?")
    if voxels.ndim < _VOLUME:
        voxels = voxels[..., None]
    if not np.isfinite(affine).all() or not np.linalg.det(affine):
        raise DataError(
            f"{path} has no valid affine: {affine.tolist()}",
            hint="The voxel size must not be 0 along any axis: convert the file again from its source.",
        )
    note_assumptions(path, placement.assumed)
    return voxels, affine


def _without_idle_axes(voxels: NDArray[Any], most: int) -> NDArray[Any]:
    """Drops axes of length 1 behind the third, as some tools write them: (X, Y, Z, 1), and (X, Y, Z, 1, channels)."""
    idle = [axis for axis in range(_VOLUME, voxels.ndim) if voxels.shape[axis] == 1]
    return voxels.squeeze(tuple(idle)) if most >= voxels.ndim - len(idle) else voxels
