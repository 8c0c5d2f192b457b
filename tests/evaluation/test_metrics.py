"""The other metrics against medpy, DeepMind's surface-distance and worked values; the presets for empty regions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import surface_distance
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from medpy.metric import binary
from scipy import ndimage
from scipy.spatial.distance import cdist

from harness.boxes import bounding_box
from harness.errors import HarnessError
from harness.evaluation import METRICS, Metric
from harness.evaluation.chaos import assd_score, dice_score, mean_score, mssd_score, ravd_score
from harness.evaluation.overlap import precision_of, ravd_of, sensitivity_of
from harness.evaluation.pair import MaskPair
from harness.evaluation.policy import POLICIES
from harness.evaluation.region import CaseMasks, Region
from harness.evaluation.scoring import score_case
from harness.evaluation.surface import assd_of, hd95, hd_of
from harness.evaluation.surface_dice import nsd_of, robust_hausdorff

PLAIN = tuple(name for name in METRICS.names() if not name.startswith("lesion"))


@st.composite
def pairs(draw, dims=(2, 3)):
    """Two masks that are not empty, noise or a blob, with anisotropic spacing."""
    shape = draw(hnp.array_shapes(min_dims=dims[0], max_dims=dims[1], min_side=1, max_side=11))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    masks = []
    for _ in range(2):
        mask = random.random(shape) < draw(st.sampled_from([0.02, 0.3, 0.9]))
        if draw(st.booleans()):
            mask = ndimage.binary_closing(ndimage.binary_dilation(mask))
        mask.flat[random.integers(mask.size)] = True
        masks.append(mask)
    return masks[0], masks[1], tuple(draw(st.floats(0.3, 6)) for _ in shape)


@settings(max_examples=examples(150), deadline=None)
@given(pairs())
def test_overlap_volume_and_surface_metrics_are_medpys(scene):
    found, real, spacing = scene
    pair = MaskPair(found, real, spacing)
    assert sensitivity_of(pair) == pytest.approx(binary.sensitivity(found, real), abs=1e-12)
    assert precision_of(pair) == pytest.approx(binary.precision(found, real), abs=1e-12)
    assert ravd_of(pair) == pytest.approx(abs(binary.ravd(found, real)), abs=1e-12)
    assert hd_of(pair) == pytest.approx(binary.hd(found, real, voxelspacing=spacing), abs=1e-9)
    assert assd_of(pair) == pytest.approx(binary.assd(found, real, voxelspacing=spacing), abs=1e-9)


@settings(max_examples=examples(150), deadline=None)
@given(pairs(), st.floats(0.1, 8))
def test_surface_elements_are_those_of_deepminds_package(scene, tolerance):
    found, real, spacing = scene
    pair = MaskPair(found, real, spacing)
    theirs = surface_distance.compute_surface_distances(real, found, spacing)
    if (
        np.abs(np.concatenate([theirs["distances_gt_to_pred"], theirs["distances_pred_to_gt"]]) - tolerance).min()
        > 2e-6 * tolerance
    ):
        expected = surface_distance.compute_surface_dice_at_tolerance(theirs, tolerance)
        assert nsd_of(pair, tolerance) == pytest.approx(expected, abs=1e-9)
    assert robust_hausdorff(pair) == pytest.approx(surface_distance.compute_robust_hausdorff(theirs, 95), abs=1e-9)


def test_tolerance_and_policy_stand_in_name_title_and_implementation():
    nsd = METRICS.get("nsd_0.5mm_brats")
    assert (nsd.name, nsd.title, nsd.tolerance_mm) == ("nsd_0.5mm_brats", "NSD at 0.5 mm, empty: brats", 0.5)
    assert "tolerance 0.5 mm" in nsd.implementation
    assert METRICS.get("nsd").title == "NSD at 1 mm"
    assert "tolerance 1 mm" in METRICS.get("nsd").implementation
    assert METRICS.get("hd95_nan_skip").heading == "HD95, empty: nan_skip (mm)"


@pytest.mark.parametrize(
    "name", ["dice_1mm", "lesion_dice_2023_brats", "nsd_1e3mm", "nsd_mm", "nsd_brats_1mm", "nsd_-1mm"]
)
def test_a_variant_that_cannot_be_is_refused(name):
    with pytest.raises(HarnessError):
        METRICS.get(name)


def test_variants_are_scored_beside_each_other():
    real = np.zeros((20, 8, 8), np.uint8)
    real[4:10, 2:6, 2:6] = 1
    found, names = np.roll(real, 2, axis=0), ("nsd", "nsd_1mm", "nsd_2mm", "hd95", "hd95_brats")
    scores = {one.metric: one for one in score_case(found, real, {"x": (1,)}, (1, 1, 1), POLICIES["worst"], names)}
    pair = MaskPair(found, real, (1, 1, 1))
    assert scores["nsd"].value == scores["nsd_1mm"].value == nsd_of(pair)
    assert scores["nsd_2mm"].value == nsd_of(pair, 2.0) == 1.0
    assert scores["hd95"].value == scores["hd95_brats"].value
    empty = score_case(np.zeros_like(real), real, {"x": (1,)}, (1, 1, 1), POLICIES["worst"], names)
    values = {one.metric: (one.value, one.implementation[-5:]) for one in empty}
    assert values["hd95_brats"] == (373.12866, "brats")
    assert values["hd95"] == (pytest.approx(math.hypot(20, 8, 8)), "worst")


def _raises(pair):
    raise ZeroDivisionError("no voxel")


def _is_nan(pair):
    return math.nan


@pytest.mark.parametrize(("function", "said"), [(_raises, "ZeroDivisionError: no voxel"), (_is_nan, "gave nan")])
def test_a_metric_that_fails_is_named(function, said):
    metric = Metric("theirs", "Theirs", f"{__name__}:{function.__name__}", "theirs 1")
    metric.__dict__["function"] = function
    region = Region("x", CaseMasks(block(), block(), {"x": (1,)}, SPACING))
    with pytest.raises(HarnessError, match=rf"'theirs'.*{said}"):
        metric.value(region)


def chaos_by_hand(found, real, spacing):
    """Scores after the official code: the image goes on beyond its sides, distances of both directions are pooled."""
    points = []
    for mask in (found, real):
        border = mask ^ ndimage.binary_erosion(mask, ndimage.generate_binary_structure(mask.ndim, 1), border_value=1)
        points.append(np.argwhere(border) * np.asarray(spacing))
    distances = cdist(*points)
    pooled = np.concatenate([distances.min(axis=0), distances.min(axis=1)])
    dice = 2 * (found & real).sum() / (found.sum() + real.sum())
    volume = 100 * abs(int(found.sum()) - int(real.sum())) / real.sum()
    return (
        100 * dice if dice >= 0.8 else 0,
        100 - 20 * volume if volume <= 5 else 0,
        100 - 20 / 3 * pooled.mean() if pooled.mean() <= 15 else 0,
        100 - 5 / 3 * pooled.max() if pooled.max() <= 60 else 0,
    )


@settings(max_examples=examples(100), deadline=None)
@given(pairs(dims=(3, 3)))
def test_chaos_scores_are_those_of_the_official_rules(scene):
    found, real, spacing = scene
    if found.all() or real.all():  # no surface by these rules
        return
    pair = MaskPair(found, real, spacing)
    expected = chaos_by_hand(found, real, spacing)
    mine = dice_score(pair), ravd_score(pair), assd_score(pair), mssd_score(pair)
    assert mine == pytest.approx(expected, abs=1e-9)
    assert mean_score(pair) == pytest.approx(np.mean(expected), abs=1e-9)


def test_chaos_thresholds_worked_by_hand():
    real = np.zeros((50, 20, 20), bool)
    real[10:20, 5:15, 5:15] = True
    longer = np.zeros_like(real)
    longer[10:21, 5:15, 5:15] = True  # 1100 voxels against 1000: 10 % more, Dice 2000 / 2100
    pair = MaskPair(longer, real, (1.0, 1.0, 1.0))
    assert dice_score(pair) == pytest.approx(100 * 2000 / 2100)
    assert ravd_score(pair) == 0
    assert mssd_score(pair) == pytest.approx(100 - 5 / 3)
    far = np.roll(real, 25, axis=0)
    pair = MaskPair(far, real, (3.0, 1.0, 1.0))
    assert (dice_score(pair), ravd_score(pair), mssd_score(pair)) == (0, 100, 0)


SHAPE, SPACING = (6, 8, 7), (1.0, 0.5, 3.0)
DIAGONAL = math.hypot(6, 4, 21)


def by_metric(prediction, truth, policy):
    found = score_case(prediction, truth, {"WT": (1,)}, SPACING, POLICIES[policy], PLAIN)
    return {score.metric: (score.value, score.status) for score in found}


def block():
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:4, 2:6, 2:5] = 1
    return labels


def test_one_empty_mask_is_the_worst_overlap_and_the_diagonal():
    for prediction, truth in ((np.zeros(SHAPE, np.uint8), block()), (block(), np.zeros(SHAPE, np.uint8))):
        values = by_metric(prediction, truth, "worst")
        assert {status for _, status in values.values()} == {"empty_one"}
        for name in ("dice", "nsd", "sensitivity", "precision", "chaos_score", "chaos_mssd"):
            assert values[name][0] == 0
        for name in ("hd", "hd95", "hd95_medpy", "assd"):
            assert values[name][0] == pytest.approx(DIAGONAL)
        assert values["ravd"][0] == (1 if truth.any() else 6 * 8 * 7)


def test_two_empty_masks_are_right():
    empty = np.zeros(SHAPE, np.uint8)
    for name, (value, status) in by_metric(empty, empty, "worst").items():
        best = (100 if name.startswith("chaos") else 1) if METRICS.get(name).higher_is_better else 0
        assert (value, status) == (best, "empty_both")


def test_nan_skip_leaves_out_what_cannot_be_computed_but_keeps_a_value():
    empty = np.zeros(SHAPE, np.uint8)
    both, strict = by_metric(empty, empty, "nan_skip"), by_metric(empty, empty, "worst")
    assert {status for _, status in both.values()} == {"skipped"}
    assert {name: value for name, (value, _) in both.items()} == {name: value for name, (value, _) in strict.items()}
    lost = by_metric(empty, block(), "nan_skip")
    assert {name for name, (_, status) in lost.items() if status == "skipped"} == {"hd", "hd95", "hd95_medpy", "assd"}
    invented = by_metric(block(), empty, "nan_skip")
    assert {name for name, (_, status) in invented.items() if status == "skipped"} == {
        "hd",
        "hd95",
        "hd95_medpy",
        "assd",
        "ravd",
    }
    assert {status for _, status in by_metric(None, block(), "nan_skip").values()} == {"missing"}


@settings(max_examples=examples(60), deadline=None)
@given(hnp.arrays(np.uint8, SHAPE, elements=st.integers(0, 1)), hnp.arrays(np.uint8, SHAPE, elements=st.integers(0, 1)))
def test_a_missing_prediction_is_worst_by_every_metric(prediction, truth):
    for policy in POLICIES:
        present, missing = by_metric(prediction, truth, policy), by_metric(None, truth, policy)
        for name, (value, status) in missing.items():
            assert status == "missing"
            assert math.isfinite(value)
            other = present[name][0]
            assert value <= other if METRICS.get(name).higher_is_better else value >= other, name


@settings(max_examples=examples(40), deadline=None)
@given(hnp.arrays(np.uint8, SHAPE, elements=st.integers(0, 1)), st.permutations(range(3)))
def test_memory_order_and_orientation_change_nothing(prediction, order):
    truth = block()
    plain = score_case(prediction, truth, {"WT": (1,)}, SPACING, POLICIES["worst"], PLAIN)
    fortran = score_case(
        np.asfortranarray(prediction), np.asfortranarray(truth), {"WT": (1,)}, SPACING, POLICIES["worst"], PLAIN
    )
    assert plain == fortran
    turned = score_case(
        prediction.transpose(order),
        truth.transpose(order),
        {"WT": (1,)},
        [SPACING[axis] for axis in order],
        POLICIES["worst"],
        PLAIN,
    )
    for one, other in zip(plain, turned, strict=True):
        assert one.value == pytest.approx(other.value, abs=1e-9), one.metric


@settings(max_examples=examples(60), deadline=None)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, max_side=5), elements=st.integers(0, 1)))
def test_the_bounding_box_is_the_smallest(mask):
    for array in (mask, np.asfortranarray(mask), mask.astype(bool)):
        box = bounding_box(array)
        if not mask.any():
            assert box is None
        else:
            places = np.argwhere(mask)
            assert box == tuple(
                slice(low, high + 1) for low, high in zip(places.min(axis=0), places.max(axis=0), strict=True)
            )


@settings(max_examples=examples(60), deadline=None)
@given(pairs(dims=(3, 3)))
def test_medpys_own_hd95_stands_beside_ours(scene):
    found, real, spacing = scene
    scores = score_case(
        found.astype(np.uint8), real.astype(np.uint8), {"WT": (1,)}, spacing, POLICIES["worst"], ("hd95", "hd95_medpy")
    )
    assert scores[1].value == pytest.approx(binary.hd95(found, real, voxelspacing=spacing), abs=1e-12)
    assert scores[0].value == pytest.approx(scores[1].value, abs=1e-9)
    assert scores[1].implementation.startswith("medpy ")


def test_a_distance_equal_to_the_tolerance_is_within_it():
    """Five voxels of .2 mm are 1.0000000000000002 mm; headers in single precision give 1.0000000149 mm."""
    real = np.zeros((20, 8, 8), bool)
    real[4:10, 2:6, 2:6] = True
    for size in (0.2, float(np.float32(0.2)), 0.2 + 1e-9):
        pair = MaskPair(np.roll(real, 5, axis=0), real, (size, 1, 1))
        assert nsd_of(pair) == 1.0
    assert nsd_of(MaskPair(np.roll(real, 5, axis=0), real, (0.2001, 1, 1))) < 1


@pytest.mark.parametrize(("count", "size"), [(3, 0.1), (6, 0.1), (7, 0.1), (3, 0.7), (9, 0.3)])
def test_equal_is_equal_for_every_tolerance(count, size):
    real = np.zeros((3 * count, 5, 5), bool)
    real[count // 2 : count // 2 + count, 1:4, 1:4] = True
    pair = MaskPair(np.roll(real, count, axis=0), real, (size, 9, 9))
    assert nsd_of(pair, float(f"{count * size:.6g}")) == 1.0


@pytest.mark.parametrize("spacing", [(1, 1, 1), (1,), (1, 0), (1, -2), (1, math.nan), (1, math.inf)])
def test_a_spacing_that_does_not_fit_is_refused_in_words(spacing):
    mask = np.ones((4, 5), bool)
    with pytest.raises(ValueError, match="2 voxel sizes above 0 mm"):
        hd95(mask, mask, spacing)
