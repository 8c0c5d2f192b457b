"""MBANet: shuffle units and shuffle attention in a U shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from monai.networks.layers.factories import Conv, Norm
from torch import Tensor, nn

from baselines.shared.patches import require_more_than_one_voxel, require_multiples
from baselines.shared.plain_units import unit
from baselines.shared.precision import in_full_precision_on_cpu

if TYPE_CHECKING:
    from baselines.mbanet import MBANetOptions
    from harness.segmenters.contract import Task

LEVELS = 5
UNITS = 2
"""Basic units of a level."""


def shuffle(x: Tensor) -> Tensor:
    """Interleaves the two halves of the channels of ``(B, C, *spatial)``."""
    batch, channels, *spatial = x.shape
    return x.reshape(batch, 2, channels // 2, *spatial).transpose(1, 2).reshape(batch, channels, *spatial)


class BasicUnit(nn.Module):
    """Convolves one half of the channels in groups, passes the other on, and shuffles both.

    Args:
        spatial_dims: 2 or 3.
        channels: Channels in and out.
        groups: Groups of the 3-wide convolution.
    """

    def __init__(self, spatial_dims: int, channels: int, groups: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            unit(spatial_dims, half, half, kernel=1, norm="batch"),
            unit(spatial_dims, half, half, groups=groups, norm="batch"),
            unit(spatial_dims, half, half, kernel=1, norm="batch"),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, channels, *spatial)`` to the same shape."""
        kept, convolved = x.chunk(2, dim=1)
        return shuffle(torch.cat((kept, self.branch(convolved)), dim=1))


class ShuffleAttention(nn.Module):
    """In each group of channels, one half is weighed by channel and one half by place; then channels are shuffled.

    Source: Zhang and Yang, *SA-Net: Shuffle Attention for Deep Convolutional Neural Networks*, ICASSP 2021.

    Args:
        spatial_dims: 2 or 3.
        channels: Channels in and out.
        groups: Groups; they share their scales and biases.
    """

    def __init__(self, spatial_dims: int, channels: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        half = channels // (2 * groups)
        shape = (half, *[1] * spatial_dims)
        self.norm = Norm["instance", spatial_dims](half)
        self.channel_scale, self.place_scale = (nn.Parameter(torch.zeros(shape)) for _ in range(2))
        self.channel_bias, self.place_bias = (nn.Parameter(torch.ones(shape)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, channels, *spatial)`` to the same shape."""
        batch, channels, *spatial = x.shape
        by_channel, by_place = x.reshape(batch * self.groups, channels // self.groups, *spatial).chunk(2, dim=1)
        mean = by_channel.mean(dim=tuple(range(2, x.ndim)), keepdim=True)
        by_channel = by_channel * torch.sigmoid(self.channel_scale * mean + self.channel_bias)
        by_place = by_place * torch.sigmoid(self.place_scale * self.norm(by_place) + self.place_bias)
        return shuffle(torch.cat((by_channel, by_place), dim=1).reshape(x.shape))


class MBANet(nn.Module):
    """MBANet (Cao et al., 2023), in two or three dimensions, for any number of modalities.

    No official code; :mod:`baselines.mbanet` lists what is known and what is ours.

    Args:
        spatial_dims: 2 or 3.
        modalities: Number of modalities M.
        out_channels: Number of classes K.
        width: Channels at full resolution.
        groups: Groups of channels in convolutions and attention.
    """

    def __init__(self, spatial_dims: int, modalities: int, out_channels: int, width: int, groups: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS)]

        def units(channels: int) -> list[nn.Module]:
            return [BasicUnit(spatial_dims, channels, groups) for _ in range(UNITS)]

        def attention(channels: int) -> nn.Module:
            return ShuffleAttention(spatial_dims, channels, groups)

        befores = (modalities, *widths)
        self.levels = nn.ModuleList(
            nn.Sequential(
                unit(spatial_dims, before, channels, stride=2 if level else 1, norm="batch"),
                *units(channels),
                attention(channels),
            )
            for level, (before, channels) in enumerate(zip(befores, widths, strict=False))
        )
        finer = widths[-2::-1]
        self.skips = nn.ModuleList(map(attention, finer))
        self.rises = nn.ModuleList(Conv["convtrans", spatial_dims](2 * each, each, 2, stride=2) for each in finer)
        self.joins = nn.ModuleList(
            nn.Sequential(unit(spatial_dims, 2 * each, each, kernel=1, norm="batch"), *units(each)) for each in finer
        )
        self.head = Conv["conv", spatial_dims](width, out_channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Maps images ``(B, M, *spatial)`` to logits ``(B, K, *spatial)``."""
        x, maps = images, []
        for level in self.levels[:-1]:
            x = level(x)
            maps.append(x)
        x = in_full_precision_on_cpu(self.levels[-1], x)
        for rise, attend, join, skip in zip(self.rises, self.skips, self.joins, reversed(maps), strict=True):
            x = join(torch.cat((rise(x), attend(skip)), dim=1))
        logits: Tensor = self.head(x)
        return logits


def build(task: Task, options: MBANetOptions) -> MBANet:
    """Builds MBANet for a task.

    Args:
        task: Segmentation task.
        options: Width and groups.

    Raises:
        StudyError: A side of the patch is not a multiple of 16, or all are 16.
    """
    smallest = 2 ** (LEVELS - 1)
    require_multiples(task.patch_size, smallest, f"mbanet halves every axis {LEVELS - 1} times")
    require_more_than_one_voxel(task.patch_size, smallest, "mbanet")
    return MBANet(task.spatial_dims, task.in_channels, task.out_channels, options.width, options.groups)
