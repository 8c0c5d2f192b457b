"""NIfTI in and out, with messages that name the file and the remedy."""

import gzip
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from harness.errors import DataError

#: Labels may be stored this far from a whole number; more means they were interpolated.
_NEARLY = 0.1

_VOLUME = 3


def read_image(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Reads a 3D image.

    Returns:
        The voxels (X, Y, Z) as float32 and the (4, 4) affine to RAS mm.

    Raises:
        DataError: The file is missing or unreadable, is not 3D, has no voxel size, or holds values that are not finite.
    """
    voxels, affine = _read(path)
    image = voxels.astype(np.float32)
    _check_finite(image, path)
    return image, affine


def read_channels(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Reads a 3D image, or a 4D one whose last axis is the modality.

    Returns:
        The voxels (M, X, Y, Z) as float32 and the (4, 4) affine to RAS mm.

    Raises:
        DataError: As :func:`read_image`.
    """
    voxels, affine = _read(path, (3, 4))
    image = voxels.astype(np.float32)
    _check_finite(image, path)
    return (image[None] if image.ndim == _VOLUME else np.moveaxis(image, -1, 0)), affine


def read_label(path: Path, declared: frozenset[int]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Reads a 3D label map; values are rounded, as some tools store 0.9999.

    Raises:
        DataError: As :func:`read_image`, or a value is not an integer or not among ``declared``.
    """
    voxels, affine = _read(path)
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
            f"{path} holds label values {surplus}, but the dataset declares {sorted(declared)}.",
            hint="Is this the right file, and the right release of the dataset?",
        )
    return rounded.astype(np.uint8), affine


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


def write_label(path: Path, label: NDArray[np.uint8], affine: NDArray[np.float64]) -> None:
    """Writes a label map (X, Y, Z) as NIfTI."""
    image = nib.Nifti1Image(label, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    nib.save(image, path)


def _read(path: Path, dimensions: tuple[int, ...] = (_VOLUME,)) -> tuple[NDArray[np.floating], NDArray[np.float64]]:
    if not path.is_file():
        raise DataError(f"Missing file: {path}", hint="Download or unpack the dataset again; nothing may be renamed.")
    try:
        image = _open(path)
        voxels = np.asanyarray(image.dataobj)
        affine = np.asarray(image.affine, dtype=np.float64)
    except (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read as NIfTI: {error}", hint="The file is damaged or truncated: download it again."
        ) from error
    if voxels.dtype.kind not in "iuf":
        raise DataError(
            f"{path} holds {voxels.dtype}; one real number per voxel is expected.",
            hint="Is it a colour picture, or the raw data of a scanner? Take the image itself.",
        )
    if voxels.ndim not in dimensions:
        raise DataError(f"{path} has shape {voxels.shape}; a 3D volume is expected.", hint="Is this the right file?")
    if not np.isfinite(affine).all() or not np.linalg.det(affine):
        raise DataError(
            f"{path} has no valid affine: {affine.tolist()}",
            hint="The voxel size must not be 0 along any axis: convert the file again from its source.",
        )
    return voxels, affine


def _open(path: Path) -> nib.Nifti1Image:
    """Opens an image; a compressed one is read to its end, where its checksum is, so that any damage shows."""
    if not path.name.endswith(".nii.gz"):
        return nib.load(path)
    content = gzip.decompress(path.read_bytes())
    sizes = {int.from_bytes(content[:4], order) for order in ("little", "big")}
    kind = nib.Nifti2Image if nib.Nifti2Header.sizeof_hdr in sizes else nib.Nifti1Image
    return kind.from_bytes(content)
