"""From image files to the network's grid, as :mod:`harness.data.preparation` brings them there."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import torch
from nibabel import orientations
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from harness.inference.standalone.inputs import InputError

Array = NDArray[Any]

#: With voxels this many times as long along one axis as along another, that axis is resampled apart (nnU-Net).
_ANISOTROPIC = 3.0
#: How much finer or coarser resampling may make an axis.
_MOST_RESAMPLED = 20
#: Voxels that scipy repeats around an image before it fits splines.
_EDGE = 12
#: Units of length in a NIfTI header that are not taken for mm: metres and micrometres.
_OTHER_UNITS = (1, 3)


class Patient(NamedTuple):
    """Images (M, X, Y, Z) of a patient, their (4, 4) affine to RAS mm, and the codes of qform and sform.

    ``absent`` are the channels without an image, which are 0.
    """

    images: Array
    affine: Array
    codes: tuple[int, int]
    absent: tuple[int, ...] = ()


class Grid(NamedTuple):
    """What the way back to the files needs; ``crop`` and ``resampled`` are along the turned axes."""

    shape: tuple[int, ...]
    orientation: Array
    crop: tuple[slice, ...]
    resampled: tuple[int, ...]
    axis: int
    padded: tuple[int, int] | None


class Prepared(NamedTuple):
    """Images (M, D, H, W), not normalised; of each modality count, sum and sum of squares of voxels that are not 0."""

    images: Array
    moments: list[tuple[int, float, float]]
    spacing: tuple[float, ...]
    grid: Grid


def read_patient(files: Sequence[Path | None]) -> Patient:
    """Reads the images of a patient.

    Args:
        files: Files in channel order; None where the patient lacks the modality.

    Raises:
        InputError: A file cannot be read, its place is not clear, or it is not on the grid of the first.
    """
    paths = [path for path in files if path is not None]
    read = [_read(path) for path in paths]
    first, affine, codes = read[0]
    corners = np.array([[*corner, 1] for corner in itertools.product(*((0, extent - 1) for extent in first.shape))])
    for path, (image, own, _) in zip(paths, read, strict=True):
        distance = float(np.linalg.norm((corners @ (own - affine).T)[:, :3], axis=1).max())
        if image.shape != first.shape or distance >= 0.5 * np.linalg.norm(affine[:3, :3], axis=0).min():
            raise InputError(
                f"{path} is not on the grid of {paths[0].name}: shape {image.shape} against {first.shape}, corners up "
                f"to {distance:.2f} mm elsewhere."
            )
    found = iter(read)
    images = np.stack([np.zeros_like(first) if path is None else next(found)[0] for path in files])
    return Patient(images, affine, codes, tuple(channel for channel, path in enumerate(files) if path is None))


def _read(path: Path) -> tuple[Array, Array, tuple[int, int]]:
    try:
        file = nib.load(path)
        image = np.asanyarray(file.dataobj)
        header = file.header
        unit, codes = int(header["xyzt_units"]) & 7, (int(header["qform_code"]), int(header["sform_code"]))
        size = np.abs(np.asarray(header["pixdim"][1:4], float))
    except Exception as error:
        raise InputError(f"{path} cannot be read as NIfTI: {error}") from error
    if image.dtype.kind not in "iuf":
        raise InputError(f"{path} holds {image.dtype}; one number per voxel is expected.")
    image = image.reshape(image.shape[:3]) if image.ndim > 3 and image.size == np.prod(image.shape[:3]) else image
    affine = np.asarray(file.affine, float)
    if image.ndim != 3 or not np.isfinite(affine).all() or not np.linalg.det(affine):
        raise InputError(f"{path} is not a 3D volume with a voxel size: shape {image.shape}, affine {affine.tolist()}.")
    same = not (all(codes) and not np.allclose(header.get_qform(), header.get_sform(), atol=0.05))
    if not any(codes) or unit in _OTHER_UNITS or not same or not np.allclose(_lengths(affine), size, rtol=1e-3):
        raise InputError(
            f"{path} does not say clearly where it lies: sform, qform and pixdim must agree, in mm. Convert it again "
            "from its source."
        )
    if not np.isfinite(image).all():
        raise InputError(f"{path} holds voxels that are not finite. Convert it again from its source.")
    return image.astype(np.float32), affine, codes


def _lengths(affine: Array) -> Array:
    return np.asarray(np.linalg.norm(affine[:3, :3], axis=0))


def preprocess(patient: Patient, plan: Mapping[str, Any]) -> Prepared:
    """Brings a patient to the network's grid.

    Args:
        patient: The images.
        plan: The steps of ``model.json``.

    Raises:
        InputError: The images are empty, or their voxel size cannot be meant for the network.
    """
    natural = np.array([[0, 1], [1, 1], [2, 1]], float)
    orientation = np.asarray(orientations.io_orientation(patient.affine)) if plan["turn"] else natural
    images = np.stack([orientations.apply_orientation(image, orientation) for image in patient.images])
    masked: list[bool] = plan["zero_is_outside"]
    crop = (
        _box(np.asarray(images.any(axis=0))) if plan["crop"] else tuple(slice(0, extent) for extent in images.shape[1:])
    )
    images = images[(slice(None), *crop)]
    moments = [_moments(image) for image in images]
    spacing = [0.0, 0.0, 0.0]
    for size, (axis, _) in zip(((patient.affine[:3, :3] ** 2).sum(axis=0) ** 0.5).tolist(), orientation, strict=True):
        spacing[int(axis)] = size
    shape: tuple[int, ...] = images.shape[1:]
    if plan["spacing"] is not None:
        wanted = [own if size is None else size for own, size in zip(spacing, plan["spacing"], strict=True)]
        ratios = [new / old for old, new in zip(spacing, wanted, strict=True)]
        if max(ratios) > _MOST_RESAMPLED or min(ratios) < 1 / _MOST_RESAMPLED:
            raise InputError(f"Voxels of {spacing} mm cannot be resampled to {wanted} mm: is the voxel size right?")
        shape = tuple(max(1, round(n * a / b)) for n, a, b in zip(shape, spacing, wanted, strict=True))
        if shape != images.shape[1:]:
            images = np.stack([
                _inside(image, lambda part: _resample(part, shape, spacing, wanted, 3),
                        lambda part: _resample(part, shape, spacing, wanted, 1), of)
                for image, of in zip(images, masked, strict=True)
            ])  # fmt: skip
    images = np.ascontiguousarray(np.moveaxis(images, 1 + plan["slice_axis"], 1))
    padded, plane = None, plan["plane"]
    if plane is not None and plan["square"]:
        height, width = images.shape[2:]
        factor = max(height / plane[0], width / plane[1])
        padded = max(height, round(plane[0] * factor)), max(width, round(plane[1] * factor))
        images = np.stack([
            _pad(image, padded, 0 if of else image.min()) for image, of in zip(images, masked, strict=True)
        ])  # fmt: skip
    if plane is not None and images.shape[2:] != tuple(plane):

        def linear(image: Array) -> Array:
            return resize_planes(torch.from_numpy(image)[None], tuple(plane))[0].numpy()

        images = np.stack([_inside(image, linear, linear, of) for image, of in zip(images, masked, strict=True)])
    grid = Grid(patient.images.shape[1:], orientation, crop, shape, plan["slice_axis"], padded)
    return Prepared(images, moments, tuple(spacing), grid)


def _box(inside: Array) -> tuple[slice, ...]:
    """Returns the box of the voxels that are inside."""
    if not inside.any():
        raise InputError("The images are empty: every voxel is 0.")
    along = [np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis))) for axis in range(3)]
    return tuple(slice(int(one[0]), int(one[-1]) + 1) for one in along)


def _moments(image: Array) -> tuple[int, float, float]:
    inside = image[image != 0].astype(np.float64)
    return len(inside), float(inside.sum()), float(np.dot(inside, inside))


def mean_and_sd(count: int, total: float, squares: float) -> tuple[float, float]:
    """Returns mean and SD of voxels; the SD is 1 where it would be 0."""
    mean = total / count if count else 0.0
    return mean, (max(squares / count - mean**2, 0.0) ** 0.5 or 1.0) if count > 1 else 1.0


def normalise(prepared: Prepared, facts: Mapping[str, Any]) -> Array:
    """Returns normalised images (M, D, H, W).

    Args:
        prepared: The images.
        facts: The normalisation of ``model.json``.
    """
    made = np.empty(prepared.images.shape, np.float32)
    zeros_count = facts.get("zeros_count", False)
    voxels = int(np.prod([part.stop - part.start for part in prepared.grid.crop]))
    for index, (kind, image) in enumerate(zip(facts["kinds"], prepared.images, strict=True)):
        window = facts["windows"][index]
        if window is not None:
            clipped = np.clip(image, np.float32(window["low"]), np.float32(window["high"]))
            made[index] = (clipped - np.float32(window["mean"])) / np.float32(window["std"])
            continue
        count, total, squares = prepared.moments[index]
        known = facts["training"][index]
        of_training = known["count"], known["total"], known["squares"]
        mean, sd = mean_and_sd(
            *(of_training if kind == "zscore_train" else (voxels if zeros_count else count, total, squares))
        )
        np.subtract(image, np.float32(mean), out=made[index])
        made[index] /= np.float32(sd)
        if not zeros_count:
            np.copyto(made[index], 0, where=image == 0)
    return made


def resize_planes(planes: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resizes (C, D, H, W) in-plane by linear interpolation, low-pass filtered where it shrinks."""
    if tuple(planes.shape[-2:]) == tuple(size):
        return planes
    return F.interpolate(planes, size=tuple(size), mode="bilinear", align_corners=False, antialias=True)


def _pad(volume: Array, size: tuple[int, int], value: float) -> Array:
    before = [(side - own) // 2 for side, own in zip(size, volume.shape[1:], strict=True)]
    after = [side - own - first for side, own, first in zip(size, volume.shape[1:], before, strict=True)]
    return np.asarray(np.pad(volume, [(0, 0), *zip(before, after, strict=True)], constant_values=value))


def _inside(
    image: Array, interpolate: Callable[[Array], Array], of_mask: Callable[[Array], Array], masked: bool
) -> Array:
    """Interpolates an image; where 0 means outside the body, without mixing the body's border with 0."""
    inside = image != 0
    if not masked or inside.all():
        return interpolate(image)
    mean = image[inside].mean(dtype=np.float64).astype(np.float32) if inside.any() else np.float32(0)
    made = np.asarray(interpolate(np.where(inside, image - mean, np.float32(0))))
    return np.asarray(np.where(of_mask(inside.astype(np.float32)) >= 0.5, made + mean, np.float32(0)))


def _resample(volume: Array, shape: tuple[int, ...], old: Sequence[float], new: Sequence[float], order: int) -> Array:
    """Resamples (X, Y, Z) as nnU-Net does: splines, but the nearest slice along an axis of much longer voxels."""
    image = volume.astype(np.float64)
    apart = None
    for spacing in (old, new):
        if max(spacing) / min(spacing) > _ANISOTROPIC:
            longest = [axis for axis, size in enumerate(spacing) if max(spacing) / size == 1]
            apart = longest[0] if len(longest) == 1 else None
            break
    if apart is None:
        return np.asarray(_zoom(image, shape, order), np.float32)
    slices = np.moveaxis(image, apart, 0)
    plane = tuple(extent for axis, extent in enumerate(shape) if axis != apart)
    made = np.stack([_zoom(one, plane, order) for one in slices])
    scale = len(made) / shape[apart]
    at = np.floor(scale * (np.arange(shape[apart]) + 0.5) - 0.5 + 0.5).astype(int).clip(0, len(made) - 1)
    return np.asarray(np.moveaxis(made[at], 0, apart), np.float32)


def _zoom(image: Array, shape: tuple[int, ...], order: int) -> Array:
    """Zooms by splines of order 1 or 3 as ``skimage.transform.resize`` does, with repeated edges."""
    made = image
    for axis, (old, new) in enumerate(zip(image.shape, shape, strict=True)):
        if old != new:
            made = np.moveaxis(np.tensordot(_weights(old, new, order), made, axes=(1, axis)), 0, axis)
    return np.asarray(np.clip(made, image.min(), image.max()))


def _weights(old: int, new: int, order: int) -> Array:
    """Returns the (new, old) weights of voxels along an axis."""
    at = (np.arange(new) + 0.5) * (old / new) - 0.5
    if order == 1:
        at = at.clip(0, old - 1)
        return np.asarray(np.maximum(0, 1 - np.abs(at[:, None] - np.arange(old))))
    count = old + 2 * _EDGE
    # Spline coefficients c of padded values p: (c[i-1] + 4 c[i] + c[i+1]) / 6 = p[i], reflected at the ends.
    basis = (np.diag(np.full(count, 4.0)) + np.eye(count, k=1) + np.eye(count, k=-1)) / 6
    basis[0, 0] = basis[-1, -1] = 5 / 6
    distance = np.abs((at + _EDGE)[:, None] - np.arange(count))
    near, far = 2 / 3 - distance**2 * (2 - distance) / 2, np.maximum(2 - distance, 0) ** 3 / 6
    taps = np.where(distance < 1, near, far)
    padding = np.eye(old)[np.arange(-_EDGE, old + _EDGE).clip(0, old - 1)]
    return np.asarray(taps @ np.linalg.solve(basis, padding))
