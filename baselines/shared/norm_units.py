"""Blocks of RFNet, which mmFormer and M2FTrans took over: convolutions with instance norm, encoder, decoder steps."""

from collections.abc import Sequence
from typing import Literal

import torch
from monai.networks.layers.factories import Conv, Norm
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2
"""Negative slope of every LeakyReLU."""
LEAST_PROBABILITY = 1e-7
"""Probabilities are no smaller before their logarithm is taken."""

Order = Literal["conv", "conv-norm", "norm-conv"]


class NormUnit(nn.Module):
    """A convolution, an instance norm without parameters and a LeakyReLU.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels in.
        out_channels: Channels out.
        kernel: Side of the kernel, 1 or 3.
        stride: Stride.
        order: ``conv-norm``: convolution, norm, LeakyReLU; ``norm-conv``: norm, LeakyReLU, convolution; ``conv``: the
            convolution alone.
        padding_mode: What a kernel of 3 sees beyond the border.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        order: Order = "conv-norm",
        padding_mode: str = "reflect",
    ) -> None:
        super().__init__()
        self.order = order
        self.conv = Conv["conv", spatial_dims](
            in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, padding_mode=padding_mode
        )
        if order != "conv":
            self.norm = Norm["instance", spatial_dims](out_channels if order == "conv-norm" else in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, in_channels, *spatial)`` to ``(B, out_channels, *spatial / stride)``."""
        if self.order == "norm-conv":
            x = functional.leaky_relu(self.norm(x), SLOPE)
        y: Tensor = self.conv(x)
        return functional.leaky_relu(self.norm(y), SLOPE) if self.order == "conv-norm" else y


class ResidualLevel(nn.Sequential):
    """Three units; the output of the first is added to that of the last."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, C, *spatial)`` to the output of the last unit."""
        first, second, third = self
        x = first(x)
        output: Tensor = x + third(second(x))
        return output


class ModalityEncoder(nn.Module):
    """Residual levels, each but the first at half the resolution of the one before.

    Args:
        spatial_dims: 2 or 3.
        widths: Channels of each level, finest first.
        order: Of every unit; with ``norm-conv`` the first convolution, on the image, stands alone.
    """

    def __init__(self, spatial_dims: int, widths: Sequence[int], order: Order = "conv-norm") -> None:
        super().__init__()
        self.levels = nn.ModuleList()
        before = 1
        for number, width in enumerate(widths):
            on_image: Order = "conv" if order == "norm-conv" and number == 0 else order
            self.levels.append(
                ResidualLevel(
                    NormUnit(spatial_dims, before, width, stride=2 if number else 1, order=on_image),
                    NormUnit(spatial_dims, width, width, order=order),
                    NormUnit(spatial_dims, width, width, order=order),
                )
            )
            before = width

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps an image ``(B, 1, *spatial)`` to the features of every level, finest first."""
        features = []
        x = image
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features


class DecoderStep(nn.Module):
    """Doubles the resolution and halves the channels, then joins other features of that resolution.

    Args:
        spatial_dims: 2 or 3.
        channels: Channels of the coarse features; the other features and the output have half as many.
        order: Of every unit.
    """

    def __init__(self, spatial_dims: int, channels: int, order: Order = "conv-norm") -> None:
        super().__init__()
        half = channels // 2
        self.narrow = NormUnit(spatial_dims, channels, half, order=order)
        self.join = NormUnit(spatial_dims, channels, half, order=order)
        self.finish = NormUnit(spatial_dims, half, half, kernel=1, order=order)

    def rise(self, x: Tensor) -> Tensor:
        """Maps ``(B, channels, *spatial)`` to ``(B, channels / 2, *2 spatial)``."""
        risen: Tensor = self.narrow(upsample(x, 2))
        return risen

    def merge(self, first: Tensor, second: Tensor) -> Tensor:
        """Maps two features of ``channels / 2`` channels to one of as many."""
        merged: Tensor = self.finish(self.join(torch.cat((first, second), dim=1)))
        return merged


class SeparateDecoder(nn.Module):
    """Decoder of one modality's features alone, shared by all modalities; auxiliary losses train it.

    Args:
        spatial_dims: 2 or 3.
        widths: Channels of the features, finest first.
        out_channels: Number of classes K.
        order: Of every unit.
    """

    def __init__(self, spatial_dims: int, widths: Sequence[int], out_channels: int, order: Order = "conv-norm") -> None:
        super().__init__()
        self.steps = nn.ModuleList(DecoderStep(spatial_dims, width, order) for width in reversed(widths[1:]))
        self.head = Conv["conv", spatial_dims](widths[0], out_channels, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps the features of one modality, finest first, to logits ``(B, K, *spatial)``."""
        *skips, x = features
        for step, skip in zip(self.steps, reversed(skips), strict=True):
            assert isinstance(step, DecoderStep)
            x = step.merge(step.rise(x), skip)
        logits: Tensor = self.head(x)
        return logits


def fusion_layers(
    spatial_dims: int, channels: Sequence[int], order: Order = "conv-norm", padding_mode: str = "reflect"
) -> nn.Sequential:
    """Returns three units, 1, 3 and 1 wide, that join the features of several modalities or regions.

    Args:
        spatial_dims: 2 or 3.
        channels: Channels in, within (twice) and out: four numbers.
        order: Of every unit.
        padding_mode: Of the 3-wide unit.
    """
    pairs = zip(channels, channels[1:], (1, 3, 1), strict=False)
    return nn.Sequential(
        *(
            NormUnit(spatial_dims, before, after, kernel, order=order, padding_mode=padding_mode)
            for before, after, kernel in pairs
        )
    )


def upsample(x: Tensor, factor: int) -> Tensor:
    """Interpolates ``(B, C, *spatial)`` linearly between aligned corners."""
    mode = "bilinear" if x.ndim == 4 else "trilinear"
    return functional.interpolate(x, scale_factor=float(factor), mode=mode, align_corners=True)


def finer_logits(logits: Tensor, factor: int) -> Tensor:
    """Returns logits of upsampled probabilities, because these networks upsample their auxiliary outputs after softmax.

    Args:
        logits: ``(B, K, *spatial)``.
        factor: Factor of the resolution.
    """
    probabilities = logits.float().softmax(dim=1)
    if factor > 1:
        probabilities = upsample(probabilities, factor)
    return probabilities.clamp(min=LEAST_PROBABILITY).log()


def draw_kernels(network: nn.Module) -> None:
    """Draws the kernels of all convolutions as the authors do: He's normal initialisation; biases stay torch's."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight)
