"""Windows from one recording: the numbers of the network as written, for every case and after every update."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.errors import RecordingError
from harness.inference.recorded_windows import RecordedWindows
from harness.inference.settings import InferenceSettings
from harness.inference.sliding_window import predict_probabilities
from harness.recording.tape import TapeRecorder


class Counting(TapeRecorder):
    captures = 0

    def capture(self, work):
        self.captures += 1
        return super().capture(work)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1)).eval()


@pytest.mark.parametrize("mirror_axes", [(), (0, 1)])
def test_every_case_and_its_last_windows_come_from_one_recording(mirror_axes):
    plain, recorder = network(), Counting()
    recorded = RecordedWindows(plain, recorder, 4).eval()
    settings = InferenceSettings(batch_size=4, mirror_axes=mirror_axes)
    for depth in (9, 4, 2, 7):
        images = torch.randn(2, depth, 24, 20)
        expected = predict_probabilities(plain, images, (16, 16), settings)
        found = predict_probabilities(recorded, images, (16, 16), settings)
        assert torch.allclose(found, expected, atol=1e-6)
    assert recorder.captures == 1


def test_whole_batches_give_equal_bits_also_after_the_weights_have_changed():
    plain = network()
    recorded = RecordedWindows(plain, TapeRecorder(), 3).eval()
    with torch.inference_mode():
        for turn in range(4):
            windows = torch.randn(3, 2, 16, 16)
            assert torch.equal(recorded(windows), plain(windows))
            plain[0].weight.data.mul_(1.0 + turn)
            plain[1].running_mean.add_(0.1)


def test_more_windows_than_at_first_are_computed_as_written():
    plain, recorder = network(), Counting()
    recorded = RecordedWindows(plain, recorder, 2).eval()
    with torch.inference_mode():
        for count in (2, 2, 2, 5, 2):
            windows = torch.randn(count, 2, 16, 16)
            assert torch.equal(recorded(windows), plain(windows))
    assert recorder.captures == 1


def test_a_network_that_reads_is_refused():
    class Reads(nn.Conv2d):
        def forward(self, images):
            return super().forward(images) * images.mean().item()

    with torch.inference_mode(), pytest.raises(RecordingError, match=r"in evaluation mode, .*reads a value"):
        RecordedWindows(Reads(2, 3, 1), TapeRecorder(), 1).eval()(torch.ones(1, 2, 4, 4))
