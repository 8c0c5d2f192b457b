"""Resampling to another voxel size by nnU-Net's own function.

Images are interpolated by cubic splines. Where voxels are more than three times as long along one axis as along
another, that axis is treated apart (nearest neighbour), as nnU-Net does for thick slices.

nnU-Net normalises before it resamples, so that what borders the body there is the body's mean and not black. The cache
keeps intensities as in the files, so the mean is taken off before and put back after: the result, normalised, is
nnU-Net's.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CUBIC, _LINEAR, _NEAREST = 3, 1, 0


def new_shape(shape: Sequence[int], old: Sequence[float], new: Sequence[float]) -> tuple[int, ...]:
    """Returns the number of voxels that cover the same extent.

    Args:
        shape: Voxels along each axis.
        old: Voxel size in mm along each axis.
        new: The size in mm after resampling.
    """
    return tuple(max(1, round(count * before / after)) for count, before, after in zip(shape, old, new, strict=True))


def resample_images(
    images: NDArray[np.float32],
    shape: tuple[int, ...],
    old: Sequence[float],
    new: Sequence[float],
    zero_is_outside: Sequence[bool],
) -> NDArray[np.float32]:
    """Resamples (M, X, Y, Z) to (M, *shape).

    Args:
        images: (M, X, Y, Z) images.
        shape: Voxels afterwards.
        old: Voxel size in mm.
        new: Voxel size in mm afterwards.
        zero_is_outside: For each modality, whether 0 means outside the body, see :func:`interpolate_inside`.
    """
    if images.shape[1:] == shape:
        return images
    made = np.empty((len(images), *shape), np.float32)
    cubic = partial(_resample, shape=shape, old=old, new=new, order=_CUBIC)
    linear = _remembered(partial(_resample, shape=shape, old=old, new=new, order=_LINEAR))
    for index, (image, masked) in enumerate(zip(images, zero_is_outside, strict=True)):
        made[index] = interpolate_inside(image, cubic, linear) if masked else cubic(image)
    return made


def interpolate_inside(
    image: NDArray[np.float32],
    interpolate: Callable[[NDArray[np.float32]], NDArray[Any]],
    interpolate_mask: Callable[[NDArray[np.float32]], NDArray[Any]],
) -> NDArray[np.float32]:
    """Interpolates an image whose 0 means outside the body.

    The outside is the body's mean meanwhile, so that no voxel at the border mixes with black, and 0 again afterwards,
    wherever less than half of a voxel is inside.

    Args:
        image: Image of any shape.
        interpolate: Interpolation of the intensities.
        interpolate_mask: Interpolation of the mask of the body.
    """
    inside = image != 0
    if inside.all():
        return interpolate(image)
    mean = image[inside].mean(dtype=np.float64).astype(np.float32) if inside.any() else np.float32(0)
    made = interpolate(np.where(inside, image - mean, np.float32(0)))
    kept = interpolate_mask(inside.astype(np.float32)) >= 0.5
    return np.where(kept, made + mean, np.float32(0))


def _remembered(function: Callable[[NDArray[np.float32]], NDArray[Any]]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Returns the function, which gives its last result again for an equal mask: modalities mostly share theirs."""
    last: list[NDArray[Any]] = []

    def remembered(mask: NDArray[Any]) -> NDArray[Any]:
        if not last or not np.array_equal(mask, last[0]):
            last[:] = mask, function(mask)
        return last[1]

    return remembered


def resample_label(
    label: NDArray[np.uint8], shape: tuple[int, ...], old: Sequence[float], new: Sequence[float], classes: int
) -> NDArray[np.uint8]:
    """Resamples a label map (X, Y, Z) to ``shape``: each class linearly, then the strongest wins."""
    if label.shape == shape:
        return label
    best = np.zeros(shape, np.float32)
    winner = np.zeros(shape, np.uint8)
    for value in range(classes):
        mask = label == value
        if not mask.any():
            continue
        share = _resample(mask.astype(np.float32), shape, old, new, _LINEAR)
        better = share > best
        best[better] = share[better]
        winner[better] = value
    return winner


def _resample(
    volume: NDArray[np.float32], shape: tuple[int, ...], old: Sequence[float], new: Sequence[float], order: int
) -> NDArray[Any]:
    # Imported here: it takes seconds and most datasets need no resampling.
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

    resampled: NDArray[Any] = resample_data_or_seg_to_shape(
        volume[None], shape, old, new, is_seg=False, order=order, order_z=_NEAREST, force_separate_z=None
    )
    first: NDArray[Any] = resampled[0]
    return first
