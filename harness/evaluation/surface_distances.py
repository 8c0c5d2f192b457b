"""Distances from the points of one mask to the nearest point of another, exact and fast.

Most surface points of a segmentation lie within a few voxels of the true surface. So the neighbourhood of every point
is looked up first, voxel by voxel in the order of distance, all points at once; a tree is built only for those that
found nothing near. Points of both masks are at distance zero and are never searched for.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

#: Voxels along each axis that are looked up around a point; masks carry as many voxels of background around them.
REACH = 3

_Mask = NDArray[np.bool_]
_Distances = NDArray[np.float64]
_Flat = NDArray[np.intp]


def distances_both_ways(
    first: _Mask, second: _Mask, spacing: Sequence[float]
) -> tuple[_Distances, _Flat, _Distances, _Flat]:
    """Returns the distance of every point of each mask to the nearest point of the other.

    Args:
        first: Points, C-contiguous, with :data:`REACH` voxels of background on every side; at least one point.
        second: Points on the same grid; at least one.
        spacing: Voxel size in mm, one value per axis.

    Returns:
        Distances in mm of the points of the first mask and their flat indices in raster order, then of the second.
    """
    one, two = first.ravel(), second.ravel()
    places = np.flatnonzero(one), np.flatnonzero(two)
    sizes = np.asarray(spacing, dtype=np.float64)
    there = _distances(places[0], two, places[1], first.shape, sizes)
    back = _distances(places[1], one, places[0], first.shape, sizes)
    return there, places[0], back, places[1]


def _distances(points: _Flat, target: _Mask, targets: _Flat, shape: tuple[int, ...], sizes: _Distances) -> _Distances:
    found = np.zeros(len(points))
    open_ = np.flatnonzero(~target[points])
    places = points[open_]
    steps, lengths = _neighbourhood(tuple(sizes.tolist()))
    strides = np.cumprod((1, *shape[:0:-1]))[::-1]
    for step, length in zip((steps @ strides).tolist(), lengths.tolist(), strict=True):
        if len(open_) == 0:
            return found
        hit = target[places + step]
        if hit.any():
            found[open_[hit]] = length
            open_, places = open_[~hit], places[~hit]
    if len(open_):
        # An unbalanced tree is built faster than it could pay back in the one query it is for.
        tree = cKDTree(_millimetres(targets, shape, sizes), balanced_tree=False, compact_nodes=False)
        found[open_] = tree.query(_millimetres(places, shape, sizes))[0]
    return found


def _millimetres(places: _Flat, shape: tuple[int, ...], sizes: _Distances) -> _Distances:
    return np.stack(np.unravel_index(places, shape), axis=1) * sizes


@lru_cache(maxsize=64)
def _neighbourhood(sizes: tuple[float, ...]) -> tuple[NDArray[np.intp], _Distances]:
    """Steps to the voxels around one and their lengths in mm, nearest first.

    Only steps shorter than any that leaves the cube are listed, so that the first hit is the nearest of all points.
    """
    axis = np.arange(-REACH, REACH + 1)
    steps = np.stack(np.meshgrid(*[axis] * len(sizes), indexing="ij"), axis=-1).reshape(-1, len(sizes))
    lengths = np.sqrt(((steps * np.asarray(sizes)) ** 2).sum(axis=1))
    kept = (lengths > 0) & (lengths < (REACH + 1) * min(sizes))
    order = np.argsort(lengths[kept], kind="stable")
    return steps[kept][order], lengths[kept][order]
