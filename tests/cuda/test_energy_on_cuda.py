"""The energy counter of a real card."""

from __future__ import annotations

import time

import pytest
import torch

from harness.training.energy import EnergyMeter

pytestmark = pytest.mark.cuda


def test_a_second_of_work_takes_between_a_few_and_two_thousand_watts(gpu):
    pytest.importorskip("pynvml", reason="the package nvidia-ml-py is not installed: no energy is counted")
    meter, began = EnergyMeter(gpu), time.monotonic()
    if meter.wh() is None:
        pytest.skip("this card has no energy counter")
    one = torch.randn(4096, 4096, device=gpu)
    while time.monotonic() - began < 1:
        one = one @ one / 64
        torch.cuda.synchronize(gpu)
    watts = meter.wh() * 3600 / (time.monotonic() - began)
    assert 5 < watts < 2000
