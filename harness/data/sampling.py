"""Training patches: which case, where, and by which random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.normalisation import Normaliser
from harness.data.prepare import PreparedCase

__all__ = ["draw_patch"]


def draw_patch(
    cases: Sequence[PreparedCase],
    normaliser: Normaliser,
    patch_size: tuple[int, ...],
    show_foreground: bool,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Draws one patch.

    Args:
        cases: Training cases; each is as likely as the next.
        normaliser: Applied to the patch.
        patch_size: Two numbers for slices, three for volumes.
        show_foreground: Aim at a voxel of a class drawn among those the case has (nnU-Net's oversampling).
        rng: Source of all draws.

    Returns:
        Images (M, *patch_size) and label (*patch_size). What lies outside the volume is 0.
    """
    case = cases[int(rng.integers(len(cases)))]
    centre = _aim(case, rng) if show_foreground else None
    if len(patch_size) == 2:
        index = int(rng.integers(len(case.label))) if centre is None else int(centre[0])
        images, label = case.images[:, index], case.label[index]
        centre = None if centre is None else centre[1:]
    else:
        images, label = case.images, case.label
    start = [
        _start(extent, size, None if centre is None else int(centre[axis]), rng)
        for axis, (extent, size) in enumerate(zip(label.shape, patch_size, strict=True))
    ]
    return normaliser(_cut(images, start, patch_size), case), _cut(label, start, patch_size)


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


def _cut(array: NDArray[Any], start: Sequence[int], size: Sequence[int]) -> NDArray[Any]:
    """Cuts (..., *size) at ``start`` from the trailing axes, padding with 0."""
    lead = array.ndim - len(size)
    inside, pad = [slice(None)] * lead, [(0, 0)] * lead
    for extent, first, length in zip(array.shape[lead:], start, size, strict=True):
        low, high = max(first, 0), min(first + length, extent)
        inside.append(slice(low, high))
        pad.append((low - first, first + length - high))
    cut = np.ascontiguousarray(array[tuple(inside)])
    return np.pad(cut, pad) if any(before or after for before, after in pad) else cut
