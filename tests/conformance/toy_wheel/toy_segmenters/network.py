"""The toy's network."""

from __future__ import annotations

from torch import nn

from harness.segmenters import Task
from toy_segmenters import ToyOptions

__all__ = ["build"]


def build(task: Task, options: ToyOptions) -> nn.Module:
    """Builds two convolutions."""
    conv = {2: nn.Conv2d, 3: nn.Conv3d}[task.spatial_dims]
    return nn.Sequential(
        conv(task.in_channels, options.width, 3, padding=1),
        nn.ReLU(),
        conv(options.width, task.out_channels, 1),
    )
