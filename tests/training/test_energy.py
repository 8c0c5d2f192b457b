"""Energy by NVML's counter, with an invented NVML: there is no GPU where the tests run."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from harness.training.energy import EnergyMeter


class NVMLError(Exception):
    pass


def invented(readings, fails: bool = False):
    def total(handle: str) -> int:
        assert handle == "handle of GPU-u-1"
        if fails:
            raise NVMLError
        return next(readings)

    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: f"handle of {uuid}",
        nvmlDeviceGetTotalEnergyConsumption=total,
    )


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="u-1"))
    return torch.device("cuda:0")


def test_the_difference_of_two_readings_is_in_watt_hours(gpu, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", invented(iter([1_000, 7_201_000])))
    assert EnergyMeter(gpu).wh() == pytest.approx(2.0)


def test_a_card_without_a_counter_and_a_machine_without_nvml_say_nothing(gpu, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", invented(iter([]), fails=True))
    assert EnergyMeter(gpu).wh() is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert EnergyMeter(gpu).wh() is None


def test_a_cpu_has_no_counter():
    assert EnergyMeter(torch.device("cpu")).wh() is None
