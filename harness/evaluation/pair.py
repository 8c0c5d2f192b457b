"""Two masks of one region, and what the metrics of the region share, each computed once."""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.boxes import bounding_box, united
from harness.evaluation.surface_distances import REACH, distances_both_ways

_Mask = NDArray[np.bool_]


class Distances(NamedTuple):
    """Distances in mm from the surface voxels of one mask to the nearest surface voxel of the other."""

    prediction: NDArray[np.float64]
    truth: NDArray[np.float64]

    @property
    def pooled(self) -> NDArray[np.float64]:
        """Both directions together."""
        return np.concatenate([self.prediction, self.truth])


class MaskPair:
    """A predicted and a true mask on one grid.

    Only the box around both is computed on. That changes no value: all foreground lies inside the box, and what
    surrounds it is background, exactly as what surrounds an image is taken to be.

    Args:
        prediction: Mask of any number of dimensions; foreground where not zero.
        truth: Mask of the same shape.
        spacing: Voxel size in mm, one value per axis.

    Raises:
        ValueError: The shapes differ, or the spacing does not fit them.
    """

    def __init__(self, prediction: NDArray[Any], truth: NDArray[Any], spacing: Sequence[float]) -> None:
        if prediction.shape != truth.shape:
            raise ValueError(f"Metrics need masks of one shape, not {prediction.shape} and {truth.shape}.")
        if len(spacing) != truth.ndim or not all(0 < size < math.inf for size in spacing):
            raise ValueError(
                f"Masks of shape {truth.shape} need {truth.ndim} voxel sizes above 0 mm, not {tuple(spacing)}."
            )
        self.spacing = tuple(spacing)
        boxes = bounding_box(prediction), bounding_box(truth)
        self.empty = boxes[0] is None, boxes[1] is None
        box = united(*boxes) or tuple(slice(0, 0) for _ in truth.shape)
        #: Sides of the box that are sides of the image: first and last of each axis.
        self.at_edge = [(side.start == 0, side.stop == size) for side, size in zip(box, truth.shape, strict=True)]
        self._prediction, self._truth = (
            np.pad(mask[box].astype(bool, order="C"), REACH) for mask in (prediction, truth)
        )

    @property
    def prediction(self) -> _Mask:
        """The predicted mask in the box, with ``surface_distances.REACH`` voxels of background around."""
        return self._prediction

    @property
    def truth(self) -> _Mask:
        """The true mask, as :attr:`prediction`."""
        return self._truth

    @cached_property
    def predicted(self) -> int:
        """Voxels of the prediction."""
        return int(np.count_nonzero(self._prediction))

    @cached_property
    def real(self) -> int:
        """Voxels of the truth."""
        return int(np.count_nonzero(self._truth))

    @cached_property
    def shared(self) -> int:
        """Voxels of both."""
        return int(np.count_nonzero(self._prediction & self._truth))

    @cached_property
    def distances(self) -> Distances:
        """Distances between the surfaces.

        Raises:
            ValueError: A mask is empty: that is for an empty-case policy to decide.
        """
        if any(self.empty):
            raise ValueError("The distance to an empty mask is undefined.")
        there, _, back, _ = distances_both_ways(surface(self._prediction), surface(self._truth), self.spacing)
        return Distances(there, back)

    @cached_property
    def inner_distances(self) -> Distances:
        """Distances between the surfaces where the side of the image is none (what lies outside is as the side).

        A mask that fills the image has no such surface; then its side counts after all.
        """
        if not any(edge for sides in self.at_edge for edge in sides):
            return self.distances
        borders = [self._inner_surface(mask) for mask in (self._prediction, self._truth)]
        if not all(border.any() for border in borders):
            return self.distances
        there, _, back, _ = distances_both_ways(borders[0], borders[1], self.spacing)
        return Distances(there, back)

    def _inner_surface(self, mask: _Mask) -> _Mask:
        inside = mask[(slice(REACH, -REACH),) * mask.ndim]
        # Go on as at the side, one voxel beyond it; then background, which `surface` wants outermost.
        beyond = np.pad(inside, [(int(first), int(last)) for first, last in self.at_edge], mode="edge")
        found = surface(np.pad(beyond, 1))
        cut = tuple(
            slice(1 + first, size - 1 - last) for (first, last), size in zip(self.at_edge, found.shape, strict=True)
        )
        return np.pad(found[cut], REACH)


def surface(mask: _Mask) -> _Mask:
    """Returns the foreground voxels with a background face neighbour; the outermost voxels must be background."""
    inside = mask.copy()
    for axis in range(mask.ndim):
        low: list[slice] = [slice(None)] * mask.ndim
        high: list[slice] = [slice(None)] * mask.ndim
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        inside[tuple(low)] &= mask[tuple(high)]
        inside[tuple(high)] &= mask[tuple(low)]
    return mask ^ inside
