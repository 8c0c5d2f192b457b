"""Overlap of two masks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import __version__

__all__ = ["DICE_IMPLEMENTATION", "dice"]

#: What computes Dice, for the ``implementation`` column of results.
DICE_IMPLEMENTATION = f"harness {__version__} evaluation.overlap.dice"


def dice(prediction: NDArray[Any], truth: NDArray[Any]) -> float:
    """Returns the Dice similarity coefficient 2 |P ∩ T| / (|P| + |T|) (Dice 1945).

    Args:
        prediction: Mask of any shape; foreground where not zero.
        truth: Mask of the same shape.

    Returns:
        0 for disjoint masks to 1 for equal ones; 0 where only one mask is empty.

    Raises:
        ValueError: The shapes differ, or both masks are empty: 0/0 is for an empty-case policy to decide.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"Dice needs masks of one shape, not {prediction.shape} and {truth.shape}.")
    found, real = prediction.astype(bool, copy=False), truth.astype(bool, copy=False)
    total = np.count_nonzero(found) + np.count_nonzero(real)
    if total == 0:
        raise ValueError("Dice of two empty masks is undefined.")
    return float(2.0 * np.count_nonzero(found & real) / total)
