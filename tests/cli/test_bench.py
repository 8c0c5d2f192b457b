"""``harness bench``: a network that cannot be measured costs its own row only."""

from __future__ import annotations

from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch

from harness.diagnostics import bench as module
from harness.diagnostics.bench import Measured, Setup, bench
from harness.errors import HarnessError

ENDS = {
    "large": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB\nmore"),
    "killed": BrokenProcessPool("A process in the process pool was terminated abruptly"),
    "refused": HarnessError("It has no preset.", hint="Choose another."),
    "good": Measured("good", "Good", 1, 1.0, 0.1, 0.2, 3.0, "cpu"),
}


class Pool:
    """A pool whose tasks end as :data:`ENDS` says."""

    def __init__(self, *_, **__):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, _, name, __):
        ended = Future()
        if isinstance(ENDS[name], Exception):
            ended.set_exception(ENDS[name])
        else:
            ended.set_result(ENDS[name])
        return ended


@pytest.mark.parametrize(
    ("name", "said"), [("large", "CUDA out of memory"), ("killed", "BrokenProcessPool"), ("refused", "no preset")]
)
def test_one_that_cannot_be_measured_is_left_out_with_its_reason(monkeypatch, name, said):
    monkeypatch.setattr(module, "ProcessPoolExecutor", Pool)
    told = {}
    assert bench([name, "good"], Setup(), told.__setitem__) == [ENDS["good"]]
    assert isinstance(told[name], HarnessError)
    assert said in told[name].message
    assert "\n" not in told[name].message
    assert told[name].hint
