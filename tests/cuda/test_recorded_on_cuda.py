"""Recorded steps on a GPU: the numbers of eager ones, for every network, and what a recording must not do."""

from __future__ import annotations

import subprocess
import sys
from itertools import count

import pytest
import torch
from torch import nn

from harness.data.batches.batches import Batch
from harness.inference.recorded_windows import RecordedWindows
from harness.recording.work import WARM_UP, RecordedWork
from harness.segmenters import SEGMENTERS, Task
from harness.training.checkpoint import Checkpoints
from harness.training.device import Precision
from harness.training.energy import EnergyMeter
from harness.training.loop import Hooks, Interrupted, Trainer
from harness.training.settings import OptimiserSettings, TrainingSettings
from harness.training.step import TrainingStep
from harness.training.validation import Validation

pytestmark = pytest.mark.cuda

NETWORKS = [name for name in SEGMENTERS.names() if not SEGMENTERS.get(name).runner]
TASK = Task(("a", "b"), 0, 3, (64, 64))


def batch_of(step, device, precision):
    drawn = torch.Generator().manual_seed(step)
    images = torch.randn(2, 2, 64, 64, generator=drawn).to(device)
    labels = torch.randint(0, 3, (2, 64, 64), generator=drawn).to(device)
    return Batch(images.contiguous(memory_format=precision.memory_format), labels)


def network_of(name, device):
    torch.manual_seed(0)
    segmenter = SEGMENTERS.get(name)
    options = {"preset": "tiny"} if "tiny" in segmenter.presets else {}
    return segmenter.build(TASK, options).to(device).train()


def small(device):
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.5), nn.Conv2d(8, 3, 1)
    return nn.Sequential(*layers).to(device).train()


def losses(network, device, recorder, steps=50, optimiser="sgd", precision="fp32", parts=1):
    """Returns the loss of every step, and the weights at the end."""
    given = TrainingSettings(precision=precision, optimiser=OptimiserSettings(name=optimiser, lr=1e-3))
    chosen = Precision.choose(device, given, 2)
    step = TrainingStep(network, given, chosen, parts, recorder=recorder)
    curve = []
    for number in range(steps):
        step(batch_of(number, device, chosen), 1e-3 * (1 - number / 100), number)
        curve.append(float(step.loss_sum))
        step.loss_sum.zero_()
    step.release()
    return torch.tensor(curve), [tensor.detach().clone() for tensor in network.state_dict().values()]


def distance(one, other):
    return float((one[0] - other[0]).abs().max())


@pytest.mark.parametrize("name", NETWORKS)
def test_recorded_is_as_near_to_eager_as_eager_to_itself(gpu, recorder, name):
    eager, again = (losses(network_of(name, gpu), gpu, None) for _ in range(2))
    recorded = losses(network_of(name, gpu), gpu, recorder())
    assert recorded[0][0] == pytest.approx(float(eager[0][0]), rel=1e-5)
    assert distance(recorded, eager) <= 3 * distance(again, eager) + 1e-5


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
def test_strict_steps_are_equal_bit_for_bit_recorded_or_not(gpu, recorder, optimiser, precision, parts):
    """In fp16 the first steps are skipped by the scaler; the rate changes each step; dropout is drawn anew."""
    how = {"steps": 12, "optimiser": optimiser, "precision": precision, "parts": parts}
    eager, recorded, again = (losses(small(gpu), gpu, made, **how) for made in (None, recorder(), recorder()))
    assert torch.equal(recorded[0], again[0])
    assert torch.equal(recorded[0], eager[0])
    assert all(map(torch.equal, eager[1], recorded[1]))


class Steps(torch.utils.data.Dataset):
    def __getitem__(self, step):
        drawn = torch.Generator().manual_seed(step)
        return Batch(torch.randn(2, 2, 64, 64, generator=drawn), torch.randint(0, 3, (2, 64, 64), generator=drawn))


@pytest.mark.usefixtures("strict")
def test_a_strict_training_that_was_stopped_goes_on_bit_for_bit(gpu, recorder, tmp_path):
    given = TrainingSettings(epochs=4, steps_per_epoch=5, precision="fp16", optimiser=OptimiserSettings(lr=1e-3))

    def train(folder, stop):
        network, precision = small(gpu), Precision.choose(gpu, given, 2)
        hooks = Hooks(lambda *_: Validation(0.5, dead=False), dict, lambda _: None, lambda _: None, stop)
        trainer = Trainer(network, Steps(), given, precision, Checkpoints(folder), 0, 1, hooks, recorder=recorder())
        return [epoch.loss for epoch in trainer.run()], list(network.state_dict().values())

    whole = train(tmp_path / "whole", lambda: False)
    calls = count(1)
    with pytest.raises(Interrupted):
        train(tmp_path / "parts", lambda: next(calls) >= 12)
    parts = train(tmp_path / "parts", lambda: False)
    assert whole[0] == parts[0]
    assert all(map(torch.equal, whole[1], parts[1]))


def test_a_seed_that_is_set_before_a_replay_acts(gpu, recorder):
    noise = RecordedWork(lambda values: nn.functional.dropout(values), recorder())
    ones, drawn = torch.ones(1000, device=gpu), []
    for seed in [0] * (WARM_UP + 1) + [1, 2, 1]:
        torch.manual_seed(seed)
        drawn.append(noise(ones))
    first, other, again = drawn[-3:]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.manual_seed(1)
    assert torch.equal(first, nn.functional.dropout(ones))


def test_a_capture_executes_nothing(gpu, recorder):
    total, made = torch.zeros((), device=gpu), recorder()
    made.capture(lambda: total.add_(1))
    assert total.item() == 0
    made.replay()
    made.replay()
    assert total.item() == 2


FAILS = """
import torch
from harness.errors import RecordingError
from harness.recording.recorder import CudaRecorder
values = torch.ones(4, device="cuda:0")
try:
    CudaRecorder(values.device).capture(lambda: values * values.sum().item())
except RecordingError as error:
    print(error.message)
"""


@pytest.mark.usefixtures("gpu")
def test_a_capture_that_fails_says_what_failed():
    """In a process of its own: it may leave memory that cannot be used."""
    done = subprocess.run([sys.executable, "-c", FAILS], capture_output=True, text=True, check=True)
    assert "CUDA graph" in done.stdout


@pytest.mark.parametrize("name", NETWORKS)
def test_windows_of_every_network_can_be_recorded(gpu, recorder, name):
    network = network_of(name, gpu).eval()
    recorded = RecordedWindows(network, recorder()).eval()
    with torch.inference_mode():
        for size in (2, 2, 2, 1):
            windows = torch.randn(size, 2, 64, 64, device=gpu)
            assert torch.allclose(recorded(windows), network(windows), atol=1e-3)


def test_a_recordings_memory_is_freed(gpu, recorder):
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved(gpu)
    losses(small(gpu), gpu, recorder(), steps=6)
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved(gpu) <= before + 64e6  # libraries keep work spaces


def test_energy_is_counted_or_not_known(gpu):
    used = EnergyMeter(gpu).wh()
    assert used is None or used >= 0
