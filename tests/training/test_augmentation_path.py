"""Where batches are augmented, and that a training that goes on keeps to it."""

from __future__ import annotations

import pytest
import torch
from batchgeneratorsv2.transforms.noise.sharpen import SharpeningTransform

from harness.data.batches.augmentation import transforms_of
from harness.data.settings import AugmentationSettings
from harness.errors import TrainingError
from harness.study.protocol import load_protocol
from harness.training.augmentation_path import choose_augmentation

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
KNOWN = transforms_of(load_protocol("paper").augmentation, (8, 8))


def chosen(setting, device, continued=None, transforms=KNOWN):
    return choose_augmentation(AugmentationSettings(device=setting), transforms, device, continued)


@pytest.mark.parametrize(
    ("setting", "device", "where"),
    [("cpu", CPU, "cpu"), ("cpu", GPU, "cpu"), ("auto", CPU, "cpu"), ("auto", GPU, "gpu"), ("gpu", GPU, "gpu")],
)
def test_where_batches_are_augmented(setting, device, where):
    found = chosen(setting, device)
    assert (found.where, found.obstacle) == (where, "")


def test_a_gpu_is_refused_where_there_is_none():
    with pytest.raises(TrainingError, match="only a CUDA GPU") as refused:
        chosen("gpu", CPU)
    assert "augmentation.device: auto" in refused.value.hint


@pytest.mark.parametrize("setting", ["auto", "gpu"])
def test_a_transform_that_the_gpu_does_not_know_is_named_and_runs_on_the_cpu(setting):
    found = chosen(setting, GPU, transforms=[*KNOWN, SharpeningTransform((0.1, 1))])
    assert found.where == "cpu"
    assert "SharpeningTransform" in found.obstacle


@pytest.mark.parametrize(("began", "goes_on"), [(GPU, CPU), (CPU, GPU)])
def test_a_training_that_goes_on_keeps_its_path_on_another_machine(tmp_path, began, goes_on):
    first = chosen("auto", began, tmp_path)
    first.keep(tmp_path)
    assert chosen("auto", goes_on, tmp_path) == first
    assert chosen("auto", goes_on) != first, "a new training does not"


def test_a_path_that_cannot_be_read_is_chosen_anew(tmp_path):
    (tmp_path / "augmentation.txt").write_text("g")
    assert chosen("auto", CPU, tmp_path).where == "cpu"


def test_only_another_place_than_the_cpu_names_another_cell():
    identities = {
        device: load_protocol({"base": "paper", "augmentation": {"device": device}}).augmentation.identity()
        for device in ("cpu", "auto", "gpu")
    }
    assert identities["cpu"] == load_protocol("paper").augmentation.identity()
    assert "device" not in identities["cpu"]
    assert [identities[one]["device"] for one in ("auto", "gpu")] == ["auto", "gpu"]
