"""What runs on a CUDA GPU: ``pytest -m cuda``. Without one everything here is skipped, with that reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from harness.recording.recorder import CudaRecorder, Recorder
from harness.training.determinism import set_determinism


@pytest.fixture
def gpu() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU: nothing of this is proven on this machine")
    return torch.device("cuda", 0)


@pytest.fixture
def recorder(gpu: torch.device) -> Callable[[], Recorder]:
    return lambda: CudaRecorder(gpu)


@pytest.fixture
def strict(gpu: torch.device) -> Iterator[None]:
    set_determinism("strict", gpu)
    yield
    set_determinism("fast", gpu)
