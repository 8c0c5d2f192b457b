"""Size of a network: trainable parameters and compute of one forward pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from harness.errors import HarnessError, StudyError
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
        StudyError: The network cannot be built for the task or does not run; the message says why.
    """
    with explained(segmenter):
        return _measure(segmenter, task, options)


@contextmanager
def explained(segmenter: Segmenter) -> Iterator[None]:
    """Names the network whose code raises within, be it an exit of the process.

    Raises:
        StudyError: It raised something.
    """
    try:
        yield
    except (HarnessError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        what = f"{type(error).__name__}: {str(error).strip()}".partition("\n")[0]
        hint = f"`harness check {segmenter.name}` says more."
        raise StudyError(f"{segmenter.name} cannot be built and run: {what}", hint=hint) from error


def _measure(segmenter: Segmenter, task: Task, options: Options) -> Size:
    counter = FlopCounterMode(display=False)
    with FakeTensorMode():
        network = segmenter.build(task, options).eval()
        # Written out as matrix products: torch counts nothing for the fused attention of CPUs.
        with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            network(torch.empty(1, task.in_channels, *task.patch_size))
    parameters = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return Size(parameters, counter.get_total_flops() / 1e9)
