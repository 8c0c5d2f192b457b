"""Whole volumes: windows, mirroring, and the way back to the native grid."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from harness.data import DATASETS
from harness.data.preparation.normalisation import Normaliser
from harness.data.preparation.prepare import prepare
from harness.data.settings import PreparationSettings
from harness.errors import NotFiniteError
from harness.evaluation.overlap import dice
from harness.inference.native_grid import segment, segment_native
from harness.inference.settings import InferenceSettings
from harness.inference.sliding_window import predict_probabilities
from harness.training.validation import validate_on_patches, validation_scores

CPU = torch.device("cpu")


class Threshold(nn.Module):
    """Logits that depend on the first channel of each pixel alone."""

    def forward(self, images):
        return torch.cat([-images[:, :1], images[:, :1]], dim=1) * 10


class Sides(nn.Module):
    """Looks at the position in the patch: the left half is class 1."""

    def forward(self, images):
        left = -torch.ones_like(images[:, :1])
        left[..., : images.shape[-1] // 2] = 1
        return torch.cat([-left, left], dim=1) * 10


@pytest.mark.parametrize("patch", [(16, 16), (40, 40), (8, 16, 16)])
@pytest.mark.parametrize("gaussian", [True, False])
def test_a_pointwise_network_gives_the_same_through_any_window(patch, gaussian):
    torch.manual_seed(0)
    images = torch.randn(2, 9, 30, 26)
    settings = InferenceSettings(overlap=0.5, gaussian=gaussian, batch_size=3)
    found = predict_probabilities(Threshold(), images, patch, settings)
    expected = Threshold()(images.transpose(0, 1)).softmax(1).transpose(0, 1)
    assert found.shape == (2, 9, 30, 26)
    assert torch.allclose(found, expected, atol=1e-5)


def test_mirroring_averages_over_the_flips():
    images = torch.randn(1, 3, 16, 16)
    plain = predict_probabilities(Sides(), images, (16, 16), InferenceSettings())
    mirrored = predict_probabilities(Sides(), images, (16, 16), InferenceSettings(mirror_axes=(0, 1)))
    assert plain[1, 0, 0, 0] > 0.99
    assert torch.allclose(mirrored, torch.full_like(mirrored, 0.5), atol=1e-3)


class Oracle(nn.Module):
    """Knows the truth: the label is painted into the first channel."""

    def forward(self, images):
        value = images[:, :1]
        return torch.cat([-(value - level).abs() for level in (0.0, 1.0, 2.0)], dim=1) * 20


@pytest.mark.parametrize("plane", ["resize", "native"])
def test_a_perfect_network_scores_near_one_on_the_native_grid(small_cortex, tmp_path, plane, monkeypatch):
    dataset = DATASETS.get("cortex")
    reader = dataset.open(small_cortex)
    name = reader.split(0).test[4]
    case = reader.load(name)
    painted = type(case)(np.stack([case.label.astype(np.float32)] * 2), case.label, case.affine)
    monkeypatch.setattr(type(reader), "load", lambda *_: painted)
    prepared = prepare(dataset, reader, [name], PreparationSettings(plane=plane), (128, 128), tmp_path)[0]
    identity = Normaliser(("zscore_train",) * 2, (), (None, None))
    monkeypatch.setattr(Normaliser, "__call__", lambda self, images, case: np.array(images, np.float32))
    found = segment_native(Oracle(), prepared, identity, (128, 128), InferenceSettings(), CPU)
    assert found.shape == case.label.shape
    assert found.dtype == np.uint8
    for value in (1, 2):
        assert dice(found == value, case.label == value) > (0.97 if plane == "resize" else 0.9999)


class Spoiled(nn.Module):
    """Gives one value for one class of one pixel, of one image of a batch."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, images):
        logits = torch.cat([images[:, :1], -images[:, :1]], dim=1)
        logits[-1, 1, 3, 5] = self.value
        return logits


WAYS = {
    "test": lambda network, case: segment(network, case, as_they_are, (16, 16), InferenceSettings(), CPU),
    "fewer modalities": lambda network, case: segment(
        network, case, as_they_are, (16, 16), InferenceSettings(mirror_axes=(0,)), CPU, [1]
    ),
    "validation": lambda network, case: validation_scores(
        network, [case], {"all": (1,)}, as_they_are, (16, 16), InferenceSettings(), CPU
    ),
    "patches": lambda network, case: validate_on_patches(
        network, [(torch.randn(2, 2, 16, 16), torch.ones(2, 16, 16, dtype=torch.int64))], 2, CPU
    ),
}


def as_they_are(images, case):
    return images


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("value", "is_finite"), [(np.nan, False), (np.inf, False), (-np.inf, True), (1e30, True)])
def test_a_network_that_gives_no_number_is_refused_wherever_it_is_asked(way, value, is_finite):
    images = np.random.default_rng(0).random((2, 3, 16, 16), np.float32)
    case = SimpleNamespace(name="anna", images=images, label=np.ones((3, 16, 16), np.uint8), absent=())
    if is_finite:
        WAYS[way](Spoiled(value), case)
        return
    with pytest.raises(NotFiniteError) as error:
        WAYS[way](Spoiled(value), case)
    assert way == "patches" or "'anna'" in error.value.message


def test_validation_counts_what_masks_of_regions_show():
    rng = np.random.default_rng(1)
    regions = {"all": (1, 2, 3), "two": (1, 3), "absent": (4,), "one": (2,)}
    labels = rng.integers(0, 4, (3, 16, 16)).astype(np.uint8)
    case = SimpleNamespace(name="anna", images=rng.random((5, 3, 16, 16), np.float32), label=labels, absent=())
    found = validation_scores(nn.Identity(), [case], regions, as_they_are, (16, 16), InferenceSettings(), CPU)
    given = segment(nn.Identity(), case, as_they_are, (16, 16), InferenceSettings(), CPU).argmax(dim=0).numpy()
    given_too = {region: np.isin(given, values) for region, values in regions.items()}
    truths = {region: np.isin(labels, values) for region, values in regions.items()}
    assert [score.region for score in found] == list(regions)
    for score in found:
        assert score.dice == dice(given_too[score.region], truths[score.region])
        assert score.present == truths[score.region].any()
    assert found[2].dice == 0  # predicted, and in no truth
    (nowhere,) = validation_scores(nn.Identity(), [case], {"none": ()}, as_they_are, (16, 16), InferenceSettings(), CPU)
    assert (nowhere.dice, nowhere.present) == (1.0, False)
