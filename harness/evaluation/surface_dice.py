"""Distances between surfaces made of surface elements with an area, as DeepMind's ``surface-distance`` defines them.

A surface element sits between 2 x 2 x 2 voxels (2 x 2 in a plane) that are neither all foreground nor all background;
its area (length) follows from which of them are, and is read from that package's table (Nikolov et al. 2018,
arXiv:1809.04430). Distances and sums are computed here.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from surface_distance import lookup_tables

from harness.evaluation.pair import MaskPair
from harness.evaluation.surface_distances import distances_both_ways

#: Share of a tolerance by which a distance may exceed it and still equal it: five voxels of .2 mm are
#: 1.0000000000000002 mm, and headers hold voxel sizes in single precision.
_ROUNDING = 1e-6


class Surfels(NamedTuple):
    """Surface elements of one mask: distance in mm to the nearest of the other mask, and area in mm² (length in mm)."""

    distances: NDArray[np.float64]
    areas: NDArray[np.float64]


def surfels(pair: MaskPair) -> tuple[Surfels, Surfels]:
    """Returns the surface elements of prediction and truth; neither mask may be empty."""
    codes = _codes(pair.prediction), _codes(pair.truth)
    full = 2 ** (2**pair.truth.ndim) - 1
    borders = [(code != 0) & (code != full) for code in codes]
    there, at, back, back_at = distances_both_ways(borders[0], borders[1], pair.spacing)
    areas = _areas(pair.spacing)
    return Surfels(there, areas[codes[0].ravel()[at]]), Surfels(back, areas[codes[1].ravel()[back_at]])


def nsd_of(pair: MaskPair, tolerance: float = 1.0) -> float:
    """Returns the normalised surface Dice: the share of both surfaces, by area, within a tolerance of the other one.

    Args:
        pair: Neither mask may be empty.
        tolerance: In mm; a distance equal to it is within it, whatever the rounding.
    """
    both = surfels(pair)
    most = tolerance * (1 + _ROUNDING)
    near = sum(float(side.areas[side.distances <= most].sum()) for side in both)
    return near / sum(float(side.areas.sum()) for side in both)


def robust_hausdorff(pair: MaskPair, percent: float = 95.0) -> float:
    """Returns the larger of the two directed percentiles of the distance in mm, surface elements weighted by area."""
    return max(_percentile(side, percent) for side in surfels(pair))


def _percentile(side: Surfels, percent: float) -> float:
    order = np.lexsort((side.areas, side.distances))
    share = np.cumsum(side.areas[order]) / side.areas.sum()
    place = int(np.searchsorted(share, percent / 100))
    return float(side.distances[order][min(place, len(order) - 1)])


def _codes(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Which of the voxels at and before each place are foreground, as bits, by the package's own numbering."""
    kernel = np.asarray(
        lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL if mask.ndim == 3 else lookup_tables.ENCODE_NEIGHBOURHOOD_2D_KERNEL
    )
    codes = np.zeros(mask.shape, dtype=np.uint8)
    bits = mask.view(np.uint8)
    for corner in np.ndindex(kernel.shape):
        to = tuple(slice(1, None) if not at else slice(None) for at in corner)
        of = tuple(slice(None, -1) if not at else slice(None) for at in corner)
        codes[to] |= bits[of] * np.uint8(kernel[corner])
    # A surface element may lie one voxel beyond the mask; the search wants the same margin around it.
    return np.pad(codes, 1)


@lru_cache(maxsize=64)
def _areas(spacing: tuple[float, ...]) -> NDArray[np.float64]:
    table = (
        lookup_tables.create_table_neighbour_code_to_surface_area
        if len(spacing) == 3
        else lookup_tables.create_table_neighbour_code_to_contour_length
    )
    return np.asarray(table(spacing), dtype=np.float64)
