"""Distance between the surfaces of two masks.

A surface voxel is a foreground voxel with a background face neighbour; outside the image is background.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.evaluation.pair import MaskPair


def hd95(prediction: NDArray[Any], truth: NDArray[Any], spacing: Sequence[float]) -> float:
    """Returns medpy's 95th percentile Hausdorff distance.

    The distances from every surface voxel of one mask to the nearest surface voxel of the other are pooled over both
    directions, and their 95th percentile is taken. (Other tools take the larger of two directed percentiles, which can
    differ tenfold.)

    Args:
        prediction: Mask of any number of dimensions; foreground where not zero.
        truth: Mask of the same shape.
        spacing: Voxel size in mm, one value per axis.

    Returns:
        The distance in mm.

    Raises:
        ValueError: The shapes differ, the spacing does not fit them, or a mask is empty: that is for an empty-case
            policy to decide.
    """
    return hd95_of(MaskPair(prediction, truth, spacing))


def hd95_of(pair: MaskPair) -> float:
    """Returns :func:`hd95` of a pair."""
    return float(np.percentile(pair.distances.pooled, 95))


def hd_of(pair: MaskPair) -> float:
    """Returns the Hausdorff distance in mm: the largest distance of both directions."""
    return float(max(side.max() for side in pair.distances))


def assd_of(pair: MaskPair) -> float:
    """Returns medpy's average symmetric surface distance in mm: the mean of the distances of both directions."""
    return float(pair.distances.pooled.mean())
