"""Blocks of TransBTS's convolutional encoder and decoder, in two or three dimensions."""

import torch
from monai.networks.blocks import Convolution
from monai.networks.layers.factories import Conv
from torch import Tensor, nn
from torch.nn import functional

from baselines.transbts import NORM_GROUPS


def conv_norm_relu(spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
    """Returns a 3-wide convolution with bias, batch norm and ReLU."""
    return Convolution(  # type: ignore[no-any-return]
        spatial_dims, in_channels, out_channels, kernel_size=3, adn_ordering="NA", norm="batch", act="relu"
    )


class PreNormBlock(nn.Module):
    """Twice (group norm, ReLU, convolution), and the input added; the encoder's block.

    Args:
        spatial_dims: 2 or 3.
        channels: Channels in and out.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        convolution = Conv["conv", spatial_dims]
        self.norm1 = nn.GroupNorm(NORM_GROUPS, channels)
        self.conv1 = convolution(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(NORM_GROUPS, channels)
        self.conv2 = convolution(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, channels, *spatial)`` to the same shape."""
        y = self.conv1(functional.relu(self.norm1(x)))
        y = self.conv2(functional.relu(self.norm2(y)))
        total: Tensor = x + y
        return total


class PostNormBlock(nn.Module):
    """Twice (convolution, batch norm, ReLU), and the input added; the decoder's block.

    Args:
        spatial_dims: 2 or 3.
        channels: Channels in and out.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.first = conv_norm_relu(spatial_dims, channels, channels)
        self.second = conv_norm_relu(spatial_dims, channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, channels, *spatial)`` to the same shape."""
        y: Tensor = self.second(self.first(x))
        return x + y


class UpBlock(nn.Module):
    """Halves the channels, doubles the resolution, and joins the encoder's map of that resolution.

    Args:
        spatial_dims: 2 or 3.
        channels: Channels of the coarse input; the skip connection and the output have half as many.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        convolution, half = Conv["conv", spatial_dims], channels // 2
        self.narrow = convolution(channels, half, 1)
        self.up = Conv["convtrans", spatial_dims](half, half, 2, stride=2)
        self.join = convolution(channels, half, 1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Maps ``(B, channels, *spatial)`` and a skip of twice the size to ``(B, channels / 2, *2 spatial)``."""
        joined: Tensor = self.join(torch.cat((skip, self.up(self.narrow(x))), dim=1))
        return joined


class ChannelDropout(nn.Module):
    """Dropout of whole channels, in training only or always.

    Args:
        rate: Share of channels that is dropped.
        always: Whether channels are dropped in eval mode too.
    """

    def __init__(self, rate: float, always: bool) -> None:
        super().__init__()
        self.rate = rate
        self.always = always

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, C, *spatial)`` to the same shape."""
        drop = functional.dropout2d if x.ndim == 4 else functional.dropout3d
        return drop(x, self.rate, training=self.training or self.always)
