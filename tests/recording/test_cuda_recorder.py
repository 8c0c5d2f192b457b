"""The recorder of CUDA graphs, with an invented torch.cuda: there is no GPU where the tests run."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from harness.errors import RecordingError
from harness.recording.recorder import CudaRecorder

GPU = torch.device("cuda", 0)


class Stream:
    def __init__(self, name):
        self.name = name

    def wait_stream(self, other):
        LOG.append(f"{self.name} waits for {other.name}")


class Graph:
    def replay(self):
        LOG.append("replay")

    def reset(self):
        LOG.append("reset")


LOG: list[str] = []


@pytest.fixture
def recorder(monkeypatch):
    LOG.clear()

    @contextmanager
    def stream(chosen):
        LOG.append(f"on {chosen.name}")
        yield

    @contextmanager
    def graph(_, stream, capture_error_mode):
        LOG.append(f"capture on {stream.name}, {capture_error_mode}")
        try:
            yield
        finally:
            LOG.append("end")

    invented = SimpleNamespace(
        Stream=lambda _: Stream("side"),
        CUDAGraph=Graph,
        current_stream=lambda _: Stream("main"),
        stream=stream,
        graph=graph,
        synchronize=lambda _: LOG.append("synchronise"),
    )
    monkeypatch.setattr(torch, "cuda", invented)
    return CudaRecorder(GPU)


def test_warm_up_and_capture_share_a_stream_of_their_own(recorder):
    recorder.warm_up(lambda: LOG.append("work"))
    assert LOG == ["side waits for main", "on side", "work", "main waits for side"]
    LOG.clear()
    recorder.capture(lambda: LOG.append("work"))
    recorder.replay()
    recorder.invalidate()
    recorder.invalidate()
    assert LOG == ["capture on side, thread_local", "work", "end", "replay", "synchronise", "reset"]


def test_what_went_wrong_first_is_told(recorder, monkeypatch):
    @contextmanager
    def graph(*_, **__):
        try:
            yield
        finally:
            raise RuntimeError("the capture was invalidated")

    monkeypatch.setattr(torch.cuda, "graph", graph)
    with pytest.raises(RecordingError, match="OutOfMemoryError: no room"):
        recorder.capture(lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("no room\nmore")).__next__())
