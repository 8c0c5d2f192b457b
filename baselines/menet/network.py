"""ME-Net: one encoder per modality, one decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from baselines.shared.patches import require_more_than_one_voxel, require_multiples
from baselines.shared.plain_units import two_units
from baselines.shared.precision import in_full_precision_on_cpu

if TYPE_CHECKING:
    from collections.abc import Sequence

    from baselines.menet import MENetOptions
    from harness.segmenters.contract import Task

LEVELS = 5


class Encoder(nn.Module):
    """Levels of two convolutions, each but the first at half the resolution of the one before.

    Args:
        spatial_dims: 2 or 3.
        widths: Channels of each level, finest first.
    """

    def __init__(self, spatial_dims: int, widths: Sequence[int]) -> None:
        super().__init__()
        pairs = zip((1, *widths), widths, strict=False)
        self.levels = nn.ModuleList(
            two_units(spatial_dims, *pair, stride=2 if level else 1) for level, pair in enumerate(pairs)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps an image ``(B, 1, *spatial)`` to the maps of every level, finest first."""
        x, maps = image, []
        for level in self.levels[:-1]:
            x = level(x)
            maps.append(x)
        return [*maps, in_full_precision_on_cpu(self.levels[-1], x)]


class MENet(nn.Module):
    """ME-Net (Zhang et al., 2021), in two or three dimensions, for any number of modalities.

    No official code; :mod:`baselines.menet` lists what is known and what is ours.

    Args:
        spatial_dims: 2 or 3.
        modalities: Number of modalities M.
        out_channels: Number of classes K.
        width: Channels at full resolution.
    """

    def __init__(self, spatial_dims: int, modalities: int, out_channels: int, width: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS)]
        self.encoders = nn.ModuleList(Encoder(spatial_dims, widths) for _ in range(modalities))
        self.merge = two_units(spatial_dims, modalities * widths[-1], widths[-1])
        finer = widths[-2::-1]
        self.rises = nn.ModuleList(Conv["convtrans", spatial_dims](2 * each, each, 2, stride=2) for each in finer)
        self.joins = nn.ModuleList(two_units(spatial_dims, (modalities + 1) * each, each) for each in finer)
        self.head = Conv["conv", spatial_dims](width, out_channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Maps images ``(B, M, *spatial)`` to logits ``(B, K, *spatial)``."""
        parts = torch.split(images, 1, dim=1)
        maps = [encoder(image) for encoder, image in zip(self.encoders, parts, strict=True)]
        *skips, coarsest = [torch.cat(level, dim=1) for level in zip(*maps, strict=True)]
        x = in_full_precision_on_cpu(self.merge, coarsest)
        for rise, join, skip in zip(self.rises, self.joins, reversed(skips), strict=True):
            x = join(torch.cat((rise(x), skip), dim=1))
        logits: Tensor = self.head(x)
        return logits


def build(task: Task, options: MENetOptions) -> MENet:
    """Builds ME-Net for a task.

    Args:
        task: Segmentation task.
        options: Width.

    Raises:
        StudyError: A side of the patch is not a multiple of 16, or all are 16.
    """
    unit = 2 ** (LEVELS - 1)
    require_multiples(task.patch_size, unit, f"menet halves every axis {LEVELS - 1} times")
    require_more_than_one_voxel(task.patch_size, unit, "menet")
    return MENet(task.spatial_dims, task.in_channels, task.out_channels, options.width)
