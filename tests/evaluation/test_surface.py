import numpy as np
import pytest
from examples import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from medpy.metric import binary
from scipy.spatial.distance import cdist

from harness.evaluation.surface import hd95

SPACING = st.floats(min_value=0.3, max_value=6.0)


def box(shape, *ranges):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*limits) for limits in ranges)] = True
    return mask


@st.composite
def blobs(draw, shape):
    """A union of boxes, touching the border of the image or not, somewhere in it."""
    mask = np.zeros(shape, dtype=bool)
    for _ in range(draw(st.integers(1, 3))):
        first = [draw(st.integers(0, side - 1)) for side in shape]
        last = [draw(st.integers(start, side - 1)) for start, side in zip(first, shape, strict=True)]
        mask |= box(shape, *((start, stop + 1) for start, stop in zip(first, last, strict=True)))
    return mask


@st.composite
def scenes(draw):
    """Two masks that are not empty, 2D or 3D, blobs or noise, with anisotropic spacing."""
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=14))
    noise = hnp.arrays(bool, shape).filter(np.any)
    mask = st.one_of(blobs(shape), noise)
    return draw(mask), draw(mask), tuple(draw(SPACING) for _ in shape)


one_voxel = (box((9, 9, 9), (4, 5), (4, 5), (4, 5)), box((9, 9, 9), (0, 1), (8, 9), (4, 5)), (0.5, 0.5, 3.0))
disjoint = (box((20, 12), (0, 3), (0, 12)), box((20, 12), (15, 20), (2, 9)), (0.7, 2.1))
whole_image = (box((5, 6, 7), (0, 5), (0, 6), (0, 7)), box((5, 6, 7), (1, 4), (1, 5), (1, 6)), (1.0, 2.0, 3.0))
hole = (box((11, 11), (1, 10), (1, 10)) & ~box((11, 11), (4, 6), (4, 6)), box((11, 11), (2, 11), (0, 8)), (1.0, 1.5))


@settings(max_examples=examples(100), deadline=None)
@given(scenes())
@example(one_voxel)
@example(disjoint)
@example(whole_image)
@example(hole)
def test_hd95_is_medpys_on_the_whole_image(scene):
    prediction, truth, spacing = scene
    whole = binary.hd95(prediction, truth, voxelspacing=spacing)
    assert hd95(prediction, truth, spacing) == pytest.approx(whole, abs=1e-9)


def surface_points(mask, spacing):
    """Definition by hand: foreground voxels with a background face neighbour, in mm."""
    padded = np.pad(mask, 1)
    core = (slice(1, -1),) * mask.ndim
    buried = mask.copy()
    for axis in range(mask.ndim):
        for step in (1, -1):
            buried &= np.roll(padded, step, axis)[core]
    return np.argwhere(mask & ~buried) * np.asarray(spacing)


@settings(max_examples=examples(50), deadline=None)
@given(scenes())
def test_hd95_is_the_pooled_percentile_of_both_directions(scene):
    prediction, truth, spacing = scene
    distances = cdist(surface_points(prediction, spacing), surface_points(truth, spacing))
    pooled = np.concatenate([distances.min(axis=0), distances.min(axis=1)])
    assert hd95(prediction, truth, spacing) == pytest.approx(np.percentile(pooled, 95), abs=1e-9)


@settings(max_examples=examples(50), deadline=None)
@given(scenes())
def test_hd95_is_symmetric_and_zero_for_equal_masks(scene):
    prediction, truth, spacing = scene
    assert hd95(prediction, truth, spacing) == pytest.approx(hd95(truth, prediction, spacing), abs=1e-9)
    assert hd95(truth, truth, spacing) == 0


@settings(max_examples=examples(50), deadline=None)
@given(scenes(), st.integers(1, 5))
def test_surrounding_background_changes_nothing(scene, margin):
    prediction, truth, spacing = scene
    wide = hd95(np.pad(prediction, margin), np.pad(truth, margin), spacing)
    assert wide == pytest.approx(hd95(prediction, truth, spacing), abs=1e-9)


def test_known_distance_in_mm():
    shape = (10, 10, 10)
    prediction, truth = box(shape, (2, 3), (5, 6), (5, 6)), box(shape, (6, 7), (5, 6), (5, 6))
    assert hd95(prediction, truth, (2.5, 1.0, 1.0)) == pytest.approx(10.0)


@pytest.mark.parametrize(("found", "real"), [(True, False), (False, True), (False, False)])
def test_an_empty_mask_is_left_to_the_policy(found, real):
    with pytest.raises(ValueError, match="undefined"):
        hd95(np.full((3, 3), found), np.full((3, 3), real), (1.0, 1.0))


def test_masks_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        hd95(np.ones((3, 3)), np.ones((3, 1)), (1.0, 1.0))
