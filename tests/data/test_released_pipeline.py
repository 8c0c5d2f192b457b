"""Sampling and augmentation of protocol ``paper_released`` follow the laws of the released pipeline.

The released code takes its transforms from batchgenerators (0.23 or newer; here 0.25.5). Both sides change the same
image many times with one transform certain to happen, a number is measured from every result, and the two samples must
be of one distribution.
"""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from types import SimpleNamespace

import numpy as np
import pytest
from batchgenerators.transforms.color_transforms import (
    BrightnessMultiplicativeTransform,
    ContrastAugmentationTransform,
    GammaTransform,
)
from batchgenerators.transforms.noise_transforms import GaussianBlurTransform, GaussianNoiseTransform
from batchgenerators.transforms.resample_transforms import SimulateLowResolutionTransform
from batchgenerators.transforms.spatial_transforms import MirrorTransform, SpatialTransform
from scipy.stats import ks_2samp

from harness.data.batches.augmentation import Augmenter, transforms_of
from harness.data.batches.draws import draw as draws
from harness.data.batches.draws import steps_of
from harness.data.batches.sampling import Placing, draw_patch
from harness.data.preparation.cache import Moments
from harness.data.preparation.normalisation import Normaliser
from harness.study.protocol import load_protocol

RELEASED = load_protocol("paper_released").augmentation
SIDE, REGION = 32, 37  # 37 = int(32 / 0.85)
_OFF = {name: 0 for name in type(RELEASED).model_fields if name.startswith("p_")}
ONLY = RELEASED.model_copy(update={**_OFF, "mirror_axes": (), "cutout": 1.0, "mask_outside": False})


def only(**certain):
    return ONLY.model_copy(update=certain)


def bump(side=SIDE):
    """Two channels: a smooth bump beside the centre on a slope, so that turning, zooming and blurring all show."""
    rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
    channel = 3 * np.exp(-((rows - 2) ** 2 + (columns + 3) ** 2) / 18) + rows / side
    return np.stack([channel, channel]).astype(np.float32)


def spike():
    image = np.zeros((2, SIDE, SIDE), np.float32)
    image[:, SIDE // 2, SIDE // 2] = 1
    return image


def textured():
    return np.random.default_rng(0).normal(size=(2, SIDE, SIDE)).astype(np.float32)


def ramp(side):
    """A plane, which any interpolation keeps: its slope after zooming is the factor."""
    rows = np.mgrid[:side, :side][0].astype(np.float32)
    return np.stack([rows, rows])


def slope(channel):
    middle = channel.shape[0] // 2
    return float(channel[middle + 3, middle] - channel[middle - 3, middle]) / 6


def peak(made):
    return float(made[0].max())


def angle(channel):
    """Direction of the bump from the centre."""
    mass = np.clip(channel, 1, None) - 1
    rows, columns = np.mgrid[: channel.shape[0], : channel.shape[1]] - (np.array(channel.shape)[:, None, None] - 1) / 2
    return float(np.arctan2((mass * rows).sum(), (mass * columns).sum()))


TRANSFORMS = {
    "noise": (only(p_noise=1), GaussianNoiseTransform(), spike, lambda made: float(made[0].std())),
    "blur": (
        only(p_blur=1),
        GaussianBlurTransform((0.5, 1.0), different_sigma_per_channel=True, p_per_channel=0.5),
        spike,
        peak,
    ),
    "blur along each axis": (
        only(p_blur=1),
        GaussianBlurTransform((0.5, 1.0), different_sigma_per_channel=True, p_per_channel=0.5),
        spike,
        lambda made: float(made[0].sum(0).max() - made[0].sum(1).max()),
    ),
    "brightness": (
        only(p_brightness=1),
        BrightnessMultiplicativeTransform((0.75, 1.25)),
        spike,
        lambda m: float(m[0].max()),
    ),
    "contrast": (only(p_contrast=1), ContrastAugmentationTransform(), bump, lambda made: float(made[0].std())),
    "low resolution": (
        only(p_low_resolution=1),
        SimulateLowResolutionTransform(
            (0.5, 1), per_channel=True, p_per_channel=0.5, order_downsample=0, order_upsample=3
        ),
        textured,
        lambda made: float(np.corrcoef(made[0].ravel(), textured()[0].ravel())[0, 1] > 0.999),
    ),
    "gamma": (
        only(p_gamma=1),
        GammaTransform((0.7, 1.5), False, True, retain_stats=True),
        bump,
        lambda made: float(np.median(made[0])),
    ),
    "gamma inverted": (
        only(p_gamma_inverted=1),
        GammaTransform((0.7, 1.5), True, True, retain_stats=True),
        bump,
        lambda made: float(np.median(made[0])),
    ),
    "mirroring": (only(mirror_axes=(0, 1)), MirrorTransform((0, 1)), bump, lambda made: round(angle(made[0]), 3)),
}


def released(transform, image, label, count):
    np.random.seed(1)
    for _ in range(count):
        made = transform(data=image[None].copy(), seg=label[None, None].astype(np.float32))
        yield made["data"][0], made["seg"][0, 0]


def ours(settings, image, label, count, **more):
    augment = Augmenter(settings, (SIDE, SIDE), **more)
    for seed in range(count):
        made, changed = augment(image.copy(), label, seed)
        yield made.numpy(), changed.numpy()


def same_law(one, other):
    return ks_2samp(list(one), list(other)).pvalue > 1e-3


COUNTS = [200, pytest.param(4000, marks=pytest.mark.slow)]


def test_the_release_is_compared_with_its_own_version():
    assert version("batchgenerators") == "0.25.5"


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_each_transform_of_intensities_has_the_released_law(name, count):
    settings, theirs, make, measure = TRANSFORMS[name]
    image, label = make(), np.zeros((SIDE, SIDE), np.uint8)
    a = [measure(made) for made, _ in ours(settings, image, label, count)]
    b = [measure(made) for made, _ in released(theirs, image, label, count)]
    assert same_law(np.round(a, 4), np.round(b, 4))


def spatial(rotates, scales):
    return SpatialTransform(
        (SIDE, SIDE),
        patch_center_dist_from_border=None,
        do_elastic_deform=False,
        do_rotation=rotates,
        angle_x=(-np.pi, np.pi),
        do_scale=scales,
        scale=(0.7, 1.4),
        border_mode_data="constant",
        border_cval_data=0,
        order_data=3,
        border_mode_seg="constant",
        border_cval_seg=-1,
        order_seg=1,
        random_crop=False,
    )


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(
    ("settings", "theirs", "make", "measure"),
    [
        (only(p_rotation=1, cutout=1 / 0.85), spatial(True, False), bump, angle),
        (only(p_scale=1, cutout=1 / 0.85), spatial(False, True), ramp, slope),
    ],
)
def test_a_region_is_turned_and_zoomed_by_the_released_law(settings, theirs, make, measure, count):
    image, label = make(REGION), np.zeros((REGION, REGION), np.uint8)
    a = [measure(made[0]) for made, _ in ours(settings, image, label, count)]
    b = [measure(made[0]) for made, _ in released(theirs, image, label, count)]
    assert same_law(a, b)


@pytest.mark.parametrize(("draw", "below"), [("halves", 1 / 2), ("uniform", 3 / 7)])
def test_half_of_the_zooms_are_below_one_where_the_release_has_it_so(draw, below):
    steps = steps_of(transforms_of(only(p_scale=1, scale_draw=draw), (16, 16)))
    factors = np.array([matrix[0] for (rows,) in draws(steps, 1, (16, 16), range(1500)) for matrix in rows.values()])
    assert len(factors) == 1500
    assert 0.7 < factors.min() < 0.71
    assert 1.39 < factors.max() < 1.4
    assert abs((factors < 1).mean() - below) < 0.03


def test_outside_the_body_everything_is_zero_again():
    image, label = textured(), np.zeros((SIDE, SIDE), np.uint8)
    inside = np.zeros((SIDE, SIDE), bool)
    inside[8:24, 4:20] = True
    label[10:14, 6:9] = 2
    settings = only(p_noise=1, mask_outside=True)
    made, kept = Augmenter(settings, (SIDE, SIDE), masked=(0,))(image * inside, label, 3, inside)
    assert np.array_equal(made[0].numpy() != 0, inside)
    assert made[1].numpy()[~inside].any()  # a channel that is not masked keeps its noise
    assert np.array_equal(kept.numpy(), label)


def test_what_turns_in_from_beyond_the_region_is_outside():
    settings = only(p_rotation=1, p_noise=1, mask_outside=True)
    image, label = np.ones((1, SIDE, SIDE), np.float32), np.ones((SIDE, SIDE), np.uint8)
    made, kept = Augmenter(settings, (SIDE, SIDE), masked=(0,))(image, label, 5, np.ones((SIDE, SIDE), bool))
    corners = kept.numpy() == 0
    assert corners.any()
    assert not made[0].numpy()[corners].any()


def a_case(shape, foreground):
    """A case in memory with the arrays that drawing needs."""
    label = np.zeros(shape, np.uint8)
    label[tuple(foreground.T)] = 1
    images = np.ones((1, *shape), np.float32)
    return SimpleNamespace(images=images, label=label, foreground={1: foreground.astype(np.int32)}, absent=())


def slices_drawn(by, count=3000):
    small, large = [[2, 5, 5]], [[4, row, column] for row in range(10) for column in range(9)]
    case = a_case((6, 10, 10), np.array(small + large))
    rng = np.random.default_rng(0)
    placing = Placing((4, 4), (4, 4), by)
    drawn = Counter()
    for _ in range(count):
        patch = draw_patch([case], lambda images, _: images, placing, True, rng)
        drawn["small" if patch.label.sum() <= 1 else "large"] += 1
    return drawn["small"] / count


def test_a_slice_that_shows_a_class_is_as_likely_as_any_other_that_does():
    assert abs(slices_drawn("slice") - 1 / 2) < 0.03
    assert abs(slices_drawn("voxel") - 1 / 91) < 0.01


def released_starts(extent, patch, region, centre, rng):
    """Start along one axis, written anew from what nnU-Net v1's loader of slices does."""
    beyond = region - patch
    if beyond + extent < region:
        beyond = region - extent
    low, high = -(beyond // 2), extent + beyond // 2 + beyond % 2 - region
    return rng.integers(low, high + 1) if centre is None else max(low, centre - region // 2)


@pytest.mark.parametrize("extent", [20, 33, 41, 90])
def test_a_region_may_reach_beyond_the_border_as_far_as_in_the_release(extent):
    case = a_case((1, extent, extent), np.array([[0, extent - 1, 0]]))
    placing = Placing((SIDE, SIDE), (REGION, REGION), "slice")
    rows = np.arange(1, extent + 1, dtype=np.float32)[None, None, :, None]
    case.images = np.broadcast_to(rows, (1, 1, extent, extent))
    rng, other = np.random.default_rng(0), np.random.default_rng(1)

    def start(forced):
        column = draw_patch([case], lambda images, _: images, placing, forced, rng).images[0].max(axis=1)
        first = int(np.flatnonzero(column)[0])
        return int(column[first]) - 1 - first

    assert start(True) == released_starts(extent, SIDE, REGION, extent - 1, other)
    drawn = {start(False) for _ in range(600)}
    assert drawn == {int(released_starts(extent, SIDE, REGION, None, other)) for _ in range(600)}


def test_zeros_are_ordinary_voxels_where_cropping_saves_little_as_in_nnunet():
    def case(shape, cropped):
        image = np.zeros(cropped, np.float32)
        image[:, :, 0] = np.arange(1, 1 + image[:, :, 0].size).reshape(image.shape[:2])
        inside = image[image != 0].astype(np.float64)
        moments = (Moments(len(inside), float(inside.sum()), float(inside @ inside)),)
        geometry = SimpleNamespace(shape=shape, cropped=cropped)
        return SimpleNamespace(geometry=geometry, moments=moments, absent=()), image[None]

    for shape, masked in (((4, 5, 6), False), ((8, 8, 8), True)):
        prepared, images = case(shape, (4, 5, 6))
        made = Normaliser.fit("zscore_case", [prepared], "nnunet")(images, prepared)
        mask = images != 0 if masked else np.ones_like(images, bool)
        expected = np.where(mask, (images - images[mask].mean()) / images[mask].std(), 0)
        assert np.allclose(made, expected, atol=1e-5)
