"""Voxel size, orientation and position by a NIfTI header, also where its sform, qform and pixdim disagree.

A header states the size of a voxel up to three times (pixdim and the columns of both matrices) and its place twice.
Where these agree, the affine is nibabel's. Where they do not, it is the one that SimpleITK 2.5 (ITK 5.4,
``itkNiftiImageIO``) and therefore nnU-Net reads:

- The size is pixdim's. Direction and origin are those of one matrix.
- That is the sform where its axes are perpendicular and its code is 1 (scanner), the qform has no code, or the two
  differ in reversed axes alone.
- It is the qform where that has a code otherwise.
- Without any code the axes run to the left, to the back and upwards, from the origin.

An sform with oblique axes and no qform is the one case that SimpleITK refuses; it is taken as it stands.
"""

import itertools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from nibabel.quaternions import quat2mat
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

Affine = NDArray[np.float64]

#: Rounding of a header in single precision: relative, of a voxel's size; and of a corner's place, in voxels.
_SAME_SIZE, _SAME_PLACE = 1e-3, 0.1

#: Products of the axes' directions may differ by this from those of perpendicular axes (ITK's number).
_PERPENDICULAR = 1e-4

#: Units of length (bits 0 to 2 of ``xyzt_units``) that are not taken for mm: name and mm.
_UNITS = {1: ("metres", 1e3), 3: ("micrometres", 1e-3)}

#: What is assumed of axes that are not perpendicular.
SHEARED = "the axes are not perpendicular (sheared): distances are computed as if they were"

_NO_CODE = "neither sform nor qform has a code: the axes are taken to run to the left, to the back and upwards"

#: Code of a transform to the scanner's coordinates.
_SCANNER = 1


@dataclass(frozen=True)
class Placement:
    """Place of a volume in space.

    Attributes:
        affine: (4, 4) voxel index to RAS mm.
        stated: Every affine that the header states, the chosen one first.
        assumed: What had to be assumed, in words that fit any file.
        codes: Codes of qform and sform.
        is_nibabels: Whether ``affine`` is the one that nibabel reads.
    """

    affine: Affine
    stated: tuple[Affine, ...]
    assumed: tuple[str, ...]
    codes: tuple[int, int]
    is_nibabels: bool


def place(header: nib.Nifti1Header) -> Placement:
    """Returns where a volume lies."""
    shape = tuple(int(extent) for extent in (*header.get_data_shape(), 1, 1, 1)[:3])
    unit = int(header["xyzt_units"]) & 7
    codes = int(header["qform_code"]), int(header["sform_code"])
    qform = _qform(header) if codes[0] > 0 else None
    sform = _sform(header) if codes[1] > 0 else None
    own = next((one for one in (sform, qform) if one is not None), None)  # nibabel's order
    chosen, words = _choose(sform, qform, codes[1], _sizes(header), shape)
    words += _sizeless_words(header, shape)
    is_nibabels = False
    if own is not None and unit not in _UNITS and agree(shape, own, chosen):
        chosen, is_nibabels = own, True
    stated = [chosen, *(one for one in (qform, sform) if one is not None)]
    if unit in _UNITS:
        name, scale = _UNITS[unit]
        stated = [np.diag([scale, scale, scale, 1]) @ one for one in stated]
        words = [*words, f"the unit of length is {name}: lengths are converted to mm"]
    return Placement(stated[0], tuple(stated), (*words, *one_voxel_words(shape)), codes, is_nibabels)


def one_voxel_words(shape: Sequence[int]) -> tuple[str, ...]:
    """Returns what is assumed of a volume with a single voxel along some axis."""
    thin = " and ".join(name for name, extent in zip("XYZ", shape, strict=True) if extent == 1)
    return (f"one voxel along {thin}: both of its faces count as surface, unlike in 2D",) if thin else ()


def agree(shape: Sequence[int], first: Affine, second: Affine) -> bool:
    """Whether two affines differ by no more than headers in single precision are rounded."""
    with np.errstate(all="ignore"):
        sizes = np.linalg.norm(first[:3, :3], axis=0), np.linalg.norm(second[:3, :3], axis=0)
        same_size = bool((np.abs(sizes[0] - sizes[1]) <= _SAME_SIZE * sizes[1]).all())
        return same_size and corner_distance(shape, first, second) <= _SAME_PLACE * float(sizes[1].min())


def corner_distance(shape: Sequence[int], first: Affine, second: Affine) -> float:
    """Returns how far in mm a corner of a volume of this shape lies from itself under two affines, at most."""
    corners = np.array([[*corner, 1] for corner in itertools.product(*((0, extent - 1) for extent in shape))])
    return float(np.linalg.norm((corners @ (first - second).T)[:, :3], axis=1).max())


def is_oblique(affine: Affine) -> bool:
    """Whether the axes of an affine are not perpendicular (sheared), or not axes at all."""
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not sizes.all():
        return True
    directions = affine[:3, :3] / sizes
    return bool(np.abs(directions @ directions.T - np.eye(3)).max() > _PERPENDICULAR)


def _choose(
    sform: Affine | None, qform: Affine | None, code: int, sizes: Affine, shape: Sequence[int]
) -> tuple[Affine, list[str]]:
    """Returns the affine that SimpleITK reads, and what that assumes.

    Args:
        sform: Matrix of the sform; none where its code is 0.
        qform: Matrix of the qform; none where its code is 0.
        code: Code of the sform.
        sizes: (3,) voxel size by pixdim.
        shape: Number of voxels along X, Y, Z.
    """
    if sform is None:
        if qform is not None:
            return qform, []
        return _resized(np.diag([-1.0, -1.0, 1.0, 1.0]), sizes), [_NO_CODE]
    if is_oblique(sform):
        if qform is None:
            return sform, [SHEARED]
        return qform, ["the axes of the sform are not perpendicular: the qform is read, as by SimpleITK"]
    resized = _resized(sform, sizes)
    words: list[str] = []
    if (np.abs(np.linalg.norm(sform[:3, :3], axis=0) - sizes) > _SAME_SIZE * sizes).any():
        words = ["sform and pixdim disagree about the voxel size: that of pixdim is read, as by SimpleITK"]
    if qform is None or agree(shape, resized, qform):
        return resized, words
    by_sform = code == _SCANNER or _equal_but_for_flips(sform, qform)
    chosen, name = (resized, "sform") if by_sform else (qform, "qform")
    return chosen, [*words, f"sform and qform disagree about the place: the {name} is read, as by SimpleITK"]


def _equal_but_for_flips(sform: Affine, qform: Affine) -> bool:
    """Whether ITK calls two matrices very similar: its comparison of singular vectors does not see reversed axes."""
    flips = np.where((sform[:3, :3] * qform[:3, :3]).sum(axis=0) < 0, -1.0, 1.0)
    return np.allclose(sform * [*flips, 1.0], qform, rtol=0, atol=_PERPENDICULAR)


def _resized(affine: Affine, sizes: Affine) -> Affine:
    """Returns an affine with its directions and origin, and other voxel sizes."""
    made = affine.copy()
    made[:3, :3] *= sizes / np.linalg.norm(affine[:3, :3], axis=0)
    return made


def _sizes(header: nib.Nifti1Header) -> Affine:
    """Returns the voxel size by pixdim; 1 where that is 0 or not finite, as by SimpleITK."""
    sizes = np.abs(np.asarray(header["pixdim"][1:4], np.float64))
    return np.where(np.isfinite(sizes) & (sizes > 0), sizes, 1.0)


def _sizeless_words(header: nib.Nifti1Header, shape: Sequence[int]) -> list[str]:
    """Returns what is assumed where pixdim states no size; of an axis with one voxel it need not."""
    sizes = np.asarray(header["pixdim"][1:4], np.float64)
    none = [name for name, size, extent in zip("XYZ", sizes, shape, strict=True) if extent > 1 and not _is_size(size)]
    return [f"pixdim states no voxel size along {' and '.join(none)}: 1 mm is assumed, as by SimpleITK"] if none else []


def _is_size(value: float) -> bool:
    return bool(np.isfinite(value) and value)


def _sform(header: nib.Nifti1Header) -> Affine:
    rows = [np.asarray(header[f"srow_{axis}"], np.float64) for axis in "xyz"]
    return np.array([*rows, [0.0, 0.0, 0.0, 1.0]])


def _qform(header: nib.Nifti1Header) -> Affine:
    """Returns nibabel's matrix; one of our own where nibabel refuses a quaternion that rounding made longer than 1."""
    with suppress(ValueError, HeaderDataError):
        affine = np.asarray(header.get_qform(), np.float64)
        if np.isfinite(affine).all() and np.linalg.norm(affine[:3, :3], axis=0).all():
            return affine
    vector = np.nan_to_num([float(header[f"quatern_{part}"]) for part in "bcd"], posinf=0, neginf=0)
    affine = np.eye(4)
    affine[:3, :3] = quat2mat([np.sqrt(max(0.0, 1 - vector @ vector)), *vector]) * _sizes(header)
    if header["pixdim"][0] < 0:
        affine[:3, 2] *= -1
    affine[:3, 3] = [float(header[f"qoffset_{axis}"]) for axis in "xyz"]
    return affine
