"""Blocks shared by the branches and the decoder."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1, bias: bool = True
) -> nn.Sequential:
    """Returns convolution, batch norm, ReLU: ``(B, in, H, W) -> (B, out, H / stride, W / stride)``."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=bias),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Returns two 3x3 convolutions with batch norm and ReLU: ``(B, in, H, W) -> (B, out, H, W)``."""
    return nn.Sequential(*conv_bn_relu(in_channels, out_channels), *conv_bn_relu(out_channels, out_channels))


class ResidualGroup(nn.Module):
    """Two convolutions, ``depth`` residual blocks, and one 1x1 shortcut around all of them.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        depth: Number of residual blocks; each is two convolutions plus identity.
    """

    def __init__(self, in_channels: int, out_channels: int, depth: int) -> None:
        super().__init__()
        self.entry = double_conv(in_channels, out_channels)
        self.blocks = nn.ModuleList(double_conv(out_channels, out_channels) for _ in range(depth))
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, in, H, W)`` to ``(B, out, H, W)``."""
        y: Tensor = self.entry(x)
        for block in self.blocks:
            y = y + block(y)
        out: Tensor = y + self.shortcut(x)
        return out


def run(part: nn.Module, *inputs: Tensor, checkpointing: bool) -> Tensor:
    """Calls a module, in training without keeping what its backward pass would need if ``checkpointing`` says so.

    The second run of a checkpointed module leaves batch norm's running statistics alone, so that every number equals
    that of the plain call. Under ``torch.compile``, which decides itself what to keep, the call is always plain.

    Args:
        part: The module.
        inputs: Its inputs.
        checkpointing: The option.
    """
    out: Tensor
    if checkpointing and part.training and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        out = checkpoint(
            part, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), _frozen_statistics(part))
        )
    else:
        out = part(*inputs)
    return out


@contextmanager
def _frozen_statistics(part: nn.Module) -> Iterator[None]:
    # Of any kind: where several processes train together, SyncBatchNorm has taken the place of BatchNorm2d.
    norms = [module for module in part.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm, (_, count) in zip(norms, before, strict=True):
        norm.momentum, norm.num_batches_tracked = 0.0, None if count is None else count.clone()
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def unscaled_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Returns ``softmax(query key^T) value`` with no division by the square root of the width.

    Unscaled energies can reach the thousands, where half precision overflows (fp16) or keeps no fraction (bf16), so the
    whole attention runs in float32 even under autocast. On a GPU, whose fused kernels take four dimensions only, the
    N x S energies are stored; on a CPU they never are.

    Args:
        query: ``(B, N, E)``.
        key: ``(B, S, E)``.
        value: ``(B, S, D)``.

    Returns:
        ``(B, N, D)`` in the type of ``value``.
    """
    precise = torch.promote_types(query.dtype, torch.float32)
    device = query.device.type
    # Shapes and operations can be counted on the meta device, which has no autocast to switch off.
    full = torch.autocast(device, enabled=False) if device != "meta" else nullcontext()
    with full:
        out = F.scaled_dot_product_attention(query.to(precise), key.to(precise), value.to(precise), scale=1.0)
    return out.to(value.dtype)
