"""The part of a volume that holds anything: everything around it is background and changes no metric."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, ...]


def bounding_box(mask: NDArray[Any]) -> Box | None:
    """Returns the smallest box that holds all that is not zero; ``None`` where nothing is.

    Args:
        mask: Of any number of dimensions; fastest where it lies in memory in C or Fortran order.
    """
    if mask.flags.f_contiguous and not mask.flags.c_contiguous:
        turned = bounding_box(mask.T)
        return None if turned is None else turned[::-1]
    if mask.dtype != np.bool_:
        mask = mask != 0
    box: list[slice] = []
    # Each axis is searched inside what the axes before it left over.
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        held = np.flatnonzero(mask.reshape(len(mask), -1).any(axis=1) if axis == 0 else mask.any(axis=others))
        if len(held) == 0:
            return None
        box.append(slice(int(held[0]), int(held[-1]) + 1))
        if axis == 0:
            mask = mask[box[0]]
    return tuple(box)


def united(first: Box | None, second: Box | None) -> Box | None:
    """Returns the smallest box around two."""
    if first is None or second is None:
        return first or second
    return tuple(
        slice(min(one.start, two.start), max(one.stop, two.stop)) for one, two in zip(first, second, strict=True)
    )


def grown(box: Box, by: int, shape: tuple[int, ...]) -> Box:
    """Returns the box with a margin, inside the image."""
    return tuple(
        slice(max(0, side.start - by), min(size, side.stop + by)) for side, size in zip(box, shape, strict=True)
    )
