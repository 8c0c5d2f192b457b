"""What each of several parts is worth, from the score of every subset of them: Shapley values.

A part is worth what it adds to the subsets that lack it, averaged over all orders in which the parts may be put
together. Values are linear in the scores: those of a mean over patients are the mean of the patients' own, so patients
are resampled by the values of each.

Source: Shapley (1953), A value for n-person games.
"""

from collections.abc import Hashable, Sequence
from itertools import combinations
from math import factorial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Part = TypeVar("Part", bound=Hashable)


def every_subset(parts: Sequence[Part]) -> list[tuple[Part, ...]]:
    """Returns all subsets, the empty one first, then by size; parts in their own order."""
    return [one for size in range(len(parts) + 1) for one in combinations(parts, size)]


def shapley_values(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the value of each part; together they are the score of all parts minus that of none.

    Args:
        scores: ... x subsets, in the order of :func:`every_subset`; higher is better.

    Returns:
        ... x parts, in the unit of the scores.

    Raises:
        ValueError: The number of subsets is no power of two.
    """
    count = scores.shape[-1].bit_length() - 1
    if scores.shape[-1] != 2**count:
        raise ValueError(f"{scores.shape[-1]} subsets are not all subsets of any number of parts")
    return np.asarray(scores @ _weights(count).T)


def _weights(count: int) -> NDArray[np.float64]:
    """Parts x subsets: how much of a subset's score counts for, or against, each part."""
    subsets = every_subset(range(count))
    weights = np.zeros((count, len(subsets)))
    for column, subset in enumerate(subsets):
        size = len(subset)
        for part in range(count):
            # Orders in which the others of this subset come before the part, and the rest after it.
            before = size - 1 if part in subset else size
            orders = factorial(before) * factorial(count - 1 - before) / factorial(count)
            weights[part, column] = orders if part in subset else -orders
    return weights
