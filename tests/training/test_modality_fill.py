"""Absent modalities in training: their choice, their replacement, and no change where none is dropped."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from harness.data import DATASETS
from harness.data.batches.batches import TrainingBatches, stream
from harness.data.batches.modality_dropout import draw_absent, mark_absent
from harness.data.preparation.normalisation import Normaliser, Window
from harness.data.preparation.prepare import prepare
from harness.data.settings import AugmentationSettings, ModalityDropoutSettings, PreparationSettings, SamplingSettings
from harness.execution.cell.weights import load_weights, read_filling, save_weights
from harness.study.protocol import load_protocol
from harness.training.checkpoint import Checkpoints
from harness.training.device import Precision
from harness.training.loop import Hooks, Interrupted, Trainer
from harness.training.modality_fill import Filling, FillsAbsent, filling_for, mean_images
from harness.training.settings import TrainingSettings
from harness.training.validation import Validation

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cases(small_cortex, tmp_path_factory):
    dataset = DATASETS.get("cortex")
    reader = dataset.open(small_cortex)
    return prepare(
        dataset, reader, reader.split(0).train[:2], PreparationSettings(), (32, 32), tmp_path_factory.mktemp("cache")
    )


def batches(cases, p=0.5, fill="zeros", size=4):
    dropout = None if p is None else ModalityDropoutSettings(p=p, fill=fill)
    sampling = SamplingSettings(batch_size=size, modality_dropout=dropout)
    normaliser = Normaliser.fit("zscore_train", cases)
    return TrainingBatches(cases, normaliser, (32, 32), sampling, AugmentationSettings(p_noise=0.5), seed=0)


@given(st.integers(1, 8), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_never_are_all_modalities_absent(modalities, p, seed):
    absent = draw_absent(modalities, p, np.random.default_rng(seed))
    assert len(absent) < modalities
    assert set(absent) <= set(range(modalities))


def test_each_modality_is_absent_as_often_as_the_protocol_says():
    """Both of two: p * (1 - p) for it alone, and half of p * p, where the other one stays."""
    rng = np.random.default_rng(0)
    drawn = [draw_absent(2, 0.3, rng) for _ in range(4000)]
    for channel in (0, 1):
        assert np.mean([channel in absent for absent in drawn]) == pytest.approx(0.3 * 0.7 + 0.3**2 / 2, abs=0.025)


def test_absent_modalities_are_nan_as_a_whole_and_present_ones_are_as_they_were(cases):
    dropped, plain = batches(cases), batches(cases, p=None)
    seen = set()
    for step in range(6):
        images, labels = dropped[step]
        whole, truth = plain[step]
        nan = images.isnan().flatten(2)
        assert torch.equal(nan.any(dim=2), nan.all(dim=2))
        assert torch.equal(images[~nan.all(dim=2)], whole[~nan.all(dim=2)])
        assert torch.equal(labels, truth)
        assert not whole.isnan().any()
        seen |= {tuple(row) for row in nan.all(dim=2).tolist()}
    assert seen == {(False, False), (True, False), (False, True)}


def test_what_is_absent_in_a_step_depends_on_seed_and_step_alone(cases):
    made = batches(cases)
    expected = made[7].images
    made[1], torch.rand(3), np.random.rand(3)
    again = next(iter(stream(batches(cases), 7, 8, workers=1, pin_memory=False))).images
    assert torch.equal(expected.nan_to_num(77), again.nan_to_num(77))


def test_a_protocol_without_dropout_has_the_identity_it_had_before_dropout_existed():
    """Cells that were computed before it existed keep their identity."""
    plain = load_protocol("demo")
    assert "modality_dropout" not in plain.identity()["sampling"]
    assert set(plain.identity()["sampling"]) == {"batch_size", "foreground"}
    dropped = load_protocol({"base": "demo", "sampling": {"modality_dropout": {"p": 0.3}}})
    assert dropped.identity()["sampling"]["modality_dropout"] == {"p": 0.3, "fill": "zeros"}
    assert type(plain).model_validate(json.loads(dropped.model_dump_json())) == dropped


class Sees(nn.Module):
    """Keeps what it is given."""

    def forward(self, images):
        self.images = images
        return images


@pytest.mark.parametrize("filling", [Filling.zeros(2), Filling("mean", (0.25, -3.0)), Filling("token", (1.5, 2.0))])
def test_the_network_sees_the_filling_where_a_modality_is_absent_and_the_image_elsewhere(filling):
    sees, images = Sees(), torch.randn(3, 2, 4, 5)
    marked = torch.stack([mark_absent(one, absent) for one, absent in zip(images, [(), (0,), (1,)], strict=True)])
    FillsAbsent(sees, filling)(marked)
    assert torch.equal(sees.images[0], images[0])
    assert torch.equal(sees.images[1, 0], torch.full((4, 5), filling.values[0]))
    assert torch.equal(sees.images[1, 1], images[1, 1])
    assert torch.equal(sees.images[2, 1], torch.full((4, 5), filling.values[1]))
    assert not images.isnan().any()


def test_a_network_that_takes_them_is_told_which_modalities_are_present():
    class Told(nn.Module):
        takes_present = True

        def forward(self, images, present):
            return images, present

    images = torch.ones(2, 3, 4, 4)
    images[0, 1] = float("nan")
    filled, present = FillsAbsent(Told(), Filling("mean", (5.0, 6.0, 7.0)))(images)
    assert filled[0, 1].unique().tolist() == [6]
    assert present.tolist() == [[1, 0, 1], [1, 1, 1]]


def test_padding_around_an_absent_modality_is_filled_too():
    sees, image = Sees(), torch.full((1, 1, 2, 2), float("nan"))
    FillsAbsent(sees, Filling("mean", (7.0,)))(nn.functional.pad(image, (1, 1, 1, 1)))
    assert (sees.images == 7).all()


def test_mean_is_that_of_the_training_images(cases):
    """By z-score near 0, as the body's mean is; that of a window as of CT is not."""
    by_zscore = Normaliser.fit("zscore_train", cases)
    assert mean_images(by_zscore, cases) == pytest.approx((0, 0), abs=0.05)
    windowed = Normaliser(("ct", "zscore_train"), by_zscore.training, (Window(0, 200, 100, 50), None))
    by_hand = np.mean([(np.clip(case.images[0], 0, 200) / 50 - 2).mean() for case in cases])
    assert mean_images(windowed, cases)[0] == pytest.approx(by_hand, rel=1e-4)
    assert by_hand < -0.2
    assert filling_for("mean", windowed, cases).values == mean_images(windowed, cases)
    assert filling_for("token", windowed, cases) == Filling("token", (0.0, 0.0))


def network(fill):
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1))
    return FillsAbsent(inner, Filling(fill, (0.0, 0.0)))


def train(made, net, folder, stop=lambda: False):
    settings = TrainingSettings(epochs=2, steps_per_epoch=3, precision="fp32", refresh_batchnorm=2)
    hooks = Hooks(
        validate=lambda *_: Validation(0.5, dead=False),
        fresh_weights=dict,
        on_step=lambda _: None,
        on_epoch=lambda _: None,
        should_stop=stop,
    )
    precision = Precision.choose(CPU, settings, 2)
    history = Trainer(net, made, settings, precision, Checkpoints(folder), 0, 0, hooks).run()
    return [epoch.loss for epoch in history]


def test_a_token_is_learned_and_zeros_stay(cases, tmp_path):
    for fill, learns in (("token", True), ("zeros", False)):
        net = network(fill)
        losses = train(batches(cases, fill=fill), net, tmp_path / fill)
        assert all(np.isfinite(losses))
        assert all((value != 0) == learns for value in net.filling.values)


def test_a_training_with_dropout_that_was_stopped_continues_exactly(cases, tmp_path):
    made, whole, parts = batches(cases, fill="token"), network("token"), network("token")
    losses = train(made, whole, tmp_path / "whole")
    calls = iter(range(1, 100))
    with pytest.raises(Interrupted):
        train(made, parts, tmp_path / "parts", stop=lambda: next(calls) >= 4)
    continued = network("token")
    assert train(made, continued, tmp_path / "parts") == losses
    assert continued.filling == whole.filling
    pairs = zip(whole.state_dict().values(), continued.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_weights_keep_the_filling_beside_them_and_fit_the_network_alone(tmp_path):
    net = network("token")
    with torch.no_grad():
        net.values.copy_(torch.tensor([0.1, -1 / 3]))
    path = tmp_path / "weights.safetensors"
    save_weights(net, path, Normaliser(("zscore_train",) * 2, (), ()))
    assert read_filling(path) == net.filling
    plain = network("zeros").network
    load_weights(plain, path)
    assert torch.equal(plain[0].weight, net.network[0].weight)
    save_weights(plain, path, Normaliser(("zscore_train",) * 2, (), ()))
    assert read_filling(path) is None


def test_outputs_at_several_depths_keep_their_weights():
    deep = nn.Identity()
    deep.deep_supervision_weights = (0.7, 0.3)
    assert FillsAbsent(deep, Filling.zeros(1)).deep_supervision_weights == (0.7, 0.3)
    assert FillsAbsent(nn.Identity(), Filling.zeros(1)).deep_supervision_weights == ()
