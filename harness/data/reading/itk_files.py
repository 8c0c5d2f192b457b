"""Images in the other formats that nnU-Net reads: MetaImage, NRRD, GIPL, PNG and BMP by SimpleITK, TIFF by tifffile."""

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.data.reading.headers import LONGEST_INFLATION, fits_memory
from harness.data.reading.special_files import refuse_special
from harness.data.reading.tiff_files import read_tiff, tiff_shape
from harness.data.reading.transforms import Placement, one_voxel_words
from harness.errors import DataError
from harness.files import read_json

if TYPE_CHECKING:
    import SimpleITK as sitk

#: What the name of a file may end with that is read here.
ITK_ENDINGS = (".mha", ".nrrd", ".gipl", ".gipl.gz", ".tif", ".tiff", ".png", ".bmp")

#: Of these, formats that do not tell the voxel size, and those that may hold several channels as colours.
TIFF_ENDINGS = (".tif", ".tiff")
FLAT_ENDINGS = (*TIFF_ENDINGS, ".png", ".bmp")

_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_HEADER = 1 << 14

_LONGEST_LINE = 1 << 10

#: Bits per pixel of a BMP that has a palette, at most; colour type of a PNG that has one.
_BYTE, _PALETTE = 8, b"\x03"

#: Fields that hold a number per dimension, and those that hold a square of numbers.
_VECTORS = ("dimsize", "elementspacing", "elementsize", "offset", "position", "origin", "centerofrotation", "sizes")
_MATRICES = ("transformmatrix", "rotation", "orientation")


def read_placement(path: Path) -> Placement:
    """Returns where the image of a file lies; its voxels are not read.

    Raises:
        DataError: The file cannot be read.
    """
    if path.suffix in TIFF_ENDINGS:
        return _by_shape(path, tiff_shape(path))
    return _placement(path, _information(path))


def read_voxels(path: Path) -> tuple[NDArray[Any], Placement]:
    """Reads an image.

    Returns:
        Voxels (X, Y, Z), or (X, Y, Z, channels) where it has several, and where they lie. Z of a plane is 1.

    Raises:
        DataError: The file cannot be read.
    """
    import SimpleITK as sitk

    if path.suffix in TIFF_ENDINGS:
        return read_tiff(path), read_placement(path)
    reader = _information(path)
    placement = _placement(path, reader)
    with fits_memory(path):
        try:
            voxels = sitk.GetArrayFromImage(reader.Execute())
        except RuntimeError as error:
            raise _unreadable(path, error) from error
        if _has_palette(path) and (voxels == voxels[..., :1]).all():
            voxels = voxels[..., 0]  # SimpleITK makes three channels of a palette, of a grey one too
        dimensions = reader.GetDimension()
        channels = range(dimensions, voxels.ndim)
        voxels = voxels.transpose(*reversed(range(dimensions)), *channels)
        if dimensions == 2:
            voxels = np.expand_dims(voxels, 2)
        return np.ascontiguousarray(voxels), placement


def _has_palette(path: Path) -> bool:
    """Whether a picture holds numbers of colours, by its header; a grey BMP does."""
    with path.open("rb") as file:
        start = file.read(30)
    if path.suffix == ".bmp":
        return int.from_bytes(start[28:30], "little") <= _BYTE
    return path.suffix == ".png" and start[25:26] == _PALETTE


def _information(path: Path) -> "sitk.ImageFileReader":
    """Returns a reader that has read the header, which fits the file and memory."""
    import SimpleITK as sitk

    refuse_special(path)
    with path.open("rb") as file:
        _check_header(path, file.read(_HEADER))
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # it writes them past Python
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    voxels = prod(reader.GetSize()) * reader.GetNumberOfComponents()
    if voxels > LONGEST_INFLATION * path.stat().st_size:
        raise _unreadable(path, ValueError(f"its header declares {voxels} values, more than the file can hold"))
    with fits_memory(path, 12 * voxels):
        return reader


def _check_header(path: Path, start: bytes) -> None:
    """Refuses headers that the libraries behind SimpleITK do not survive, or whose voxels lie in another file."""
    if path.suffix not in (".mha", ".nrrd"):
        return
    separator = "=" if path.suffix == ".mha" else ":"
    fields: dict[str, list[str]] = {}
    for line in start.split(b"\n"):
        key, found, value = line.decode("latin-1").partition(separator)
        if not line.strip() and path.suffix == ".nrrd":
            break  # voxels follow the first empty line
        if found and len(line) < _LONGEST_LINE:
            fields.setdefault(key.strip().lower(), value.split())
        if key.strip().lower() == "elementdatafile":
            break  # voxels follow
    if fields.get("elementdatafile", ["LOCAL"]) != ["LOCAL"] or "data file" in fields or "datafile" in fields:
        raise DataError(f"{path} names another file for its voxels.", hint="Convert it to one file that holds both.")
    dimensions = fields.get("ndims") or fields.get("dimension") or ["none"]
    if dimensions not in (["2"], ["3"], ["4"]):
        raise _unreadable(path, ValueError(f"its header declares {' '.join(dimensions)[:20]} dimensions"))
    count = int(dimensions[0])
    lengths = {**dict.fromkeys(_VECTORS, count), **dict.fromkeys(_MATRICES, count**2)}
    for key in sorted(set(fields) & set(lengths)):
        if len(fields[key]) != lengths[key]:
            raise _unreadable(path, ValueError(f"{key} has {len(fields[key])} numbers, {lengths[key]} are needed"))


def _placement(path: Path, reader: "sitk.ImageFileReader") -> Placement:
    dimensions = min(3, reader.GetDimension())
    directions = np.array(reader.GetDirection()).reshape(reader.GetDimension(), -1)[:dimensions, :dimensions]
    affine = np.eye(4)
    affine[:dimensions, :dimensions] = directions * reader.GetSpacing()[:dimensions]
    affine[:dimensions, 3] = reader.GetOrigin()[:dimensions]
    shape = (*reader.GetSize(), 1, 1)[:3]
    if path.suffix in FLAT_ENDINGS:
        return _by_shape(path, shape)
    affine = _TO_RAS @ affine
    return Placement(affine, (affine,), one_voxel_words(shape), (1, 1), is_nibabels=False)


def _by_shape(path: Path, shape: tuple[int, ...]) -> Placement:
    """Returns where a picture lies: its format states no place, and its voxel size at best beside it."""
    spacing = _stated_spacing(path)
    affine = _TO_RAS @ np.diag([*(spacing or (1.0, 1.0, 1.0)), 1.0])
    words = () if spacing else ("the format states no voxel size: 1 mm is assumed",)
    return Placement(affine, (affine,), (*words, *one_voxel_words(shape)), (1, 1), is_nibabels=False)


def _stated_spacing(path: Path) -> list[float] | None:
    """Returns the voxel size (X, Y, Z) in mm by the JSON file that nnU-Net wants beside a TIFF; none without one."""
    stems = {path.name.removesuffix(path.suffix), path.name.removesuffix(path.suffix)[: -len("_0000")]}
    for aside in (path.with_name(f"{stem}.json") for stem in sorted(stems, reverse=True) if stem):
        if not aside.is_file():
            continue
        try:
            sizes = [float(size) for size in read_json(aside)["spacing"]]
            if len(sizes) != 3 or not all(0 < size < np.inf for size in sizes):
                raise ValueError(f"{sizes}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{aside} states no voxel size: {error!r}",
                hint='It must read {"spacing": [Z, Y, X]}, in mm, as nnU-Net wants it beside a TIFF file.',
            ) from error
        return sizes[::-1]
    return None


def _unreadable(path: Path, error: Exception) -> DataError:
    last = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
    return DataError(
        f"{path} cannot be read as {path.suffix}: {last}", hint="The file is damaged or truncated: get it again."
    )
