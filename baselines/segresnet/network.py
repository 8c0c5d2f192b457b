"""Builds MONAI's SegResNet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monai.networks.nets import SegResNet

from baselines.shared.patches import require_multiples

if TYPE_CHECKING:
    from torch import nn

    from baselines.segresnet import SegResNetOptions
    from harness.segmenters.contract import Task


def build(task: Task, options: SegResNetOptions) -> nn.Module:
    """Builds SegResNet for a task.

    Source: Myronenko, BrainLes 2018; ``monai/networks/nets/segresnet.py``.

    Args:
        task: Segmentation task.
        options: Width, blocks and dropout.

    Raises:
        StudyError: A side of the patch cannot be halved as often as there are levels.
    """
    unit = 2 ** (len(options.blocks) - 1)
    require_multiples(task.patch_size, unit, f"segresnet halves every axis {len(options.blocks) - 1} times")
    return SegResNet(  # type: ignore[no-any-return]
        spatial_dims=task.spatial_dims,
        init_filters=options.width,
        in_channels=task.in_channels,
        out_channels=task.out_channels,
        dropout_prob=options.dropout or None,
        blocks_down=options.blocks,
        blocks_up=(1,) * (len(options.blocks) - 1),
    )
