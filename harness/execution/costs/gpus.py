"""GPUs that `harness plan` knows: what their makers state, dense (without sparsity).

Sources, all NVIDIA: V100 data sheet (SXM2); Turing, GA102 and Ada architecture whitepapers (RTX 2080 Ti, 3090, A6000,
4090; 16-bit products with float32 accumulation, as PyTorch computes); data sheets of A100, L40S, H100 and H200. Where a
data sheet gives only the rate with sparsity, half of it. Power: the same, by the whole board.
"""

import re
from dataclasses import dataclass
from typing import Literal

from harness.errors import HarnessError, did_you_mean


@dataclass(frozen=True)
class GpuSpec:
    """A GPU as its maker states it.

    Attributes:
        name: What the command line calls it.
        title: Words for tables.
        device: Pattern of the name that the driver reports.
        memory_gb: Memory.
        bandwidth: Bandwidth of the memory, GB/s.
        fp32: TFLOPS of float32 outside of tensor cores.
        tf32: TFLOPS of float32 in tensor cores; those of ``fp32`` where there is no TF32.
        half: TFLOPS of 16-bit products with float32 accumulation in tensor cores.
        watts: Power of the board at most.
    """

    name: str
    title: str
    device: str
    memory_gb: float
    bandwidth: float
    fp32: float
    tf32: float
    half: float
    watts: float

    def peak(self, rate: Literal["half", "tf32", "fp32"]) -> float:
        """Returns FLOP/s at most."""
        return {"half": self.half, "tf32": self.tf32, "fp32": self.fp32}[rate] * 1e12


GPUS = {
    gpu.name: gpu
    for gpu in (
        GpuSpec("v100", "Tesla V100 SXM2 32 GB", r"V100-SXM\d-32GB", 32, 900, 15.7, 15.7, 125, 300),
        GpuSpec("rtx2080ti", "GeForce RTX 2080 Ti", r"RTX 2080 Ti", 11, 616, 13.4, 13.4, 53.8, 250),
        GpuSpec("rtx3090", "GeForce RTX 3090", r"RTX 3090", 24, 936, 35.6, 35.6, 71.2, 350),
        GpuSpec("rtx4090", "GeForce RTX 4090", r"RTX 4090", 24, 1008, 82.6, 82.6, 165.2, 450),
        GpuSpec("a6000", "RTX A6000", r"RTX A6000", 48, 768, 38.7, 77.4, 154.8, 300),
        GpuSpec("l40s", "L40S", r"L40S", 48, 864, 91.6, 183, 362, 350),
        GpuSpec("a100-40", "A100 SXM 40 GB", r"A100-SXM\d-40GB", 40, 1555, 19.5, 156, 312, 400),
        GpuSpec("a100", "A100 SXM 80 GB", r"A100-SXM\d-80GB", 80, 2039, 19.5, 156, 312, 400),
        GpuSpec("h100-pcie", "H100 PCIe 80 GB", r"H100 PCIe", 80, 2000, 51, 378, 756, 350),
        GpuSpec("h100", "H100 SXM 80 GB", r"H100 80GB HBM3", 80, 3350, 67, 494.5, 989.5, 700),
        GpuSpec("h200", "H200 SXM 141 GB", r"H200", 141, 4800, 67, 494.5, 989.5, 700),
    )
}
"""By name, from slow to fast."""


def find_gpu(name: str) -> GpuSpec:
    """Returns a GPU model; case, spaces and punctuation in its name do not matter.

    Raises:
        HarnessError: It is unknown; the hint names the nearest.
    """
    plain = {_plain(gpu.name): gpu for gpu in GPUS.values()}
    if _plain(name) not in plain:
        near = did_you_mean(name.lower(), GPUS)
        measure = "For another, run `harness bench` on a machine that has it, and `harness plan` there."
        raise HarnessError(f"Unknown GPU model '{name}'.", hint=f"{near} {measure}")
    return plain[_plain(name)]


def gpu_of_device(device: str) -> GpuSpec | None:
    """Returns the GPU model that a device's name, as the driver reports it, stands for; None for any other device."""
    return next((gpu for gpu in GPUS.values() if re.search(rf"{gpu.device}\s*$", device)), None)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
