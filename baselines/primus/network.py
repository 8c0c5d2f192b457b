"""Builds Primus from the classes of ``dynamic_network_architectures``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamic_network_architectures.architectures.primus import Primus, PrimusV2, PrimusV3

from baselines.shared.patches import require_multiples

if TYPE_CHECKING:
    from torch import nn

    from baselines.primus import PrimusOptions
    from harness.segmenters.contract import Task

TOKEN_SIDE = 8
"""Voxels per side of a token, as nnU-Net's trainers set it."""
VERSIONS = {"v1": Primus, "v2": PrimusV2, "v3": PrimusV3}


def build(task: Task, options: PrimusOptions) -> nn.Module:
    """Builds Primus for a task.

    Source: Wald et al., arXiv 2503.01835; ``dynamic_network_architectures/architectures/primus.py``; values of
    ``nnunetv2/training/nnUNetTrainer/primus``.

    Args:
        task: Segmentation task.
        options: Version, widths, depth and regularisation.

    Raises:
        StudyError: A side of the patch is not a multiple of 8.
    """
    require_multiples(task.patch_size, TOKEN_SIDE, f"primus makes one token of {TOKEN_SIDE} voxels per side")
    return VERSIONS[options.version](  # type: ignore[no-any-return]
        input_channels=task.in_channels,
        embed_dim=options.width,
        patch_embed_size=(TOKEN_SIDE,) * 3,
        num_classes=task.out_channels,
        eva_depth=options.depth,
        eva_numheads=options.heads,
        input_shape=task.patch_size,
        drop_path_rate=options.drop_path,
        init_values=options.layer_scale,
        scale_attn_inner=True,
    )
