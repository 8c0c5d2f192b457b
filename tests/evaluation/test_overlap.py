import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.evaluation.overlap import dice

shapes = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6)
pairs = shapes.flatmap(lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))).filter(
    lambda pair: bool(pair[0].any() or pair[1].any())
)


def voxels(mask):
    return set(zip(*(axis.tolist() for axis in np.nonzero(mask)), strict=True))


@given(pairs)
def test_dice_is_its_set_definition(pair):
    found, real = voxels(pair[0]), voxels(pair[1])
    assert dice(*pair) == pytest.approx(2 * len(found & real) / (len(found) + len(real)), abs=1e-15)


@given(pairs)
def test_dice_is_symmetric_and_bounded(pair):
    value = dice(*pair)
    assert value == dice(pair[1], pair[0])
    assert 0 <= value <= 1
    assert (value == 1) == np.array_equal(*pair)
    assert (value == 0) == (not (pair[0] & pair[1]).any())


@given(pairs)
def test_any_nonzero_value_is_foreground(pair):
    assert dice(pair[0] * np.uint8(7), pair[1] * np.int16(-3)) == dice(*pair)


def test_dice_of_two_empty_masks_is_left_to_the_policy():
    empty = np.zeros((3, 3), dtype=bool)
    with pytest.raises(ValueError, match="undefined"):
        dice(empty, empty)


def test_dice_refuses_masks_that_would_broadcast():
    with pytest.raises(ValueError, match="one shape"):
        dice(np.ones((3, 3), dtype=bool), np.ones((1, 3), dtype=bool))
