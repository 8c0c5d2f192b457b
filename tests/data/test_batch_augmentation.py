"""Augmentation of a batch on a device against batchgeneratorsv2, patch by patch; here the device is a CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from augmenting import ALONE, CHANNELS, EVERYTHING, SIZES, augmentation, on_both, on_device, patches, raw
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.noise.sharpen import SharpeningTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from scipy.stats import binomtest, ks_2samp, kstest

from harness.data.batches.augmentation import Augmenter, transforms_of
from harness.data.batches.draws import draw, steps_of, unknown_transforms
from harness.data.settings import AugmentationSettings
from harness.study.protocol import load_protocol, protocol_names

DIMENSIONS = pytest.mark.parametrize("dims", [2, 3])


@DIMENSIONS
@pytest.mark.parametrize("name", [*ALONE, "everything"])
def test_images_are_those_of_batchgeneratorsv2(name, dims):
    """The same seed draws the same parameters, and these give the same image within rounding."""
    settings = AugmentationSettings(**ALONE.get(name, EVERYTHING))
    (images, labels), (made, found) = on_both(settings, dims, range(12))
    assert made.dtype == torch.float32
    assert found.dtype == torch.int64
    assert torch.equal(labels, found)
    assert torch.allclose(images, made, atol=2e-4), (images - made).abs().max()


@DIMENSIONS
def test_noise_has_the_drawn_variance_and_a_field_of_its_own_per_patch(dims):
    settings, seeds = AugmentationSettings(p_noise=0.6, noise_variance=(0.05, 2)), range(30)
    size, given = SIZES[dims], list(patches(settings, dims, 30))
    made, _ = on_device(settings, size, given, seeds)
    steps = steps_of(transforms_of(settings, size))
    fields = []
    for image, before, seed in zip(made, given, seeds, strict=True):
        ((drawn,),) = draw(steps, CHANNELS, size, [seed])
        field = (image - torch.from_numpy(before[0])).double().flatten().numpy()
        assert bool(drawn) == field.any()
        if drawn:
            fields.append(field / drawn[0][0])
    assert 10 < len(fields) < 26
    assert kstest(np.concatenate(fields), "norm").pvalue > 1e-3
    assert np.corrcoef(np.stack(fields))[np.triu_indices(len(fields), 1)].max() < 0.2


def test_what_is_drawn_after_noise_is_the_same_on_both_paths():
    """The host draws a field too, so that both paths go on from the same random numbers."""
    settings = AugmentationSettings(p_noise=1, noise_variance=(0, 0), p_brightness=1, mirror_axes=(0, 1))
    (images, _), (made, _) = on_both(settings, 2, range(8))
    assert torch.allclose(images, made, atol=1e-6)


@DIMENSIONS
def test_a_batch_is_equal_bit_for_bit_whoever_shares_it_and_whatever_came_before(dims):
    settings = AugmentationSettings(**{**EVERYTHING, "p_noise": 0.5})
    size, given, seeds = SIZES[dims], list(patches(settings, dims, 6)), range(6)
    whole = on_device(settings, size, given, seeds)
    torch.rand(3)
    augment = augmentation(settings, size)
    augment(raw(settings, size, given, range(10, 16)))
    halves = [augment(raw(settings, size, given[part], seeds[part])) for part in (slice(0, 2), slice(2, 6))]
    for all_at_once, parts in zip(whole, zip(*halves, strict=True), strict=True):
        assert torch.equal(all_at_once, torch.cat(parts))


class Largest(torch.utils._python_dispatch.TorchDispatchMode):
    """Notes how many rows an operator works on at a time."""

    rows = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        made = function(*arguments, **(keywords or {}))
        if function.overloadpacket is torch.ops.aten.index_select:
            self.rows = max(self.rows, len(made))
        return made


@DIMENSIONS
def test_parts_need_memory_for_fewer_patches_and_give_the_same_batch(dims):
    settings = AugmentationSettings(**{**EVERYTHING, "p_noise": 0.5})
    batch = raw(settings, SIZES[dims], list(patches(settings, dims, 8)), range(8))
    with Largest() as whole:
        expected = augmentation(settings, SIZES[dims])(batch)
    for count in (2, 3, 8):
        with Largest() as parts:
            made = augmentation(settings, SIZES[dims], count)(batch)
        assert parts.rows == -(-whole.rows // count)
        for one, other in zip(expected, made, strict=True):
            assert torch.equal(one, other)


def test_a_batch_can_be_augmented_twice():
    settings = AugmentationSettings(p_brightness=1, p_contrast=1, mirror_axes=(0,))
    batch = raw(settings, SIZES[2], list(patches(settings, 2, 2)), range(2))
    augment = augmentation(settings, SIZES[2])
    first, again = augment(batch), augment(batch)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])


def test_each_transform_works_on_those_alone_that_drew_it():
    """The others keep their very bits, and the work is that of the ones that drew it."""
    settings, seeds, size = AugmentationSettings(p_blur=0.5), range(8), SIZES[2]
    given = list(patches(settings, 2, 8))
    batch = raw(settings, size, given, seeds)
    drawn = [each[0] for each in draw(steps_of(transforms_of(settings, size)), CHANNELS, size, seeds)]
    assert batch.counts == [sum(map(len, drawn)), 0]
    assert 0 < batch.counts[0] < 8 * CHANNELS
    made, _ = on_device(settings, size, given, seeds)
    for image, (before, *_), channels in zip(made, given, drawn, strict=True):
        changed = [channel for channel in range(CHANNELS) if not np.array_equal(image[channel], before[channel])]
        assert changed == sorted(channels)


def test_absent_modalities_are_marked_after_all_else():
    settings = AugmentationSettings(p_gamma=1, p_contrast=1)
    given = list(patches(settings, 2, 3))
    whole, _ = on_device(settings, SIZES[2], given, range(3))
    made, _ = on_device(settings, SIZES[2], given, range(3), [(1,), (), (0, 2)])
    lacking = torch.tensor([[0, 1, 0], [0, 0, 0], [1, 0, 1]], dtype=torch.bool)
    assert made[lacking].isnan().all()
    assert torch.equal(made[~lacking], whole[~lacking])


#: Operators that read a value back from the device.
READS = {"_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal"}


class Reads(torch.utils._python_dispatch.TorchDispatchMode):
    """Operators that read a value back."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.seen.add(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


@DIMENSIONS
def test_nothing_is_read_back_from_the_device(dims):
    settings = AugmentationSettings(**{**EVERYTHING, "p_noise": 1})
    batch = raw(settings, SIZES[dims], list(patches(settings, dims, 6)), range(6))
    augment = augmentation(settings, SIZES[dims])
    with Reads() as reads:
        augment(batch)
    assert {"grid_sampler_2d", "grid_sampler_3d", "gather"} & reads.seen
    assert not READS & reads.seen


@DIMENSIONS
def test_no_operator_lacks_a_deterministic_form(dims):
    settings = AugmentationSettings(**{**EVERYTHING, "p_noise": 1})
    batch = raw(settings, SIZES[dims], list(patches(settings, dims, 6)), range(6))
    augment = augmentation(settings, SIZES[dims])
    free = augment(batch)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        strict = augment(batch)
    finally:
        torch.use_deterministic_algorithms(before)
    assert torch.equal(free[0], strict[0])


def laws(settings, dims, count=3000):
    """Returns what each step draws for many patches."""
    steps = steps_of(transforms_of(settings, SIZES[dims]))
    return list(zip(*draw(steps, 2, SIZES[dims], range(count)), strict=True))


def test_parameters_have_the_laws_that_the_protocol_names():
    """Thousands of draws against the distributions that nnU-Net describes, in the words of protocol `paper`."""
    settings = load_protocol("paper").augmentation
    affine, noise, blurs, brightness, contrast, low, inverted, gamma, mirror = laws(settings, 2)
    applied = {
        settings.p_noise: [noise],
        settings.p_brightness: [brightness],
        settings.p_contrast: [contrast],
        settings.p_gamma: [gamma],
        settings.p_gamma_inverted: [inverted],
        1 - (1 - settings.p_rotation) * (1 - settings.p_scale): [affine],
        settings.p_blur * 3 / 4: [blurs],  # of two channels one at least
        settings.p_low_resolution * 3 / 4: [low],
        3 / 4: [mirror],
    }
    for p, drawn in applied.items():
        for each in drawn:
            assert binomtest(sum(map(bool, each)), len(each), p).pvalue > 1e-3
    matrices = np.array([one[0] for one in affine if one]).reshape(-1, 2, 2)
    scales = np.sqrt(np.linalg.det(matrices))
    angles = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    zoomed, turned = scales[np.abs(scales - 1) > 1e-9], angles[np.abs(angles) > 1e-9]
    assert uniform(zoomed, *settings.scale)
    assert uniform(turned, -settings.rotation_degrees, settings.rotation_degrees)
    assert uniform(values(noise), *settings.noise_variance)
    assert uniform(values(blurs), *settings.blur_sigma)
    for drawn, (low_end, high_end) in (
        (brightness, settings.brightness),
        (contrast, settings.contrast),
        (gamma, settings.gamma),
        (inverted, settings.gamma),
    ):
        factors = values(drawn)
        below = factors[factors < 1]
        assert binomtest(len(below), len(factors), 0.5).pvalue > 1e-3
        assert uniform(below, low_end, 1)
        assert uniform(factors[factors >= 1], 1, high_end)


def values(drawn):
    """Returns the first value of every channel of every patch."""
    return np.array([own[0] for one in drawn for own in one.values()])


def uniform(found, low, high):
    return kstest(found, "uniform", args=(low, high - low)).pvalue > 1e-3


@pytest.mark.parametrize(
    ("dims", "count"), [(2, 75), *(pytest.param(dims, 150, marks=pytest.mark.slow) for dims in (2, 3))]
)
def test_outputs_have_the_law_of_batchgeneratorsv2_under_other_seeds(dims, count):
    settings = AugmentationSettings(**{**EVERYTHING, "mask_outside": False, "p_noise": 0.3})
    size, (one,) = SIZES[dims], patches(settings, dims, 1)
    augment = Augmenter(settings, size)
    expected = [augment(one[0].copy(), one[1], seed) for seed in range(count)]
    made = [on_device(settings, size, [one], [seed]) for seed in range(1000, 1000 + count)]
    for measure in (
        lambda images, _: float(images[0].mean()),
        lambda images, _: float(images[1].std()),
        lambda images, _: float(images[2].max()),
        lambda _, labels: float((labels == 1).sum()),
        lambda _, labels: float((labels == 2).sum()),
    ):
        a = [measure(*each) for each in expected]
        b = [measure(images[0], labels[0]) for images, labels in made]
        assert ks_2samp(a, b).pvalue > 1e-3


@pytest.mark.parametrize("name", protocol_names())
def test_a_device_knows_the_transforms_of_every_shipped_protocol(name):
    protocol = load_protocol(name)
    assert unknown_transforms(transforms_of(protocol.augmentation, protocol.patch_size)) == []


class Unheard(BasicTransform):
    """A transform that is new to the harness."""


@pytest.mark.parametrize(
    "transform",
    [
        Unheard(),
        SharpeningTransform((0.1, 1)),
        SpatialTransform((8, 8), 0, False, p_elastic_deform=0.1),
        GaussianNoiseTransform(synchronize_channels=False),
        GaussianBlurTransform(lambda *_, **__: 1.0),
    ],
)
def test_what_a_device_cannot_do_is_named(transform):
    known = transforms_of(load_protocol("paper").augmentation, (8, 8))
    given = [*known, RandomTransform(transform, 0.5)]
    assert unknown_transforms(given) == [type(transform).__name__]
