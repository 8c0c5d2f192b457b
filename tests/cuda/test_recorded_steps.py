"""Recorded steps: the numbers of eager ones, for every network, and what a recording must not do."""

from __future__ import annotations

import subprocess
import sys
from itertools import count, pairwise

import pytest
import torch
from torch import nn

from harness.data.batches.batches import Batch
from harness.inference.recorded_windows import RecordedWindows
from harness.recording.recorder import CudaRecorder
from harness.recording.work import WARM_UP, RecordedWork
from harness.segmenters import SEGMENTERS, Task
from harness.segmenters.conformance import cases
from harness.training.checkpoint import Checkpoints
from harness.training.device import Precision
from harness.training.loop import Hooks, Interrupted, Trainer
from harness.training.settings import OptimiserSettings, TrainingSettings
from harness.training.step import TrainingStep
from harness.training.validation import Validation

TASK = Task(("a", "b"), None, 3, (16, 16))

#: Every network in every dimension on a GPU, a small one on a CPU.
NETWORKS = [
    pytest.param(name, dims, "cuda:0", marks=pytest.mark.cuda, id=f"{name}-{dims}d")
    for name in SEGMENTERS.names()
    if not SEGMENTERS.get(name).runner
    for dims in sorted(SEGMENTERS.get(name).spatial_dims)
]
EVERY_NETWORK = pytest.mark.parametrize(
    ("name", "dims", "device"), [pytest.param("", 2, "cpu", id="small-cpu"), *NETWORKS], indirect=["device"]
)


def small(device):
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.5), nn.Conv2d(8, 3, 1)
    return nn.Sequential(*layers).to(device).train()


def network_of(name, dims, device):
    """Returns a network in training mode, the same at each call, and its task; without a name the small one."""
    if not name:
        return small(device), TASK
    segmenter = SEGMENTERS.get(name)
    case = [case for case in cases(segmenter) if case.task.spatial_dims == dims][-1]
    torch.manual_seed(0)
    return segmenter.build(case.task, case.options).to(device).train(), case.task


def batch_of(number, task, precision):
    drawn = torch.Generator().manual_seed(number)
    images = torch.randn(2, task.in_channels, *task.patch_size, generator=drawn).to(precision.device)
    labels = torch.randint(0, task.out_channels, (2, *task.patch_size), generator=drawn).to(precision.device)
    return Batch(images.contiguous(memory_format=precision.memory_format), labels)


def losses(network, task, device, recorder, steps=50, optimiser="sgd", precision="fp32", parts=1):
    """Returns the loss of every step, and the weights at the end."""
    given = TrainingSettings(precision=precision, optimiser=OptimiserSettings(name=optimiser, lr=1e-3))
    chosen = Precision.choose(device, given, task.spatial_dims)
    step = TrainingStep(network, given, chosen, parts, recorder=recorder)
    curve = []
    for number in range(steps):
        step(batch_of(number, task, chosen), 1e-3 * (1 - number / 100), number)
        curve.append(float(step.loss_sum))
        step.loss_sum.zero_()
    step.release()
    return torch.tensor(curve), [tensor.detach().clone() for tensor in network.state_dict().values()]


def distance(one, other):
    return float((one[0] - other[0]).abs().max())


@EVERY_NETWORK
def test_recorded_is_as_near_to_eager_as_eager_to_itself(name, dims, device, recorder):
    steps = 50 if name else 8
    eager, again = (losses(*network_of(name, dims, device), device, None, steps) for _ in range(2))
    recorded = losses(*network_of(name, dims, device), device, recorder(), steps)
    assert recorded[0][0] == pytest.approx(float(eager[0][0]), rel=1e-5)
    assert distance(recorded, eager) <= 3 * distance(again, eager) + 1e-5


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("device", [pytest.param("cuda:0", marks=pytest.mark.cuda)], indirect=True)
def test_strict_steps_are_equal_bit_for_bit_recorded_or_not(device, recorder, optimiser, precision, parts):
    """The rate changes each step and dropout is drawn anew; on a CPU tests/training/test_recorded_step.py does it."""
    how = {"steps": 12, "optimiser": optimiser, "precision": precision, "parts": parts}
    eager, recorded, again = (
        losses(small(device), TASK, device, made, **how) for made in (None, recorder(), recorder())
    )
    assert torch.equal(recorded[0], again[0])
    assert torch.equal(recorded[0], eager[0])
    assert all(map(torch.equal, eager[1], recorded[1]))


def weights_while_overflowing(device, recorder, steps=40):
    """Returns the weights after each step in float16, from a loss scale that is too large, and the scale at the end."""
    given = TrainingSettings(precision="fp16", optimiser=OptimiserSettings(lr=1e-3))
    precision, network = Precision.choose(device, given, 2), small(device)
    step = TrainingStep(network, given, precision, recorder=recorder)
    state = step.state_dict()
    step.load_state_dict({**state, "scaler": {**state["scaler"], "scale": 2.0**40}})
    seen = []
    for number in range(steps):
        step(batch_of(number, TASK, precision), 1e-3, number)
        seen.append(network[0].weight.detach().clone())
    return seen, step.state_dict()["scaler"]["scale"]


@pytest.mark.usefixtures("strict")
def test_steps_that_overflow_are_skipped_in_the_recording_too(device, recorder):
    (eager, scale), (recorded, recorded_scale) = (
        weights_while_overflowing(device, made) for made in (None, recorder())
    )
    moved = [not torch.equal(*pair) for pair in pairwise(recorded)]
    assert not any(moved[: WARM_UP + 2]), "steps are skipped as written and in the recording"
    assert all(moved[-5:]), "then they act"
    assert recorded_scale == scale == 2.0 ** (40 - 1 - moved.count(False))
    assert all(map(torch.equal, eager, recorded))


class Steps(torch.utils.data.Dataset):
    def __getitem__(self, step):
        drawn = torch.Generator().manual_seed(step)
        return Batch(torch.randn(2, 2, 16, 16, generator=drawn), torch.randint(0, 3, (2, 16, 16), generator=drawn))


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("device", [pytest.param("cuda:0", marks=pytest.mark.cuda)], indirect=True)
def test_a_strict_training_that_was_stopped_goes_on_bit_for_bit(device, recorder, tmp_path):
    """Beside a thread that pins memory; on a CPU tests/training/test_recorded_step.py does it."""
    given = TrainingSettings(epochs=4, steps_per_epoch=5, precision="fp16", optimiser=OptimiserSettings(lr=1e-3))

    def train(folder, stop):
        network, precision = small(device), Precision.choose(device, given, 2)
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


def test_a_seed_that_is_set_before_a_replay_acts(device, recorder):
    noise = RecordedWork(lambda values: nn.functional.dropout(values), recorder())
    ones, drawn = torch.ones(1000, device=device), []
    for seed in [0] * (WARM_UP + 1) + [1, 2, 1]:
        torch.manual_seed(seed)
        drawn.append(noise(ones))
    first, other, again = drawn[-3:]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.manual_seed(1)
    assert torch.equal(first, nn.functional.dropout(ones))


def test_a_capture_executes_nothing(device, recorder):
    total, made = torch.zeros((), device=device), recorder()
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


@pytest.mark.cuda
def test_a_capture_that_fails_says_what_failed():
    """In a process of its own: it may leave memory that cannot be used."""
    done = subprocess.run([sys.executable, "-c", FAILS], capture_output=True, text=True, check=True)
    assert "CUDA graph" in done.stdout


@EVERY_NETWORK
def test_windows_can_be_recorded(name, dims, device, recorder):
    network, task = network_of(name, dims, device)
    recorded = RecordedWindows(network.eval(), recorder(), 2).eval()
    with torch.inference_mode():
        for size in (2, 2, 2, 1):
            windows = torch.randn(size, task.in_channels, *task.patch_size, device=device)
            assert torch.allclose(recorded(windows), network(windows), atol=1e-3)


@pytest.mark.cuda
def test_a_recordings_memory_is_freed(gpu):
    """Else a cell would be tested beside the memory of a recording that nobody replays any more."""

    def reserved():
        torch.cuda.synchronize(gpu)
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved(gpu)

    losses(small(gpu), TASK, gpu, CudaRecorder(gpu), steps=6)  # libraries take their work spaces
    before = reserved()
    losses(small(gpu), TASK, gpu, CudaRecorder(gpu), steps=6)
    assert reserved() <= before + 64e6
