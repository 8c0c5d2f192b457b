"""IVD-Net's block: five branches of different reach between two convolutions."""

import torch
from torch import Tensor, nn

BRANCHES = ((1, 1), (3, 1), (5, 1), (3, 2), (3, 4))
"""Kernel size and dilation of every branch."""


def conv_norm_act(
    in_channels: int, out_channels: int, kernel_size: tuple[int, int], dilation: int = 1
) -> tuple[nn.Module, ...]:
    """Returns a convolution that keeps the size, its batch norm and its ReLU.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Height and width, odd.
        dilation: Distance of the kernel's taps.
    """
    padding = (dilation * (kernel_size[0] // 2), dilation * (kernel_size[1] // 2))
    return (
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding, dilation=dilation),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class Block(nn.Module):
    """A convolution, five branches on it, their mixture added to it, and another convolution.

    Source: the encoder and decoder blocks of ``IVD_Net_asym`` in josedolz/IVD-Net.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        asymmetric: Whether a branch is a column and then a row of its kernel (encoder), or the square (decoder).
    """

    def __init__(self, in_channels: int, out_channels: int, asymmetric: bool) -> None:
        super().__init__()
        self.entry = nn.Sequential(*conv_norm_act(in_channels, out_channels, (3, 3)))
        self.branches = nn.ModuleList()
        for side, dilation in BRANCHES:
            kernels = ((side, 1), (1, side)) if asymmetric else ((side, side),)
            layers = (conv_norm_act(out_channels, out_channels, kernel, dilation) for kernel in kernels)
            self.branches.append(nn.Sequential(*(layer for each in layers for layer in each)))
        self.merge = nn.Sequential(*conv_norm_act(len(BRANCHES) * out_channels, out_channels, (1, 1)))
        self.exit = nn.Sequential(*conv_norm_act(out_channels, out_channels, (3, 3)))

    def forward(self, x: Tensor) -> Tensor:
        """Returns the block's features.

        Args:
            x: (B, in_channels, H, W).

        Returns:
            (B, out_channels, H, W).
        """
        x = self.entry(x)
        merged = self.merge(torch.cat([branch(x) for branch in self.branches], dim=1))
        return self.exit(x + merged)  # type: ignore[no-any-return]
