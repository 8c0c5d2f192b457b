"""Cases of other tools' tests, with values published there: MONAI, surface-distance, medpy, Metrics Reloaded, CHAOS.

Where a tool means something else by a name, the test says what, and asserts its definition.
"""

from __future__ import annotations

import math

import numpy as np
import pydicom
import pytest
import torch
from medpy.metric import binary
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from PIL import Image
from scipy import ndimage
from scipy.spatial.distance import cdist

from harness.data import DATASETS
from harness.evaluation.chaos import assd_score, dice_score, mssd_score, ravd_score
from harness.evaluation.overlap import dice_of, precision_of, ravd_of, sensitivity_of
from harness.evaluation.pair import MaskPair
from harness.evaluation.policy import POLICIES
from harness.evaluation.scoring import score_case
from harness.evaluation.surface import assd_of, hd95_of, hd_of
from harness.evaluation.surface_dice import nsd_of, robust_hausdorff, surfels

ODD = (0.85, 1.2, 0.9)


def ball(radius, centre, spacing=(1.0, 1.0, 1.0), shape=(99, 99, 99)):
    """Voxels whose place in mm lies within a radius of a centre."""
    axes = (np.arange(side) * size - middle for side, size, middle in zip(shape, spacing, centre, strict=True))
    x, y, z = np.ix_(*axes)
    return x**2 + y**2 + z**2 <= radius**2


def points(shape, *places):
    mask = np.zeros(shape, bool)
    for place in places:
        mask[place] = True
    return mask


def directed(pair, percent):
    """What MONAI and Metrics Reloaded call a percentile: the larger one of the two directions."""
    return max(np.percentile(side, percent) for side in pair.distances)


# MONAI, tests/test_hausdorff_distance.py, both directions, Euclidean.
BALLS = [
    ((20, (20, 20, 20)), (20, (19, 19, 19)), (1.0, 1.0, 1.0), 100, 1.7320508),
    ((33, (19, 33, 22)), (33, (20, 33, 22)), (1.0, 1.0, 1.0), 100, 1.0),
    ((20, (20, 33, 22)), (40, (20, 33, 22)), (1.0, 1.0, 1.0), 100, 20.2237484),
    ((20, (20, 33, 22)), (40, (20, 33, 22)), (1.0, 1.0, 1.0), 95, 20.0997512),
    ((20, (20, 20, 20)), (20, (19, 19, 19)), ODD, 100, 2.2671568),
    ((15, (20, 33, 22)), (30, (20, 33, 22)), ODD, 100, 15.62594),
]


@pytest.mark.parametrize(("found", "real", "spacing", "percent", "expected"), BALLS)
def test_balls_of_monai(found, real, spacing, percent, expected):
    pair = MaskPair(ball(*found, spacing), ball(*real, spacing), spacing)
    assert directed(pair, percent) == pytest.approx(expected, rel=1e-6)
    if percent == 100:
        assert hd_of(pair) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_distances_of_monai_itself(seed):
    random = np.random.default_rng(seed)
    found, real = (ball(4 + 3 * random.random(), 8 + random.random(3), ODD, (24, 17, 20)) for _ in range(2))
    pair = MaskPair(found, real, ODD)
    theirs = [torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (found, real)]
    hausdorff = compute_hausdorff_distance(*theirs, include_background=True, percentile=95, spacing=ODD)
    assert directed(pair, 95) == pytest.approx(hausdorff.item(), rel=1e-5)
    # MONAI's symmetric mean is that of all distances, as ours is.
    mean = compute_average_surface_distance(*theirs, include_background=True, symmetric=True, spacing=ODD)
    assert assd_of(pair) == pytest.approx(mean.item(), rel=1e-5)
    # Its surface Dice counts voxels unless it is asked for surface elements.
    dice = compute_surface_dice(*theirs, [1.0], include_background=True, spacing=ODD, use_subvoxels=True)
    assert nsd_of(pair) == pytest.approx(dice.item(), rel=1e-5)


# surface-distance, surface_distance_test.py: both directed means, percentiles 100 and 95, surface Dice at 1 mm, Dice.
ELEMENTS = {
    "pixels 2 mm apart": (points((128, 128), (50, 72)), points((128, 128), (50, 70)), (2, 1), (1.5, 1.5, 2, 2, 0.5, 0)),
    "voxels 2 mm apart": (
        points((60, 70, 80), (50, 60, 72)),
        points((60, 70, 80), (50, 60, 70)),
        (3, 2, 1),
        (1.5, 1.5, 2, 2, 0.5, 0),
    ),
    "halves of an image": (
        points((100, 100, 100), slice(51)),
        points((100, 100, 100), slice(50)),
        (2, 1, 1),
        (0.339, 0.322, 2, 2, 0.836, 0.990),
    ),
}


@pytest.mark.parametrize("kind", ELEMENTS)
def test_surface_elements_of_deepmind(kind):
    found, real, spacing, expected = ELEMENTS[kind]
    pair = MaskPair(found, real, spacing)
    means = [float((side.distances * side.areas).sum() / side.areas.sum()) for side in surfels(pair)]
    values = [*means, robust_hausdorff(pair, 100), robust_hausdorff(pair), nsd_of(pair), dice_of(pair)]
    assert values == pytest.approx(expected, abs=1e-3)


def test_squares_of_deepmind():
    """2 x 2 against 3 x 2 pixels of 2 x 1 mm; lengths of the surface elements are worked out by hand."""
    found, real = points((6, 6), np.s_[1:4, 1:3]), points((6, 6), np.s_[1:3, 1:3])
    corner = 0.5 * math.sqrt(1**2 + 2**2)
    found_length, real_length = 4 * corner + 2 * 1 + 4 * 2, 4 * corner + 2 * 1 + 2 * 2
    prediction, truth = surfels(MaskPair(found, real, (2, 1)))
    assert prediction.areas.sum() == pytest.approx(found_length)
    assert truth.areas.sum() == pytest.approx(real_length)
    assert sorted(prediction.distances) == [0] * 7 + [2] * 3
    assert sorted(truth.distances) == [0] * 7 + [1]


@pytest.mark.parametrize(("found", "real"), [(True, False), (False, True), (False, False)])
def test_empty_masks_are_the_policys_not_infinite(found, real):
    """surface-distance and MONAI give infinity or NaN, medpy raises; here there is a value, and its status says why."""
    masks = [points((9, 9, 9), *[(4, 4, 4)] * there).astype(np.uint8) for there in (found, real)]
    for score in score_case(*masks, {"x": (1,)}, (3, 2, 1), POLICIES["worst"], ("dice", "hd", "nsd")):
        assert score.status == ("empty_one" if found or real else "empty_both")
        assert math.isfinite(score.value)


def test_invariants_of_medpy():
    """Its tests ask that metrics are symmetric, zero for equal masks, and grow with the distance."""
    real = points((30, 8), np.s_[2:6, 2:6])
    pairs = [MaskPair(np.roll(real, by, axis=0), real, (1.5, 1.0)) for by in range(20)]
    for metric in (hd_of, hd95_of, assd_of):
        values = [metric(pair) for pair in pairs]
        assert values[0] == 0
        assert values == sorted(values)
        assert len(set(values)) == len(values)
        swapped = [metric(MaskPair(pair.truth, pair.prediction, pair.spacing)) for pair in pairs]
        assert values == pytest.approx(swapped)
    assert hd95_of(pairs[7]) == pytest.approx(binary.hd95(np.roll(real, 7, axis=0), real, voxelspacing=(1.5, 1.0)))


# Metrics Reloaded, test_pairwise_measures.py.
CROSS = points((11, 11), np.s_[3:8, 3:8], np.s_[5, 1:10], np.s_[1:10, 5])
SQUARE = points((11, 11), np.s_[3:8, 3:8])


def test_overlap_of_metrics_reloaded():
    def line(*runs):
        return np.concatenate([np.full(count, value) for value, count in runs]).astype(bool)

    pair = MaskPair(line((1, 40), (0, 30), (1, 1)), line((1, 70), (0, 1)), (1,))
    assert sensitivity_of(pair) == pytest.approx(0.57, abs=0.005)
    pair = MaskPair(line((1, 45), (0, 5), (1, 10), (0, 40)), line((1, 50), (0, 50)), (1,))
    assert precision_of(pair) == pytest.approx(0.82, abs=0.005)
    pair = MaskPair(CROSS, SQUARE, (1, 1))
    assert dice_of(pair) == pytest.approx(0.862, abs=5e-4)
    small = MaskPair(points((14, 14), np.s_[3:5, 3:5]), points((14, 14), np.s_[2:4, 2:4]), (1, 1))
    assert ravd_of(small) == 0


def test_distances_of_metrics_reloaded():
    """Its percentile is the larger of two directions, its surface Dice counts border pixels; the rest is as here."""
    pair = MaskPair(CROSS, SQUARE, (1, 1))
    assert assd_of(pair) == pytest.approx(0.44, abs=0.005)
    assert np.mean([side.mean() for side in pair.distances]) == pytest.approx(0.425, abs=5e-4)
    pooled = pair.distances.pooled
    assert (pooled <= 1).mean() == pytest.approx(0.89, abs=0.005)
    assert (pooled <= 2).mean() == 1
    assert nsd_of(pair, 2.0) == 1
    far = MaskPair(points((14, 14), np.s_[9:12, 9:12]), points((14, 14), (1, 1), np.s_[9:12, 9:12]), (1, 1))
    assert hd_of(far) == pytest.approx(11.31, abs=0.005)
    assert directed(far, 95) == pytest.approx(6.79, abs=0.005)
    assert hd95_of(far) < directed(far, 95)


# CHAOS-evaluation, Python/CHAOSmetrics.py and evaluate3D.py: stacks of PNG, places in mm by the DICOM headers.


def border_of_chaos(mask, images):
    """Returns where the border of a stack (slice, row, column) lies, by the first and the last header of the stack."""
    inside = ndimage.binary_erosion(mask, ndimage.generate_binary_structure(3, 1), border_value=1)
    along_row, along_column = np.reshape(images[0].ImageOrientationPatient, (2, 3)).astype(float)
    step = np.subtract(images[-1].ImagePositionPatient, images[0].ImagePositionPatient) / (len(images) - 1)
    # Its matrix takes the direction of rows for that of columns, which changes places and no distance.
    sizes = images[0].PixelSpacing
    axes = np.stack([step, along_row * sizes[0], along_column * sizes[1]])
    return np.argwhere(mask ^ inside) @ axes + np.asarray(images[0].ImagePositionPatient, float)


def official_chaos(found, real, images):
    borders = [border_of_chaos(mask, images) for mask in (found, real)]
    distances = cdist(*borders)
    pooled = np.concatenate([distances.min(axis=0), distances.min(axis=1)])
    dice = 2 * (found & real).sum() / (found.sum() + real.sum())
    return dice, 100 * abs(int(real.sum()) - int(found.sum())) / real.sum(), pooled.mean(), pooled.max()


@pytest.mark.parametrize("case", ["1", "2"])
@pytest.mark.parametrize("shift", [(0, 0, 1), (1, -1, 0), (0, 3, 0)])
def test_stacks_of_chaos(generated, case, shift):
    """A liver beside its drawing, from the files as the official code reads them and from ours."""
    root = generated("chaos")
    folder = root / f"Train_Sets/MR/{case}/T1DUAL"
    drawings = sorted(path for path in (folder / "Ground").glob("*.png") if path.name[0] != ".")
    images = [pydicom.dcmread(path) for path in sorted((folder / "DICOM_anon/InPhase").glob("[!.]*.dcm"))]
    stack = np.stack([np.asarray(Image.open(path)) for path in drawings])
    real = (stack > 55) & (stack <= 70)
    found = np.roll(real, shift, axis=(0, 1, 2))
    found[:, : real.shape[1] // 3] = False
    dice, ravd, assd, mssd = official_chaos(found, real, images)
    content = DATASETS.get("chaos").open(root).load(case)
    pair = MaskPair(found.transpose(2, 1, 0), content.label == 1, content.spacing)
    assert dice_of(pair) == pytest.approx(dice)
    assert 100 * ravd_of(pair) == pytest.approx(ravd)
    assert pair.inner_distances.pooled.mean() == pytest.approx(assd, rel=1e-5)
    assert pair.inner_distances.pooled.max() == pytest.approx(mssd, rel=1e-5)


def test_artefacts_of_chaos():
    """Its small experiment: what one metric hardly notices, another one does, so their mean is the score."""
    real = ball(20, (32, 32, 32), shape=(64, 64, 64))
    island, hole = real.copy(), real.copy()
    island[:2, :2, :2] = True
    hole[24:40, 24:40, 24:40] = False
    moved = np.roll(real, 4, axis=0)
    scores = {
        name: [score(MaskPair(found, real, (2, 2, 2))) for score in (dice_score, ravd_score, assd_score, mssd_score)]
        for name, found in (("equal", real), ("island", island), ("hole", hole), ("moved", moved))
    }
    assert scores["equal"] == [100] * 4
    assert [round(one) for one in scores["island"]] == [100, 100, 100, 0]
    assert scores["hole"][0] > 90 > scores["hole"][2]
    assert scores["hole"][1] == 0
    assert scores["moved"][1] == 100
    assert scores["moved"][0] < 90
