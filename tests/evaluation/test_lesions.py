"""Every lesion-wise rule by a hand-built case, and all of them against a plain implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_lesions import lesion_wise
from scipy.ndimage import binary_dilation, generate_binary_structure

from harness.evaluation.lesions import dilate
from harness.evaluation.policy import POLICIES
from harness.evaluation.scoring import score_case

ALL = {"WT": (1, 2, 3), "TC": (1, 3), "NETC": (1,), "SNFH": (2,), "ET": (3,), "RC": (4,)}
UNIT = (1.0, 1.0, 1.0)


def volume(*boxes, shape=(60, 20, 20)):
    """Label map of boxes (first x, length, label[, y]): ``length`` x 4 x 4 voxels."""
    labels = np.zeros(shape, np.uint8)
    for start, length, label, *rest in boxes:
        y = rest[0] if rest else 8
        labels[start : start + length, y : y + 4, 8:12] = label
    return labels


def all_scores(prediction, truth, year, spacing=UNIT, policy="worst"):
    names = [f"lesion_dice_{year}", f"lesion_hd95_{year}"]
    found = score_case(prediction, truth, ALL, spacing, POLICIES[policy], names)
    return {region: tuple(score.value for score in found if score.region == region) for region in ALL}


def scores(prediction, truth, year, region="WT", spacing=UNIT, policy="worst"):
    return all_scores(prediction, truth, year, spacing, policy)[region]


@pytest.mark.parametrize("year", [2023, 2024])
def test_equal_masks_score_best_and_nothing_at_all_too(year):
    truth = volume((5, 6, 2))
    assert scores(truth, truth, year) == (1, 0)
    assert scores(np.zeros_like(truth), np.zeros_like(truth), year) == (1, 0)


@pytest.mark.parametrize(("year", "penalty"), [(2023, 374), (2024, 337)])
def test_a_missed_lesion_scores_nothing_and_the_penalty(year, penalty):
    truth = volume((5, 6, 2), (30, 6, 2))
    assert scores(volume((5, 6, 2)), truth, year) == (0.5, penalty / 2)
    assert scores(np.zeros_like(truth), truth, year) == (0, penalty)


@pytest.mark.parametrize(("year", "penalty"), [(2023, 374), (2024, 337)])
def test_a_false_lesion_counts_like_a_missed_one(year, penalty):
    truth, false = volume((5, 6, 2)), volume((5, 6, 2), (30, 6, 2), (50, 6, 2))
    assert scores(false, truth, year) == (pytest.approx(1 / 3), pytest.approx(2 * penalty / 3))
    assert scores(volume((30, 6, 2)), np.zeros_like(truth), year) == (0, penalty)


@pytest.mark.parametrize(("gap", "lesions"), [(6, 1), (7, 2)])
def test_true_components_whose_dilations_by_three_touch_are_one_lesion(gap, lesions):
    """Both grow by 3: over a gap of 6 their dilations are neighbours; over 7 one voxel of background is between."""
    truth = volume((5, 6, 2), (11 + gap, 6, 2))
    dice, _ = scores(volume((5, 6, 2)), truth, 2023)
    # One lesion of 192 voxels, half of it found; or one found and one missed.
    assert dice == pytest.approx(2 * 96 / (96 + 192) if lesions == 1 else 0.5)


@pytest.mark.parametrize(("gap", "lesions"), [(10, 1), (11, 2)])
def test_necrotic_core_and_resection_cavity_grow_by_five_in_2024(gap, lesions):
    for region, label in (("NETC", 1), ("RC", 4)):
        truth = volume((5, 6, label), (11 + gap, 6, label))
        dice, _ = scores(volume((5, 6, label)), truth, 2024, region)
        assert dice == pytest.approx(2 * 96 / (96 + 192) if lesions == 1 else 0.5)


@pytest.mark.parametrize("gap", [8, 9, 10])
def test_oedema_grows_by_three_in_2024(gap):
    """The official code means five for SNFH and misspells its name."""
    assert scores(volume((5, 6, 2)), volume((5, 6, 2), (11 + gap, 6, 2)), 2024, "SNFH")[0] == 0.5


@pytest.mark.parametrize(
    ("length", "year", "region", "label", "counted"),
    [
        (3, 2023, "WT", 2, False),
        (4, 2023, "WT", 2, True),
        (1, 2024, "SNFH", 2, False),
        (2, 2024, "SNFH", 2, True),
        (1, 2024, "ET", 3, True),
    ],
)
def test_lesions_up_to_the_size_limit_do_not_count(length, year, region, label, counted):
    """Slabs of 16 voxels: 48 against 50 in 2023; 16 and 32 against 20 in 2024, against 10 for ET."""
    truth, missed = volume((5, 6, label), (30, length, label)), volume((5, 6, label))
    assert scores(missed, truth, year, region)[0] == (0.5 if counted else 1.0)


def test_the_size_limit_of_true_lesions_is_in_cubic_millimetres():
    truth, missed = volume((5, 6, 2), (30, 3, 2)), volume((5, 6, 2))
    assert scores(missed, truth, 2023)[0] == 1.0
    assert scores(missed, truth, 2023, spacing=(1.0, 1.0, 1.1))[0] == 0.5


def test_a_hit_of_a_lesion_too_small_to_count_is_no_false_positive():
    truth = volume((5, 6, 2), (30, 3, 2))
    assert scores(truth, truth, 2023) == (1, 0)
    assert scores(volume((5, 6, 2), (40, 3, 2)), truth, 2023)[0] == 0.5


def test_small_predictions_are_deleted_in_2024_only():
    truth, speck = volume((5, 6, 2)), volume((5, 6, 2), (30, 1, 2))
    assert scores(speck, truth, 2024) == (1, 0)
    assert scores(speck, truth, 2023) == (0.5, 374 / 2)


def test_predicted_components_are_merged_before_they_are_counted_in_2024_only():
    truth, twice = volume((5, 6, 2)), volume((5, 6, 2), (30, 2, 2), (36, 2, 2))
    assert scores(twice, truth, 2024)[0] == 1 / 2
    assert scores(twice, truth, 2023)[0] == pytest.approx(1 / 3)


def test_a_lesion_is_compared_with_all_predictions_that_touch_its_dilation():
    truth = volume((5, 10, 2))
    # 17 is within three voxels of 14, the last one; 19 is not.
    assert scores(volume((5, 2, 2), (17, 2, 2)), truth, 2023)[0] == pytest.approx(2 * 32 / (64 + 160))
    assert scores(volume((5, 2, 2), (19, 2, 2)), truth, 2023)[0] == pytest.approx(2 * 32 / (32 + 160) / 2)


def test_lesions_of_a_tissue_that_touch_one_lesion_of_another_are_one_in_2024():
    """Two patches of enhancement 22 voxels apart on one necrotic core."""
    truth = volume((5, 5, 3), (10, 22, 1), (32, 5, 3))
    found = volume((5, 5, 3), (10, 22, 1))
    assert scores(found, truth, 2024, "ET")[0] == pytest.approx(2 * 80 / (80 + 160))
    apart = truth.copy()
    apart[apart == 1] = 2  # oedema joins nothing
    assert scores(np.where(found == 1, 2, found), apart, 2024, "ET")[0] == 0.5


def test_distance_is_that_of_surface_elements_weighted_by_area():
    truth, shifted = volume((5, 6, 2)), volume((7, 6, 2))
    _, distance = scores(shifted, truth, 2023)
    assert distance == lesion_wise(shifted, truth, "WT", UNIT, 2023)[1]
    assert distance == 2.0


@pytest.mark.parametrize(("year", "penalty"), [(2023, 374), (2024, 337)])
def test_a_missing_prediction_is_no_better_than_any(year, penalty):
    truth = volume((5, 6, 2))
    assert scores(None, truth, year) == (0, penalty)
    large = np.zeros((400, 4, 4), np.uint8)
    assert scores(None, large, year) == (0, max(penalty, math.hypot(400, 4, 4)))


def test_no_policy_changes_lesion_wise_scores():
    truth = volume((5, 6, 2))
    empty = np.zeros_like(truth)
    for prediction in (truth, empty):
        assert len({scores(prediction, truth, 2023, policy=policy) for policy in POLICIES}) == 1
    names = ["lesion_dice_2023", "dice"]
    first, second = score_case(empty, empty, {"ET": (3,)}, UNIT, POLICIES["nan_skip"], names)
    assert (first.status, second.status) == ("empty_both", "skipped")


@st.composite
def tumours(draw):
    """Label maps of boxes of tissues, close enough to touch, merge and be dropped."""
    shape = draw(st.sampled_from([(28, 14, 12), (14, 26, 13)]))
    maps = []
    for _ in range(2):
        labels = np.zeros(shape, np.uint8)
        for _ in range(draw(st.integers(0, 7))):
            first = [draw(st.integers(0, side - 1)) for side in shape]
            sides = [draw(st.integers(1, 5)) for _ in shape]
            labels[tuple(slice(at, at + side) for at, side in zip(first, sides, strict=True))] = draw(st.integers(1, 4))
        maps.append(labels)
    if draw(st.booleans()):  # a prediction near the truth
        maps[0] = np.where(np.random.default_rng(draw(st.integers(0, 9))).random(shape) < 0.2, maps[0], maps[1])
    return maps[0], maps[1], draw(st.sampled_from([UNIT, (1.0, 0.5, 2.0)]))


@pytest.mark.integration
@settings(max_examples=examples(25), deadline=None)
@given(tumours(), st.sampled_from([2023, 2024]))
def test_all_regions_equal_the_plain_implementation(scene, year):
    prediction, truth, spacing = scene
    found = all_scores(prediction, truth, year, spacing)
    for region in ALL:
        expected = lesion_wise(prediction, truth, region, spacing, year)
        assert found[region] == pytest.approx(expected, abs=1e-9), region


@pytest.mark.parametrize("times", [0, 1, 3, 5])
def test_dilation_is_scipys_by_the_18_neighbourhood(times):
    mask = np.random.default_rng(times).random((15, 14, 13)) < 0.004
    expected = binary_dilation(mask, generate_binary_structure(3, 2), iterations=times) if times else mask
    assert np.array_equal(dilate(mask, times), expected)
