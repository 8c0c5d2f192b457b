"""Size of a network: trainable parameters and compute of one forward pass."""

from dataclasses import dataclass

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from harness.segmenters.contract import Options, Segmenter, Task


@dataclass(frozen=True)
class Size:
    """Size of a network.

    Attributes:
        parameters: Trainable ones.
        gflops: Compute of one forward pass at batch size 1; 1 MAC = 2 FLOPs, norms and activations uncounted.
    """

    parameters: int
    gflops: float


def measure(segmenter: Segmenter, task: Task, options: Options) -> Size:
    """Measures a network without memory or arithmetic, on torch's fake tensors.

    Raises:
        StudyError: The network cannot be built for the task; the message says what would be valid.
    """
    counter = FlopCounterMode(display=False)
    with FakeTensorMode():
        network = segmenter.build(task, options).eval()
        # Written out as matrix products: torch counts nothing for the fused attention of CPUs.
        with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            network(torch.empty(1, task.in_channels, *task.patch_size))
    parameters = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return Size(parameters, counter.get_total_flops() / 1e9)
