"""A recorded step gives the numbers of the step as written, bit for bit, on a tape that stands for a CUDA graph."""

from __future__ import annotations

import random
from itertools import product

import pytest
import torch
from torch import nn

from harness.data.batches.batches import Batch
from harness.errors import RecordingError
from harness.recording.recorder import Recorder
from harness.recording.tape import TapeRecorder
from harness.training.checkpoint import Checkpoints
from harness.training.device import Precision
from harness.training.loop import Hooks, Interrupted, Trainer
from harness.training.settings import OptimiserSettings, ScheduleSettings, TrainingSettings
from harness.training.validation import Validation

CPU = torch.device("cpu")


class Steps(torch.utils.data.Dataset):
    def __getitem__(self, step):
        drawn = torch.Generator().manual_seed(step)
        return Batch(torch.randn(4, 1, 8, 8, generator=drawn), torch.randint(0, 3, (4, 8, 8), generator=drawn))


class Strict(TapeRecorder):
    """Refuses a replay after a tensor of the network has moved; counts what is done."""

    def __init__(self, network):
        super().__init__()
        self.network, self.captures, self.replays = network, 0, 0

    def addresses(self):
        return [tensor.data_ptr() for tensor in self.network.state_dict().values()]

    def capture(self, work):
        self.captures += 1
        self.where = self.addresses()
        return super().capture(work)

    def replay(self):
        assert self.addresses() == self.where
        self.replays += 1
        super().replay()


class Two(nn.Module):
    """Two outputs, as under deep supervision."""

    deep_supervision_weights = (0.7, 0.3)

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout2d(0.5))
        self.fine, self.coarse = nn.Conv2d(4, 3, 1), nn.Conv2d(4, 3, 2, stride=2)

    def forward(self, images):
        features = self.stem(images)
        return [self.fine(features), self.coarse(features)] if self.training else self.fine(features)


def settings(optimiser="sgd", **changes):
    values = {
        "epochs": 5,
        "steps_per_epoch": 2,
        "precision": "fp32",
        "refresh_batchnorm": 1,
        "optimiser": OptimiserSettings(name=optimiser, lr=0.03, momentum=0.9),
        "schedule": ScheduleSettings(per="step", warmup_epochs=1),
    }
    return TrainingSettings(**{**values, **changes})


def fresh():
    torch.manual_seed(7)
    return Two().state_dict()


def train(folder, given, recorder: type[Recorder] | None = None, parts=1, stop=lambda: False, dead=False, net=None):
    torch.manual_seed(0)
    network = net or Two()
    hooks = Hooks(lambda *_: Validation(0.5, dead), fresh, lambda _: None, lambda _: None, stop)
    precision, kept = Precision.choose(CPU, given, 2), Checkpoints(folder)
    records = recorder(network) if recorder is not None else None
    trainer = Trainer(network, Steps(), given, precision, kept, 0, 0, hooks, parts, recorder=records)
    losses = [epoch.loss for epoch in trainer.run()]
    state = kept.load()["optimiser"]["state"]
    tensors = [*network.state_dict().values(), *(value for one in state.values() for value in one.values())]
    return losses, tensors, records


def assert_same(one, other):
    assert one[0] == other[0]
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(one[1], other[1], strict=True))


#: Each optimiser, precision and number of parts in every run; the other combinations are slow.
QUICK = {("sgd", "fp32", 1), ("sgd", "fp16", 2), ("adam", "bf16", 2), ("adam", "fp16", 1), ("adamw", "fp32", 2)}


@pytest.mark.parametrize(
    ("optimiser", "precision", "parts"),
    [
        pytest.param(*one, marks=() if one in QUICK else pytest.mark.slow)
        for one in product(("sgd", "adam", "adamw"), ("fp32", "bf16", "fp16"), (1, 2))
    ],
)
def test_recorded_steps_give_the_numbers_of_eager_ones(tmp_path, optimiser, precision, parts):
    """Over a schedule that changes the rate each step, with dropout, BatchNorm, clipping and, in fp16, skips."""
    given = settings(optimiser, precision=precision)
    eager = train(tmp_path / "eager", given, parts=parts)
    recorded = train(tmp_path / "recorded", given, Strict, parts)
    assert_same(eager, recorded)
    assert (recorded[2].captures, recorded[2].replays) == (1, 7)
    assert len(set(eager[0])) == 5, "the loss moves"


@pytest.mark.parametrize("restart", ["everything", "convolutions"])
def test_a_restart_is_recorded_anew(tmp_path, restart):
    given = settings(restart_if_dead_at=2, validate_every=1, restart=restart, epochs=6)
    eager = train(tmp_path / "eager", given, dead=True)
    recorded = train(tmp_path / "recorded", given, Strict, dead=True)
    assert_same(eager, recorded)
    assert recorded[2].captures == 2


@pytest.mark.parametrize(
    ("after", "modes", "optimiser"),
    [
        (2, (Strict, Strict), "sgd"),
        (5, (Strict, Strict), "adam"),
        (7, (Strict, None), "sgd"),
        (5, (None, Strict), "adam"),
    ],
)
def test_a_training_that_goes_on_recorded_or_not_ends_alike(tmp_path, after, modes, optimiser):
    given = settings(optimiser, precision="fp16")
    whole = train(tmp_path / "whole", given)
    calls = iter(range(1, 100))
    with pytest.raises(Interrupted):
        train(tmp_path / "parts", given, modes[0], stop=lambda: next(calls) >= after)
    assert_same(whole, train(tmp_path / "parts", given, modes[1]))


def test_the_rate_stays_a_number_on_a_cpu(tmp_path):
    """So that what earlier versions stored and what they read stays the same."""
    train(tmp_path, settings())
    assert isinstance(Checkpoints(tmp_path).load()["optimiser"]["param_groups"][0]["lr"], float)


class Reads(Two):
    def forward(self, images):
        return super().forward(images / images.std().item())


class Draws(Two):
    def forward(self, images):
        return super().forward(images * random.uniform(0.9, 1.1))


@pytest.mark.parametrize(("culprit", "words"), [(Reads, "reads a value back"), (Draws, "draws from `random`")])
def test_a_network_that_needs_the_host_is_refused_before_anything_is_trained(tmp_path, culprit, words):
    network = culprit()
    before = [tensor.clone() for tensor in network.state_dict().values()]
    with pytest.raises(RecordingError, match=words) as error:
        train(tmp_path, settings(), Strict, net=network)
    assert "eager" in error.value.hint
    assert all(map(torch.equal, before, network.state_dict().values()))
    assert not Checkpoints(tmp_path).exist()


class Large(Two):
    def forward(self, images):
        assert len(images) <= 2, "there is no memory for more"
        return super().forward(images)


def test_a_batch_that_fits_only_in_parts_is_never_seen_whole(tmp_path):
    _, _, recorder = train(tmp_path, settings(refresh_batchnorm=0), Strict, parts=2, net=Large())
    assert recorder.captures == 1
