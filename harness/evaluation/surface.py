"""Distance between the surfaces of two masks."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from medpy.metric import binary
from numpy.typing import NDArray

__all__ = ["HD95_IMPLEMENTATION", "hd95"]

#: What computes HD95, for the ``implementation`` column of results.
HD95_IMPLEMENTATION = f"medpy {version('medpy')} metric.binary.hd95, cropped"


def hd95(prediction: NDArray[Any], truth: NDArray[Any], spacing: Sequence[float]) -> float:
    """Returns medpy's 95th percentile Hausdorff distance.

    The distances from every surface voxel of one mask to the nearest surface voxel of the other are pooled over both
    directions, and their 95th percentile is taken. (Other tools take the larger of two directed percentiles, which can
    differ tenfold.) A surface voxel is a foreground voxel with a background face neighbour; outside the image is
    background.

    Only the box around both masks is computed on. That changes no value: all surface voxels lie inside the box, and
    what surrounds it is background, exactly as medpy treats what surrounds an image.

    Args:
        prediction: Mask of any number of dimensions; foreground where not zero.
        truth: Mask of the same shape.
        spacing: Voxel size in mm, one value an axis.

    Returns:
        The distance in mm.

    Raises:
        ValueError: The shapes differ, or a mask is empty: that is for an empty-case policy to decide.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"HD95 needs masks of one shape, not {prediction.shape} and {truth.shape}.")
    found, real = prediction.astype(bool, copy=False), truth.astype(bool, copy=False)
    if not (found.any() and real.any()):
        raise ValueError("HD95 with an empty mask is undefined.")
    box = _bounding_box(found | real)
    return float(binary.hd95(found[box], real[box], voxelspacing=tuple(spacing)))


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Returns the smallest box that holds the foreground of a mask that has any."""
    axes = range(mask.ndim)
    profiles = (np.flatnonzero(mask.any(axis=tuple(other for other in axes if other != axis))) for axis in axes)
    return tuple(slice(int(profile[0]), int(profile[-1]) + 1) for profile in profiles)
