"""TIFF files, by the library that nnU-Net reads them with; the one behind SimpleITK does not survive damaged ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.reading.headers import LONGEST_INFLATION, fits_memory
from harness.data.reading.special_files import refuse_special
from harness.errors import DataError

_COLOURS = "S"  # tifffile's letter of the axis of samples
_PLANE = 2


def tiff_shape(path: Path) -> tuple[int, ...]:
    """Returns the number of voxels along X, Y, Z.

    Raises:
        DataError: The file cannot be read.
    """
    with _series(path) as series:
        return _extents(series)


def read_tiff(path: Path) -> NDArray[Any]:
    """Reads a TIFF file, whose pages are slices.

    Returns:
        Voxels (X, Y, Z), or (X, Y, Z, channels) where it has colours; Z of a plane is 1.

    Raises:
        DataError: The file cannot be read.
    """
    with _series(path) as series:
        values = prod(series.shape)
        if values > LONGEST_INFLATION * path.stat().st_size:
            raise ValueError(f"its header declares {values} values, more than the file can hold")
        with fits_memory(path, 12 * values):
            voxels = np.asarray(series.asarray())
        coloured = series.axes.endswith(_COLOURS)
        spatial = voxels.ndim - coloured
        voxels = voxels.transpose(*reversed(range(spatial)), *range(spatial, voxels.ndim))
        if spatial == _PLANE:
            voxels = np.expand_dims(voxels, _PLANE)
        return np.ascontiguousarray(voxels)


def _extents(series: Any) -> tuple[int, ...]:
    spatial = series.shape[: len(series.shape) - series.axes.endswith(_COLOURS)]
    return (*(int(extent) for extent in reversed(spatial)), 1, 1, 1)[:3]


@contextmanager
def _series(path: Path) -> Iterator[Any]:
    """Yields the images of a file; whatever tifffile raises on a damaged one names it."""
    import tifffile

    refuse_special(path)
    try:
        with tifffile.TiffFile(path) as file:
            yield file.series[0]
    except (DataError, MemoryError):
        raise
    except Exception as error:  # it raises many kinds, from struct.error to IndexError
        raise DataError(
            f"{path} cannot be read as TIFF: {error}", hint="The file is damaged or compressed in an unusual way."
        ) from error
