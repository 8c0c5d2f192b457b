"""What a cell runs on, and the precision of its arithmetic there."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from harness.cores import cores
from harness.gpu_driver import require_usable_gpus
from harness.training.settings import TrainingSettings


@dataclass(frozen=True)
class Precision:
    """Device, precision and memory format of a training run.

    Attributes:
        device: Device of the tensors.
        half: Type of mixed precision, or None for plain float32.
        memory_format: Memory format of inputs and weights.
    """

    device: torch.device
    half: torch.dtype | None
    memory_format: torch.memory_format

    @classmethod
    def choose(cls, device: torch.device, settings: TrainingSettings, spatial_dims: int) -> Precision:
        """Applies the settings to a device."""
        half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(settings.precision)
        if settings.precision == "auto" and device.type == "cuda":
            # Older cards emulate bf16, slower than float32; they have fast fp16.
            native = torch.cuda.is_bf16_supported(including_emulation=False)
            half = torch.bfloat16 if native else torch.float16
        last = torch.channels_last if spatial_dims == 2 else torch.channels_last_3d
        return cls(device, half, last if settings.channels_last else torch.contiguous_format)

    def to_memory_format(self, network: nn.Module) -> nn.Module:
        """Brings the weights of a network to the memory format, in place; returns it.

        The format is one of as many dimensions as images have. Weights of another number stay as they are: torch
        refuses them (a 2D convolution within a 3D network, say).
        """
        dims = {torch.channels_last: 4, torch.channels_last_3d: 5}.get(self.memory_format)
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.ndim == dims:
                tensor.data = tensor.data.to(memory_format=self.memory_format)
        return network

    @property
    def needs_scaler(self) -> bool:
        """float16 gradients underflow without loss scaling."""
        return self.half == torch.float16

    @property
    def name(self) -> str:
        """What ``auto`` came to: fp32, bf16 or fp16."""
        return {torch.bfloat16: "bf16", torch.float16: "fp16"}[self.half] if self.half is not None else "fp32"

    def autocast(self) -> AbstractContextManager[object]:
        """Returns the context forward passes run in."""
        if self.half is None:
            return nullcontext()
        # A recording cannot hold weights that were cast in an earlier pass, and eager steps shall round alike.
        cached = False if self.device.type == "cuda" else None
        return torch.autocast(self.device.type, dtype=self.half, cache_enabled=cached)


def choose_device(name: str | None = None) -> torch.device:
    """Returns the named device; without a name the first CUDA device, else the CPU. A GPU bears its number.

    Raises:
        UnusableGpuError: No device is named, and torch cannot use the GPU of this machine.
    """
    if name is None and not torch.cuda.is_available():
        require_usable_gpus()
    device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    return torch.device("cuda", 0) if device == torch.device("cuda") else device


def spare_cores(device: torch.device) -> int:
    """Returns the cores of a cell beside the one that drives its GPU; on a CPU none: the network itself uses them.

    A cell sees its own GPU only, so its threads, a share of the cores, say how many cells there are beside it. Where it
    has one thread (Ray's default) there is no telling.
    """
    if device.type != "cuda":
        return 0
    share = torch.get_num_threads()
    if share == 1:
        share = cores() // max(torch.cuda.device_count(), 1)
    return max(0, share - 1)


def describe_device(device: torch.device) -> str:
    """Returns words for tables: the GPU's name, or the CPU and its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{device.type} ({threads} thread{'s' if threads != 1 else ''})"
