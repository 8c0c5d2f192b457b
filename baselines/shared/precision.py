"""Full precision where mixed precision would give wrong gradients."""

from collections.abc import Callable

import torch
from torch import Tensor


def in_full_precision_on_cpu(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Calls a function, on the CPU without autocast.

    oneDNN's bfloat16 gradient of a padded 3D convolution's weights is made of uninitialised memory where maps are two
    voxels deep (seen with torch 2.14 and AVX512-BF16), as the coarsest maps of a patch of 32 voxels are.

    Args:
        function: Function to call.
        x: (B, C, *spatial).
    """
    if x.device.type != "cpu":
        return function(x)
    with torch.autocast("cpu", enabled=False):
        return function(x.float() if x.dtype == torch.bfloat16 else x)
