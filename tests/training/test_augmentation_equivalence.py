"""Networks learn the same from batches that are augmented whole as from patches that are augmented one by one."""

from __future__ import annotations

from statistics import fmean, stdev

import pytest
import torch
from monai.networks.nets import UNet
from scipy.stats import t

from harness.data import DATASETS
from harness.data.batches.batches import TrainingBatches
from harness.data.preparation.normalisation import Normaliser
from harness.data.preparation.prepare import prepare
from harness.data.synthetic.generated import LEAST_PATIENTS, generate
from harness.study.protocol import load_protocol
from harness.training.checkpoint import Checkpoints
from harness.training.device import Precision
from harness.training.loop import Hooks, Trainer
from harness.training.validation import Validation, validation_dice, validation_scores

SEEDS, MARGIN = range(8), 0.01

PROTOCOL = load_protocol(
    {
        "base": "demo",
        "patch_size": [48, 48],
        "preparation": {"plane": "resize"},
        "sampling": {"batch_size": 8},
        "augmentation": load_protocol("paper").augmentation.model_dump() | {"p_noise": 0.3},
        "training": {
            "epochs": 20,
            "steps_per_epoch": 20,
            "optimiser": {"name": "adam", "lr": 5e-3},
            "validate_every": 20,
            "refresh_batchnorm": 20,
        },
    }
)


def open_data(name, folder):
    """Returns a dataset, its reader and split 0: the embedded images, or generated patients."""
    dataset = DATASETS.get(name)
    home = dataset.home
    if home is None:
        home = folder / "data"
        generate(dataset, home, patients=LEAST_PATIENTS, seed=0, scale=0.5)
    return dataset, dataset.open(home)


@pytest.fixture(params=["cortex", "prostate158"])
def learn(request, tmp_path):
    """Returns a function that trains a network by a seed on a path and returns its Dice on the test cases."""
    dataset, reader = open_data(request.param, tmp_path)
    split = reader.split(0)
    parts = [
        prepare(dataset, reader, names, PROTOCOL.preparation, PROTOCOL.patch_size, tmp_path / "cache")
        for names in (split.train, split.test)
    ]
    normaliser = Normaliser.fit(dataset.normalisations, parts[0])
    classes = 1 + max(label for labels in dataset.regions.values() for label in labels)
    device = torch.device("cpu")

    def train(seed, on_device):
        torch.manual_seed(seed)
        network = UNet(2, len(dataset.modalities), classes, (8, 16, 32), (2, 2), num_res_units=1, norm="BATCH")
        batches = TrainingBatches(
            parts[0], normaliser, PROTOCOL.patch_size, PROTOCOL.sampling, PROTOCOL.augmentation, seed
        )
        hooks = Hooks(lambda *_: Validation(0.5, dead=False), dict, lambda _: None, lambda _: None, lambda: False)
        precision = Precision.choose(device, PROTOCOL.training, 2)
        kept = Checkpoints(tmp_path / f"{seed}-{on_device}")
        Trainer(network, batches, PROTOCOL.training, precision, kept, seed, 0, hooks, augment_on_device=on_device).run()
        return validation_dice(
            validation_scores(
                network, parts[1], dataset.regions, normaliser, PROTOCOL.patch_size, PROTOCOL.inference, device
            )
        )

    return train


@pytest.mark.slow
def test_networks_learn_the_same_on_both_paths(learn):
    """The 90 % interval of the paired difference in Dice lies within the margin (two one-sided tests at 5 %)."""
    pairs = [(learn(seed, on_device=False), learn(seed, on_device=True)) for seed in SEEDS]
    differences = [whole - by_patch for by_patch, whole in pairs]
    half = t.ppf(0.95, len(pairs) - 1) * stdev(differences) / len(pairs) ** 0.5
    low, high = fmean(differences) - half, fmean(differences) + half
    print(
        f"\nDice by patch {fmean(one for one, _ in pairs):.3f}, whole batches {fmean(one for _, one in pairs):.3f}; "
        f"difference {fmean(differences):+.4f}, 90 % interval {low:+.4f} to {high:+.4f}, {len(pairs)} seeds"
    )
    assert fmean(one for one, _ in pairs) > 0.5, "something is learnt"
    assert -MARGIN < low < high < MARGIN
