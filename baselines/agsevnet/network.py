"""3D AGSE-VNet: residual stages, squeeze-excite, and a guided filter in place of plain skips."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from monai.networks.blocks import ChannelSELayer
from monai.networks.layers.factories import Conv
from torch import Tensor, nn
from torch.nn import functional

from baselines.shared.patches import require_more_than_one_voxel, require_multiples
from baselines.shared.plain_units import SLOPE, unit
from baselines.shared.precision import in_full_precision_on_cpu

if TYPE_CHECKING:
    from baselines.agsevnet import AGSEVNetOptions
    from harness.segmenters.contract import Task

ENCODER_UNITS, DECODER_UNITS = (1, 2, 3, 3, 3), (3, 3, 2, 1)
"""Convolutions of the stages, in the order in which they are passed."""
REDUCTION = 16
"""Channels per hidden unit of a squeeze-excite block."""
REGULARISATION = 0.01
"""What the filter adds to the variance of its guide."""


class Stage(nn.Module):
    """Convolutions, and what came in added to what comes out.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels in; where they are not those that are added, a 1-wide convolution makes them so.
        out_channels: Channels out.
        units: Number of convolutions.
        kernel: Side of the kernels.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, units: int, kernel: int) -> None:
        super().__init__()
        self.units = nn.Sequential(
            unit(spatial_dims, in_channels, out_channels, kernel),
            *(unit(spatial_dims, out_channels, out_channels, kernel) for _ in range(units - 1)),
        )
        same = in_channels == out_channels
        self.short_cut = nn.Identity() if same else Conv["conv", spatial_dims](in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, in_channels, *spatial)`` to ``(B, out_channels, *spatial)``."""
        added: Tensor = self.units(x) + self.short_cut(x)
        return added


class AttentionGuidedFilter(nn.Module):
    """Filters a map by the edges of another one, its guide; attention says which places of a window count how much.

    In every window the map is fitted by a linear function of its guide, by weighted least squares; a place gets the
    mean of the functions of all windows that it lies in. Source: He, Sun and Tang, *Guided Image Filtering*, TPAMI
    2013, with weights.

    Args:
        spatial_dims: 2 or 3.
        channels: Channels of both maps.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        of_dims = Conv["conv", spatial_dims]
        self.of_guide, self.of_map = of_dims(channels, channels, 1), of_dims(channels, channels, 1, bias=False)
        self.weigh = of_dims(channels, 1, 1)

    def forward(self, guide: Tensor, x: Tensor) -> Tensor:
        """Filters a map.

        Args:
            guide: ``(B, channels, *spatial)``.
            x: The map, ``(B, channels, *spatial)``.

        Returns:
            The filtered map, in single precision at least: differences of squares lose digits.
        """
        weights = torch.sigmoid(self.weigh(functional.relu(self.of_guide(guide) + self.of_map(x))))
        precise = torch.promote_types(x.dtype, torch.float32)
        return guided_filter(guide.to(precise), x.to(precise), weights.to(precise))


def guided_filter(guide: Tensor, x: Tensor, weights: Tensor) -> Tensor:
    """Returns a map filtered by the edges of its guide, in windows of 3.

    Args:
        guide: ``(B, C, *spatial)``.
        x: The map, ``(B, C, *spatial)``.
        weights: Positive, ``(B, 1, *spatial)``.
    """
    total = window_sums(weights)

    def mean(values: Tensor) -> Tensor:
        return window_sums(values * weights) / total

    mean_guide, mean_x = mean(guide), mean(x)
    variance = (mean(guide * guide) - mean_guide**2).clamp(min=0)
    slope = (mean(guide * x) - mean_guide * mean_x) / (variance + REGULARISATION)
    offset = mean_x - slope * mean_guide
    windows = window_sums(torch.ones_like(weights))
    return (window_sums(slope) * guide + window_sums(offset)) / windows


def window_sums(x: Tensor) -> Tensor:
    """Returns the sum over the 3-wide window around every place of ``(B, C, *spatial)``; 0 beyond the border.

    Shifted sums have a deterministic backward pass on a GPU, which pooling has not.
    """
    for axis in range(2, x.ndim):
        padded = functional.pad(x, (0, 0) * (x.ndim - 1 - axis) + (1, 1))
        first, second, third = (padded.narrow(axis, start, x.shape[axis]) for start in range(3))
        x = first + second + third
    return x


class AGSEVNet(nn.Module):
    """3D AGSE-VNet (Guan et al., 2022), in two or three dimensions, for any number of modalities.

    No official code; :mod:`baselines.agsevnet` lists what is known and what is ours.

    Args:
        spatial_dims: 2 or 3.
        modalities: Number of modalities M.
        out_channels: Number of classes K.
        width: Channels at full resolution.
        kernel: Side of the kernels of a stage.
    """

    def __init__(self, spatial_dims: int, modalities: int, out_channels: int, width: int, kernel: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(len(ENCODER_UNITS))]
        befores = (modalities, *widths[1:])
        self.stages = nn.ModuleList(
            nn.Sequential(
                Stage(spatial_dims, before, channels, units, kernel),
                ChannelSELayer(
                    spatial_dims, channels, min(REDUCTION, channels), ("leakyrelu", {"negative_slope": SLOPE})
                ),
            )
            for before, channels, units in zip(befores, widths, ENCODER_UNITS, strict=True)
        )
        self.falls = nn.ModuleList(unit(spatial_dims, *pair, stride=2) for pair in pairwise(widths))
        finer = widths[-2::-1]
        self.rises = nn.ModuleList(Conv["convtrans", spatial_dims](2 * each, each, 2, stride=2) for each in finer)
        self.filters = nn.ModuleList(AttentionGuidedFilter(spatial_dims, each) for each in finer)
        self.joins = nn.ModuleList(
            Stage(spatial_dims, 2 * each, each, units, kernel) for each, units in zip(finer, DECODER_UNITS, strict=True)
        )
        self.head = Conv["conv", spatial_dims](width, out_channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Maps images ``(B, M, *spatial)`` to logits ``(B, K, *spatial)``."""
        x, maps = images, []
        for stage, fall in zip(self.stages[:-1], self.falls, strict=True):
            maps.append(stage(x))
            x = in_full_precision_on_cpu(fall, maps[-1])
        x = in_full_precision_on_cpu(self.stages[-1], x)
        for rise, guided, join, skip in zip(self.rises, self.filters, self.joins, reversed(maps), strict=True):
            x = rise(x)
            x = join(torch.cat((x, guided(skip, x).to(x.dtype)), dim=1))
        logits: Tensor = self.head(x)
        return logits


def build(task: Task, options: AGSEVNetOptions) -> AGSEVNet:
    """Builds 3D AGSE-VNet for a task.

    Args:
        task: Segmentation task.
        options: Width and kernel.

    Raises:
        StudyError: A side of the patch is not a multiple of 16, or all are 16.
    """
    smallest = 2 ** (len(ENCODER_UNITS) - 1)
    require_multiples(task.patch_size, smallest, f"agsevnet halves every axis {len(ENCODER_UNITS) - 1} times")
    require_more_than_one_voxel(task.patch_size, smallest, "agsevnet")
    return AGSEVNet(task.spatial_dims, task.in_channels, task.out_channels, options.width, options.kernel)
