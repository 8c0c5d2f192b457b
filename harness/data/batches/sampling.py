"""Training patches: which case, where, and by which random numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.preparation.cache import PreparedCase
from harness.data.preparation.normalisation import Normaliser


def draw_patch(
    cases: Sequence[PreparedCase],
    normaliser: Normaliser,
    patch_size: tuple[int, ...],
    show_foreground: bool,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Draws one patch.

    Args:
        cases: Training cases, drawn with equal probability.
        normaliser: Applied to the patch.
        patch_size: Two numbers for slices, three for volumes.
        show_foreground: Aim at a voxel of a class drawn among those the case has (nnU-Net's oversampling).
        rng: Source of all draws.

    Returns:
        Images (M, *patch_size) and label (*patch_size). What lies outside the volume is 0.
    """
    case = cases[int(rng.integers(len(cases)))]
    images, label = case.images, case.label
    centre = _aim(case, rng) if show_foreground else None
    if len(patch_size) == 2:
        index = int(rng.integers(len(label))) if centre is None else int(centre[0])
        images, label = images[:, index], label[index]
        centre = None if centre is None else centre[1:]
    start = [
        _start(extent, size, None if centre is None else int(centre[axis]), rng)
        for axis, (extent, size) in enumerate(zip(label.shape, patch_size, strict=True))
    ]
    # Normalised before it is padded: 0 is what lies outside for a network, but 0 HU is water.
    inside = normaliser(_inside(images, start, patch_size), case)
    shown = _inside(label, start, patch_size)
    return _pad(inside, label.shape, start, patch_size), _pad(shown, label.shape, start, patch_size)


def _aim(case: PreparedCase, rng: np.random.Generator) -> NDArray[np.int32] | None:
    present = [voxels for voxels in case.foreground.values() if len(voxels)]
    if not present:
        return None
    voxels = present[int(rng.integers(len(present)))]
    chosen: NDArray[np.int32] = voxels[int(rng.integers(len(voxels)))]
    return chosen


def _start(extent: int, size: int, centre: int | None, rng: np.random.Generator) -> int:
    """Returns where the patch starts along one axis; centred where the volume is smaller than the patch."""
    slack = extent - size
    if slack <= 0:
        return slack // 2
    if centre is None:
        return int(rng.integers(slack + 1))
    return min(max(centre - size // 2, 0), slack)


def _inside(array: NDArray[Any], start: Sequence[int], size: Sequence[int]) -> NDArray[Any]:
    """Returns the part of a patch that lies inside the array; ``start`` counts along the trailing axes."""
    parts: list[Any] = [
        slice(max(first, 0), min(first + length, extent))
        for extent, first, length in zip(array.shape[-len(size) :], start, size, strict=True)
    ]
    return np.ascontiguousarray(array[(..., *parts)])


def _pad(patch: NDArray[Any], shape: Sequence[int], start: Sequence[int], size: Sequence[int]) -> NDArray[Any]:
    """Pads the result of :func:`_inside`, cut from an array of trailing ``shape``, with 0 to ``size``."""
    pad = [(0, 0)] * (patch.ndim - len(size))
    pad += [
        (max(-first, 0), max(first + length - extent, 0))
        for extent, first, length in zip(shape, start, size, strict=True)
    ]
    return np.pad(patch, pad) if any(before or after for before, after in pad) else patch
