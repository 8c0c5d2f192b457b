"""Batches: the same for the same seed and step, whoever makes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.data import DATASETS
from harness.data.batches.augmentation import Augmenter
from harness.data.batches.batches import TrainingBatches, stream
from harness.data.batches.sampling import Placing, draw_patch
from harness.data.preparation.normalisation import Normaliser
from harness.data.preparation.prepare import prepare
from harness.data.settings import AugmentationSettings, ModalityDropoutSettings, PreparationSettings, SamplingSettings
from harness.study.protocol import load_protocol

DATASET = DATASETS.get("cortex")
PAPER = load_protocol("paper").augmentation


@pytest.fixture(scope="module")
def cases(small_cortex, tmp_path_factory):
    reader = DATASET.open(small_cortex)
    cache = tmp_path_factory.mktemp("cache")
    return prepare(DATASET, reader, reader.split(0).train, PreparationSettings(), (64, 64), cache)


def batches(cases, seed=0, augmentation=PAPER, foreground=1 / 3, size=6, patch=(64, 64)):
    normaliser = Normaliser.fit("zscore_train", cases)
    return TrainingBatches(
        cases, normaliser, patch, SamplingSettings(batch_size=size, foreground=foreground), augmentation, seed
    )


def test_shapes_and_types(cases):
    images, labels = batches(cases)[0]
    assert images.shape == (6, 2, 64, 64)
    assert images.dtype == torch.float32
    assert labels.shape == (6, 64, 64)
    assert labels.dtype == torch.int64
    assert labels.min() >= 0
    assert labels.max() <= 2


def test_a_step_is_the_same_whatever_was_drawn_before(cases):
    made = batches(cases)
    expected = made[7]
    torch.rand(3)
    np.random.rand(3)
    made[1]
    again = batches(cases)[7]
    assert torch.equal(expected.images, again.images)
    assert torch.equal(expected.labels, again.labels)


def test_making_a_batch_leaves_the_global_generators_alone(cases):
    torch.manual_seed(3)
    np.random.seed(3)
    batches(cases)[0]
    after = torch.rand(1), np.random.rand()
    torch.manual_seed(3)
    np.random.seed(3)
    assert after == (torch.rand(1), np.random.rand())


def test_steps_and_seeds_differ(cases):
    made = batches(cases)
    assert not torch.equal(made[0].images, made[1].images)
    assert not torch.equal(made[0].images, batches(cases, seed=1)[0].images)


def test_loader_processes_change_nothing(cases):
    made = batches(cases)
    alone = list(stream(made, 2, 6, workers=0, pin_memory=False))
    helped = list(stream(made, 2, 6, workers=2, pin_memory=False))
    assert len(alone) == len(helped) == 4
    for one, other in zip(alone, helped, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)


@pytest.mark.parametrize("patch", [(64, 64), (8, 32, 32)])
def test_batches_that_a_device_augments_are_the_same_within_rounding(cases, patch):
    """Made by loader processes, with what was drawn; noise apart, whose field is the device's own."""
    silent = load_protocol("paper_released" if len(patch) == 2 else "paper_3d").augmentation
    made = batches(cases, augmentation=silent.model_copy(update={"p_noise": 0}), size=4, patch=patch)
    augment = made.augmentation()
    for step, raw in zip(range(3, 6), stream(made.unaugmented(), 3, 6, workers=1, pin_memory=False), strict=True):
        images, labels = augment(raw)
        expected = made[step]
        assert labels.dtype == expected.labels.dtype
        assert torch.equal(labels, expected.labels)
        assert torch.allclose(images, expected.images, atol=1e-3)


def test_modalities_that_are_dropped_are_the_same_on_a_device(cases):
    sampling = SamplingSettings(batch_size=6, modality_dropout=ModalityDropoutSettings(p=0.5))
    made = TrainingBatches(cases, Normaliser.fit("zscore_train", cases), (64, 64), sampling, PAPER, 0)
    images, _ = made.augmentation()(made.raw(2))
    assert images.isnan().any()
    assert torch.equal(images.isnan(), made[2].images.isnan())


def test_forced_patches_show_foreground(cases):
    made = batches(cases, augmentation=AugmentationSettings(), foreground=1.0, patch=(16, 16))
    for step in range(5):
        assert (made[step].labels > 0).flatten(1).any(dim=1).all()


def test_patches_larger_than_the_volume_are_padded_with_zero(cases):
    normaliser = Normaliser.fit("zscore_train", cases)
    image, label, *_ = draw_patch(cases, normaliser, Placing((100, 80), (100, 80)), True, np.random.default_rng(0))
    assert image.shape == (2, 100, 80)
    assert not image[:, :18].any()
    assert not label[-18:].any()
    assert image[:, 18:82, 8:72].any()


def test_volumes_give_three_dimensional_patches(cases):
    normaliser = Normaliser.fit("zscore_train", cases)
    image, label, *_ = draw_patch(cases, normaliser, Placing((8, 32, 32), (8, 32, 32)), True, np.random.default_rng(0))
    assert image.shape == (2, 8, 32, 32)
    assert label.shape == (8, 32, 32)
    assert label.any()


def test_no_augmentation_returns_the_patch_itself():
    rng = np.random.default_rng(0)
    image, label = rng.normal(size=(2, 16, 16)).astype(np.float32), rng.integers(0, 3, (16, 16)).astype(np.uint8)
    made, kept = Augmenter(AugmentationSettings(), (16, 16))(image, label, seed=1)
    assert np.array_equal(made.numpy(), image)
    assert np.array_equal(kept.numpy(), label)


def test_mirroring_turns_image_and_label_together():
    label = np.zeros((16, 16), np.uint8)
    label[2:5, 3:6] = 1
    image = np.stack([label, label]).astype(np.float32)
    augment = Augmenter(AugmentationSettings(mirror_axes=(0, 1)), (16, 16))
    seen = set()
    for seed in range(30):
        made, turned = augment(image, label, seed)
        assert np.array_equal(made[0].numpy(), turned.numpy().astype(np.float32))
        seen.add(turned.numpy().tobytes())
    assert len(seen) == 4


def test_rotation_moves_image_and_label_together():
    label = np.zeros((32, 32), np.uint8)
    label[4:12, 8:24] = 1
    image = label[None].astype(np.float32)
    augment = Augmenter(AugmentationSettings(rotation_degrees=180, p_rotation=1, scale=(0.8, 1.2), p_scale=1), (32, 32))
    for seed in range(10):
        made, turned = augment(image, label, seed)
        assert np.mean((made[0].numpy() > 0.5) != (turned.numpy() > 0)) < 0.03
        assert not np.array_equal(turned.numpy(), label)


def test_a_batch_keeps_the_outside_of_the_body_zero_where_the_protocol_masks_it(cases):
    noisy = AugmentationSettings(p_noise=1, noise_variance=(0.1, 0.1))
    free, masked = (
        batches(cases, augmentation=noisy.model_copy(update={"mask_outside": mask}))[0] for mask in (False, True)
    )
    plain = batches(cases, augmentation=AugmentationSettings())[0]
    outside = ((plain.images == 0).all(dim=1) & (plain.labels == 0))[:, None].expand_as(plain.images)
    assert outside.any()
    assert free.images[outside].abs().max() > 0
    assert not masked.images[outside].any()
    assert torch.equal(free.images[~outside], masked.images[~outside])
    assert torch.equal(masked.labels, plain.labels)
