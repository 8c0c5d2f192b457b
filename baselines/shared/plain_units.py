"""The plainest convolutional unit, for networks whose papers do not say more."""

from typing import Literal

from monai.networks.blocks import Convolution
from torch import nn

SLOPE = 0.01
"""Negative slope of every LeakyReLU."""


def unit(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    norm: Literal["instance", "batch"] = "instance",
) -> nn.Module:
    """Returns a convolution, a norm and a LeakyReLU.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels in.
        out_channels: Channels out.
        kernel: Side of the kernel, odd.
        stride: Stride.
        groups: Groups of channels that the convolution keeps apart.
        norm: Instance norm without parameters, or batch norm.
    """
    return Convolution(  # type: ignore[no-any-return]
        spatial_dims,
        in_channels,
        out_channels,
        strides=stride,
        kernel_size=kernel,
        adn_ordering="NA",
        act=("leakyrelu", {"negative_slope": SLOPE}),
        norm=norm,
        groups=groups,
    )


def two_units(spatial_dims: int, in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """Returns two units, the first with a stride."""
    return nn.Sequential(
        unit(spatial_dims, in_channels, out_channels, stride=stride), unit(spatial_dims, out_channels, out_channels)
    )
