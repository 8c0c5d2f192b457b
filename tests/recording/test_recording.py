"""Recording: what a tape on a CPU shows of CUDA graphs, and what the host may not do."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from harness.errors import RecordingError
from harness.recording.host_contact import host_contact
from harness.recording.tape import TapeRecorder
from harness.recording.work import WARM_UP, RecordedWork

CPU = torch.device("cpu")


class Counting(TapeRecorder):
    """Says what is done."""

    def __init__(self):
        super().__init__()
        self.log = []

    def warm_up(self, work):
        self.log.append("warm up")
        return super().warm_up(work)

    def capture(self, work):
        self.log.append("capture")
        return super().capture(work)

    def replay(self):
        self.log.append("replay")
        super().replay()


def test_work_is_warmed_up_recorded_once_and_replayed():
    recorder = Counting()
    doubled = RecordedWork(lambda values: values * 2, recorder)
    results = [doubled(torch.full((2,), float(turn))) for turn in range(6)]
    assert [result.tolist() for result in results] == [[2.0 * turn] * 2 for turn in range(6)]
    assert recorder.log == ["warm up"] * WARM_UP + ["capture"] + ["replay"] * 3


def test_another_size_is_done_as_written_and_leaves_the_recording():
    recorder = Counting()
    doubled = RecordedWork(lambda values: values * 2, recorder)
    for _ in range(WARM_UP + 1):
        doubled(torch.ones(2))
    assert doubled(torch.ones(3)).tolist() == [2.0] * 3
    assert doubled(torch.full((2,), 4.0)).tolist() == [8.0] * 2
    assert recorder.log.count("capture") == 1


def test_after_an_invalidation_it_is_recorded_anew():
    recorder = Counting()
    doubled = RecordedWork(lambda values: values * 2, recorder)
    for _ in range(WARM_UP + 1):
        doubled(torch.ones(2))
    doubled.invalidate()
    assert doubled(torch.ones(3)).tolist() == [2.0] * 3
    assert recorder.log[-1] == "warm up"


def test_a_capture_changes_nothing():
    values, noise = torch.zeros(3), nn.Dropout()
    tape = TapeRecorder()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    tape.capture(lambda: values.add_(noise(torch.ones(3))))
    assert values.tolist() == [0.0] * 3
    assert torch.equal(torch.get_rng_state(), state)
    tape.replay()
    assert values.any()


def test_random_numbers_go_on_from_the_seed_of_the_replay():
    tape = TapeRecorder()
    noise = nn.Dropout()
    result = tape.capture(lambda: noise(torch.ones(64)))
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        tape.replay()
        torch.manual_seed(seed)
        assert torch.equal(result, noise(torch.ones(64)))


def test_numbers_of_python_are_frozen_as_in_a_graph():
    tape, total, factors = TapeRecorder(), torch.zeros(()), iter([1.0, 10.0, 100.0])
    tape.capture(lambda: total.add_(torch.ones(()), alpha=next(factors)))
    tape.replay()
    tape.replay()
    assert total == 2.0


@pytest.mark.parametrize(
    "reads",
    [
        lambda values: values * values.mean().item(),
        lambda values: values if values.any() else -values,
        lambda values: values[values > 0].sum(),
        lambda values: values.nonzero(),
        lambda values: torch.equal(values, values) and values,
    ],
)
def test_a_value_that_is_read_back_is_refused(reads):
    with pytest.raises(RecordingError, match="back from the device"):
        TapeRecorder().capture(lambda: reads(torch.ones(4)))


@pytest.mark.parametrize("inference", [False, True])
def test_a_copy_that_an_operator_makes_where_a_view_cannot_be_had_is_recorded(inference):
    values, tape = torch.zeros(2, 3), TapeRecorder()
    with torch.inference_mode(inference):
        turned = tape.capture(lambda: values.t().reshape(6))
        values += torch.arange(6.0).reshape(2, 3)
        tape.replay()
    assert turned.tolist() == [0, 3, 1, 4, 2, 5]


class Draws(nn.Conv2d):
    def __init__(self, draw):
        super().__init__(1, 1, 1)
        self.draw = draw

    def forward(self, images):
        self.draw(images)
        return super().forward(images)


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda _: random.random(), "`random`"),
        (lambda _: np.random.rand(), "`numpy.random`"),
        (lambda images: images.mean().item(), "`0` (Draws) reads a value"),
        (lambda images: images[images > 0], "`0` (Draws) indexes by a mask"),
        (lambda images: images.unique(), "whose size is read back"),
    ],
)
def test_what_the_host_does_is_named_with_its_module(draw, words):
    network = nn.Sequential(Draws(draw), nn.ReLU())
    with host_contact(network, CPU) as found:
        network(torch.ones(1, 1, 4, 4))
    assert len(found) == 1
    assert words in found[0]


def test_a_network_that_stays_on_the_device_is_left_alone():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout2d(), nn.ReLU())
    with host_contact(network, CPU) as found:
        network(torch.ones(1, 1, 4, 4))
    assert found == []


def constant(device):
    """What ``torch.tensor([1.0], device=...)`` shows on a GPU: the copy is made out of sight, then this follows."""
    return torch.ops.aten.lift_fresh(torch.empty(1, device=device))


@pytest.mark.parametrize("makes", [constant, lambda device: torch.ones(1).to(device)])
def test_numbers_that_are_sent_to_the_device_are_seen(makes):
    """On torch's ``meta`` device, which stands for one that is not the host's."""
    network = Draws(lambda images: makes(images.device)).to("meta")
    with host_contact(network, torch.device("meta")) as found:
        network(torch.ones(1, 1, 4, 4, device="meta"))
    assert len(found) == 1
    assert "from the host" in found[0]
