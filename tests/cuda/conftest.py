"""What runs on a CUDA GPU: ``pytest -m cuda``.

Tests that take a device run on a CPU too, in a small form and with a list of operators for the CUDA graph: that shows
that the tests are right. Only the GPU's variants, which bear the mark ``cuda``, say something about a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from harness.recording.recorder import CudaRecorder, Recorder
from harness.recording.tape import TapeRecorder
from harness.training.determinism import set_determinism


@pytest.fixture
def gpu() -> torch.device:
    return torch.device("cuda", 0)


@pytest.fixture(params=["cpu", pytest.param("cuda:0", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


@pytest.fixture
def recorder(device: torch.device) -> Callable[[], Recorder]:
    return lambda: CudaRecorder(device) if device.type == "cuda" else TapeRecorder()


@pytest.fixture
def strict(device: torch.device) -> Iterator[None]:
    set_determinism("strict", device)
    yield
    set_determinism("fast", device)
