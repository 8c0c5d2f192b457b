"""A series of DICOM slices and its drawing in PNG slices, kept in one order.

The official evaluation orders slices by file name, not by position. Both stacks are therefore read by file name, and
the affine follows from where the first and the last slice lie.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_modality_lut

from harness.data.assumptions import note_assumptions
from harness.data.reading.files import visible
from harness.data.reading.headers import fits_memory
from harness.data.reading.special_files import refuse_special
from harness.data.reading.transforms import SHEARED, is_oblique, one_voxel_words
from harness.errors import DataError

#: Official grey values: label here to the interval (low, high] that the evaluation accepts.
GREY = {1: (55, 70), 2: (110, 135), 3: (175, 200), 4: (240, 255)}

_BYTES = 16  # that reading a pixel takes

_NAME = re.compile(r"IMG-\d+-(\d+)")
_AGAIN = "Unpack the official archive again; nothing may be renamed."

#: DICOM's patient axes run to the left and to the back, ours to the right and to the front.
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def slice_files(folder: Path, ending: str) -> list[Path]:
    """Returns the slices of a folder by file name, without the files that macOS adds (``._*``).

    Raises:
        DataError: The folder is missing or holds none.
    """
    files = [path for path in visible(folder) if path.suffix == ending] if folder.is_dir() else []
    if not files:
        raise DataError(f"{folder} holds no {ending} slices.", hint=_AGAIN)
    return files


def number_of(path: Path) -> int:
    """Returns the number of a slice, e.g. 2 of ``IMG-0004-00002``.

    Raises:
        DataError: The file is not named so.
    """
    match = _NAME.fullmatch(path.stem)
    if match is None:
        raise DataError(f"{path} is not named like IMG-0004-00002{path.suffix}.", hint=_AGAIN)
    return int(match[1])


def read_series(files: list[Path]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Reads DICOM slices in the given order.

    Returns:
        The voxels (X, Y, Z) as float32, X along the rows' direction, and the (4, 4) affine to RAS mm.

    Raises:
        DataError: A slice is missing, unreadable, or of another shape than the first.
    """
    slices = [_read(path) for path in files]
    planes: list[NDArray[np.float32]] = []
    for path, one in zip(files, slices, strict=True):
        plane = _pixels(path, one)
        if planes and plane.shape != planes[0].shape:
            raise DataError(f"{path} has shape {plane.shape}, the first slice {planes[0].shape}.", hint=_AGAIN)
        planes.append(plane)
    affine = series_affine(files, slices)
    words = (SHEARED,) if is_oblique(affine) else ()
    note_assumptions(files[0].parent, (*words, *one_voxel_words((*planes[0].T.shape, len(planes)))))
    return np.stack([plane.T for plane in planes], axis=-1), affine


def read_positions(files: list[Path]) -> NDArray[np.float64]:
    """Returns where the slices lie along their normal, in mm, in the given order (Z,)."""
    headers = [_read(path, pixels=False) for path in files]
    normal = np.cross(*_directions(files[0], headers[0]))
    return np.array(
        [normal @ _numbers(path, one, "ImagePositionPatient", 3) for path, one in zip(files, headers, strict=True)]
    )


def series_affine(files: list[Path], slices: list[pydicom.Dataset]) -> NDArray[np.float64]:
    """Returns the affine (4, 4) of a stack, voxel index to RAS mm, from its first and its last slice.

    Raises:
        DataError: A header lacks what is needed, or the slices lie in one place.
    """
    along_row, along_column = _directions(files[0], slices[0])
    between_rows, between_columns = _numbers(files[0], slices[0], "PixelSpacing", 2)
    first, last = (_numbers(files[end], slices[end], "ImagePositionPatient", 3) for end in (0, -1))
    if len(files) > 1:
        step = (last - first) / (len(files) - 1)
    else:
        step = np.cross(along_row, along_column) * float(slices[0].get("SliceThickness") or 1)
    affine = np.eye(4)
    affine[:3, 0] = along_row * between_columns
    affine[:3, 1] = along_column * between_rows
    affine[:3, 2] = step
    affine[:3, 3] = first
    if not abs(np.linalg.det(affine)) > 1e-6:
        raise DataError(
            f"The slices of {files[0].parent} have no extent: pixel spacing {between_rows} x {between_columns} mm, "
            f"step {np.linalg.norm(step):.3g} mm.",
            hint=_AGAIN,
        )
    return _TO_RAS @ affine


def read_drawing(files: list[Path], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Reads the PNG slices of a drawing in the given order.

    Args:
        files: One file per slice.
        shape: (X, Y, Z) of the series they belong to.

    Returns:
        Labels (X, Y, Z) of :data:`GREY`.

    Raises:
        DataError: A slice is missing, unreadable, mis-shaped, or holds a grey value of no organ.
    """
    label = np.zeros(shape, np.uint8)
    for index, path in enumerate(files):
        grey = _read_png(path)
        if grey.T.shape != shape[:2]:
            raise DataError(f"{path} has shape {grey.T.shape}, its image {shape[:2]}.", hint=_AGAIN)
        known = grey == 0
        plane = np.zeros(grey.shape, np.uint8)
        for value, (low, high) in GREY.items():
            organ = (grey > low) & (grey <= high)
            plane[organ] = value
            known |= organ
        if not known.all():
            surplus = sorted({int(value) for value in np.unique(grey[~known])})
            raise DataError(
                f"{path} holds grey values {surplus[:5]} of no organ; the official ones are 63, 126, 189 and 252.",
                hint=_AGAIN,
            )
        label[:, :, index] = plane.T
    return label


def _read(path: Path, pixels: bool = True) -> pydicom.Dataset:
    refuse_special(path)
    try:
        return pydicom.dcmread(path, stop_before_pixels=not pixels)
    except (InvalidDicomError, OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} cannot be read as DICOM: {error}", hint=_AGAIN) from error


def _pixels(path: Path, one: pydicom.Dataset) -> NDArray[np.float32]:
    """Returns the intensities (rows, columns)."""
    try:
        with fits_memory(path, _BYTES * int(one.Rows) * int(one.Columns) * int(one.get("NumberOfFrames") or 1)):
            plane = apply_modality_lut(one.pixel_array, one)
    except (AttributeError, TypeError, ValueError, RuntimeError, EOFError) as error:
        raise DataError(f"The pixels of {path} cannot be read: {error}", hint=_AGAIN) from error
    if plane.ndim != 2:
        raise DataError(f"{path} has shape {plane.shape}; one slice is expected.", hint=_AGAIN)
    return np.asarray(plane, np.float32)


def _directions(path: Path, one: pydicom.Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    cosines = _numbers(path, one, "ImageOrientationPatient", 6)
    return cosines[:3], cosines[3:]


def _numbers(path: Path, one: pydicom.Dataset, name: str, count: int) -> NDArray[np.float64]:
    value: Any = one.get(name)
    try:
        values = np.array([] if value is None else value, np.float64).reshape(-1)
    except (TypeError, ValueError):
        values = np.array([])
    if len(values) != count or not np.isfinite(values).all():
        raise DataError(f"{path}: the attribute {name} does not hold {count} finite numbers.", hint=_AGAIN)
    return values


def _read_png(path: Path) -> NDArray[np.uint8]:
    refuse_special(path)
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return np.asarray(image.convert("L"), np.uint8)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as PNG: {error}", hint=_AGAIN) from error
