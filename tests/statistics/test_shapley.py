"""Shapley values against the definition over all orders, and what they must satisfy."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from harness.statistics.shapley import every_subset, shapley_values


def by_definition(scores: dict[frozenset[int], float], count: int) -> list[float]:
    """What each part adds when it joins, over all orders."""
    total = [0.0] * count
    orders = list(permutations(range(count)))
    for order in orders:
        for place, part in enumerate(order):
            total[part] += scores[frozenset(order[: place + 1])] - scores[frozenset(order[:place])]
    return [each / len(orders) for each in total]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_values_are_what_each_part_adds_over_all_orders(count: int) -> None:
    scores = np.random.default_rng(count).random((3, 2**count))
    subsets = [frozenset(one) for one in every_subset(range(count))]
    found = shapley_values(scores)
    for row, values in zip(scores, found, strict=True):
        assert values == pytest.approx(by_definition(dict(zip(subsets, row, strict=True)), count))
    assert found.sum(axis=1) == pytest.approx(scores[:, -1] - scores[:, 0])


def test_a_part_that_adds_nothing_is_worth_nothing_and_equal_parts_are_worth_the_same() -> None:
    subsets = every_subset("abc")
    scores = np.array([0.5 * bool({"a", "b"} & set(one)) for one in subsets])
    assert shapley_values(scores) == pytest.approx([0.25, 0.25, 0.0])


def test_another_score_of_the_empty_set_moves_all_alike() -> None:
    scores = np.random.default_rng(0).random(16)
    other = scores.copy()
    other[0] += 0.4
    assert shapley_values(other) - shapley_values(scores) == pytest.approx([-0.1] * 4)


def test_scores_of_some_subsets_are_refused() -> None:
    with pytest.raises(ValueError, match="not all subsets"):
        shapley_values(np.zeros(7))
