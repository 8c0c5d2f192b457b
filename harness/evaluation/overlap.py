"""Overlap and volume of two masks."""

from typing import Any

from numpy.typing import NDArray

from harness.evaluation.pair import MaskPair


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
    return dice_of(MaskPair(prediction, truth, (1.0,) * truth.ndim))


def dice_of(pair: MaskPair) -> float:
    """Returns :func:`dice` of a pair."""
    if all(pair.empty):
        raise ValueError("Dice of two empty masks is undefined.")
    return 2.0 * pair.shared / (pair.predicted + pair.real)


def sensitivity_of(pair: MaskPair) -> float:
    """Returns |P ∩ T| / |T|, the part of the truth that was found; the truth may not be empty."""
    return pair.shared / pair.real


def precision_of(pair: MaskPair) -> float:
    """Returns |P ∩ T| / |P|, the part of the prediction that is right; the prediction may not be empty."""
    return pair.shared / pair.predicted


def ravd_of(pair: MaskPair) -> float:
    """Returns the relative absolute volume difference | |P| - |T| | / |T|, a ratio; the truth may not be empty."""
    return abs(pair.predicted - pair.real) / pair.real
