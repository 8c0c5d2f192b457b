"""Builds MONAI's Swin UNETR."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monai.networks.nets import SwinUNETR

from baselines.shared.patches import require_more_than_one_voxel, require_multiples

if TYPE_CHECKING:
    from torch import nn

    from baselines.swinunetr import SwinUNETROptions
    from harness.segmenters.contract import Task

UNIT = 32
"""Every axis is halved by the tokens and by each of four mergings."""


def build(task: Task, options: SwinUNETROptions) -> nn.Module:
    """Builds Swin UNETR for a task.

    Source: Hatamizadeh et al., BrainLes 2021; He et al., MICCAI 2023; official code ``SwinUNETR/BRATS21`` of
    Project-MONAI/research-contributions, whose network is ``monai/networks/nets/swin_unetr.py``.

    Args:
        task: Segmentation task.
        options: Version, widths, depths, window and dropouts.

    Raises:
        StudyError: A side of the patch is not a multiple of 32, or the coarsest map would be a single voxel.
    """
    require_multiples(task.patch_size, UNIT, f"swinunetr halves every axis {UNIT.bit_length() - 1} times")
    require_more_than_one_voxel(task.patch_size, UNIT, "swinunetr")
    return SwinUNETR(  # type: ignore[no-any-return]
        in_channels=task.in_channels,
        out_channels=task.out_channels,
        feature_size=options.feature_size,
        depths=options.depths,
        window_size=options.window,
        drop_rate=options.dropout,
        attn_drop_rate=options.attention_dropout,
        dropout_path_rate=options.drop_path,
        spatial_dims=task.spatial_dims,
        use_v2=options.version == "v2",
    )
