"""Builds MONAI's UNETR without the parameters it never uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monai.networks.nets import UNETR
from torch import Tensor, nn

from baselines.shared.monai_blocks import remove_cross_attention
from baselines.shared.patches import require_multiples

if TYPE_CHECKING:
    from baselines.unetr import UNETROptions
    from harness.segmenters.contract import Task

TOKEN_SIDE = 16
"""Side of the image patch that becomes one token; fixed in MONAI, in the paper and in the official code."""


def build(task: Task, options: UNETROptions) -> nn.Module:
    """Builds UNETR for a task.

    Source: Hatamizadeh et al., WACV 2022; official code ``UNETR/BTCV/networks/unetr.py`` of
    Project-MONAI/research-contributions, maintained as ``monai/networks/nets/unetr.py``.

    Args:
        task: Segmentation task.
        options: Widths, the kind of patch embedding and the blocks that are read.

    Raises:
        StudyError: A side of the patch is not a multiple of 16.
    """
    require_multiples(task.patch_size, TOKEN_SIDE, f"unetr cuts its input into tokens of {TOKEN_SIDE} voxels per side")
    network = UNETR(
        in_channels=task.in_channels,
        out_channels=task.out_channels,
        img_size=task.patch_size,
        feature_size=options.feature_size,
        hidden_size=options.hidden_size,
        mlp_dim=options.mlp_dim,
        num_heads=options.num_heads,
        proj_type=options.proj_type,
        norm_name="instance",
        dropout_rate=options.dropout,
        spatial_dims=task.spatial_dims,
    )
    for block in network.vit.blocks:
        remove_cross_attention(block)
    if options.skips == "paper":
        network.vit.register_forward_hook(_one_block_earlier)
    return network  # type: ignore[no-any-return]


def _one_block_earlier(
    _vit: nn.Module, _inputs: object, output: tuple[Tensor, list[Tensor]]
) -> tuple[Tensor, list[Tensor]]:
    """Moves the hidden states that MONAI's UNETR picks by a fixed index (3, 6, 9) one block towards the input.

    MONAI counts from 0 and so reads blocks 4, 7 and 10. The last layer norm's output, read separately, stays.
    """
    tokens, hidden_states = output
    return tokens, [hidden_states[0], *hidden_states]
