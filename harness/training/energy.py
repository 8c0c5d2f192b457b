"""Energy consumption of a GPU, from its own counter (NVML); none without a GPU, NVML or a counter."""

import importlib
from typing import Any

import torch

_MILLIJOULES_PER_WH = 3.6e6


class EnergyMeter:
    """Counts from when it is made. Cells that share a GPU are each counted the whole GPU.

    Args:
        device: Device that computes the cell.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._start = self._millijoules()

    def wh(self) -> float | None:
        """Returns Wh since the start; None where they are not known."""
        now = self._millijoules()
        return None if now is None or self._start is None else (now - self._start) / _MILLIJOULES_PER_WH

    def _millijoules(self) -> int | None:
        if self._device.type != "cuda":
            return None
        try:
            nvml: Any = importlib.import_module("pynvml")  # the package nvidia-ml-py, an optional one
        except ImportError:
            return None
        try:
            nvml.nvmlInit()
            uuid = f"GPU-{torch.cuda.get_device_properties(self._device).uuid}"
            return int(nvml.nvmlDeviceGetTotalEnergyConsumption(nvml.nvmlDeviceGetHandleByUUID(uuid)))
        except nvml.NVMLError:  # cards before Volta have no counter
            return None
