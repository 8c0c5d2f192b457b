"""Batches augmented on the GPU: equal to batchgeneratorsv2's, equal to themselves, and beside recorded steps."""

from __future__ import annotations

from itertools import count

import pytest
import torch
from augmenting import ALONE, EVERYTHING, SIZES, augmentation, on_both, patches, raw
from torch import nn

from harness.data import DATASETS
from harness.data.batches.batches import TrainingBatches
from harness.data.preparation.normalisation import Normaliser
from harness.data.preparation.prepare import prepare
from harness.data.settings import AugmentationSettings, PreparationSettings, SamplingSettings
from harness.training.checkpoint import Checkpoints
from harness.training.device import Precision
from harness.training.loop import Hooks, Interrupted, Trainer
from harness.training.settings import OptimiserSettings, TrainingSettings
from harness.training.validation import Validation

DIMENSIONS = pytest.mark.parametrize("dims", [2, 3])
NOISY = AugmentationSettings(**{**EVERYTHING, "p_noise": 0.5})


@DIMENSIONS
@pytest.mark.parametrize("name", [*ALONE, "everything"])
def test_images_are_those_of_batchgeneratorsv2(name, dims, device):
    """A GPU rounds otherwise: a few voxels between two labels may take the other one."""
    settings = AugmentationSettings(**ALONE.get(name, EVERYTHING))
    (images, labels), made = on_both(settings, dims, range(12), device)
    assert all(tensor.device == device for tensor in made)
    found = made[1].cpu()
    assert (labels != found).float().mean() < 1e-3
    far = (images - made[0].cpu()).abs() > 2e-3
    assert far.float().mean() < (1e-3 if settings.mask_outside else 1e-9)


@DIMENSIONS
def test_a_batch_is_equal_bit_for_bit_however_it_is_cut(dims, device, strict):
    size, given, seeds = SIZES[dims], list(patches(NOISY, dims, 6)), range(6)
    augment = augmentation(NOISY, size)

    def made(part):
        return augment(raw(NOISY, size, given[part], seeds[part]).to(device))

    whole, again = made(slice(0, 6)), made(slice(0, 6))
    assert all(map(torch.equal, whole, again))
    halves = [made(part) for part in (slice(0, 2), slice(2, 6))]
    assert all(map(torch.equal, whole, map(torch.cat, zip(*halves, strict=True))))


@pytest.mark.cuda
@DIMENSIONS
def test_the_host_waits_for_nothing(dims, gpu):
    batch = raw(NOISY, SIZES[dims], list(patches(NOISY, dims, 6)), range(6))
    pinned = {name: getattr(batch, name).pin_memory() for name in ("images", "labels", "rows", "values")}
    batch = batch._replace(**pinned)
    augment = augmentation(NOISY, SIZES[dims])
    augment(batch.to(gpu))  # kernels are loaded
    torch.cuda.synchronize(gpu)
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        augment(batch.to(gpu))
    finally:
        torch.cuda.set_sync_debug_mode(before)


@pytest.fixture(scope="module")
def batches(small_cortex, tmp_path_factory):
    dataset = DATASETS.get("cortex")
    reader = dataset.open(small_cortex)
    cache = tmp_path_factory.mktemp("cache")
    cases = prepare(dataset, reader, reader.split(0).train[:2], PreparationSettings(), (32, 32), cache)
    normaliser = Normaliser.fit("zscore_train", cases)
    return TrainingBatches(cases, normaliser, (32, 32), SamplingSettings(batch_size=4), NOISY, seed=0)


def train(batches, device, folder, recorder=None, stop=lambda: False):
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.5), nn.Conv2d(8, 3, 1)
    network = nn.Sequential(*layers).to(device)
    given = TrainingSettings(epochs=4, steps_per_epoch=5, precision="fp32", optimiser=OptimiserSettings(lr=1e-3))
    hooks = Hooks(lambda *_: Validation(0.5, dead=False), dict, lambda _: None, lambda _: None, stop)
    precision, kept = Precision.choose(device, given, 2), Checkpoints(folder)
    trainer = Trainer(network, batches, given, precision, kept, 0, 1, hooks, recorder=recorder, augment_on_device=True)
    return [epoch.loss for epoch in trainer.run()], list(network.state_dict().values())


def test_recorded_steps_beside_it_are_those_of_eager_ones_and_go_on(batches, device, recorder, strict, tmp_path):
    """In a stream beside the step: a batch that is not ready, or written over too early, would change the numbers."""
    eager = train(batches, device, tmp_path / "eager")
    recorded = train(batches, device, tmp_path / "recorded", recorder())
    calls = count(1)
    with pytest.raises(Interrupted):
        train(batches, device, tmp_path / "parts", recorder(), lambda: next(calls) >= 12)
    parts = train(batches, device, tmp_path / "parts", recorder())
    for other in (recorded, parts):
        assert other[0] == eager[0]
        assert all(map(torch.equal, other[1], eager[1]))
