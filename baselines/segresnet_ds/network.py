"""Builds MONAI's SegResNetDS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monai.networks.nets import SegResNetDS

from baselines.shared.patches import require_more_than_one_voxel, require_multiples

if TYPE_CHECKING:
    from torch import nn

    from baselines.segresnet_ds import SegResNetDSOptions
    from harness.segmenters.contract import Task

LEAST_WEIGHT = 0.0625
"""Smallest weight of an output in MONAI's ``DeepSupervisionLoss``."""


def build(task: Task, options: SegResNetDSOptions) -> nn.Module:
    """Builds SegResNetDS for a task.

    Source: Myronenko, BrainLes 2018; ``monai/networks/nets/segresnet_ds.py``, ``monai/losses/ds_loss.py``.

    Args:
        task: Segmentation task.
        options: Width, blocks, norm and number of outputs.

    Raises:
        StudyError: A side of the patch cannot be halved as often as there are levels.
    """
    unit = 2 ** (len(options.blocks) - 1)
    require_multiples(task.patch_size, unit, f"segresnet_ds halves every axis {len(options.blocks) - 1} times")
    if options.norm == "instance":
        require_more_than_one_voxel(task.patch_size, unit, "segresnet_ds")
    network = SegResNetDS(
        spatial_dims=task.spatial_dims,
        init_filters=options.width,
        in_channels=task.in_channels,
        out_channels=task.out_channels,
        norm=options.norm,
        blocks_down=options.blocks,
        dsdepth=options.outputs,
    )
    if options.outputs > 1:
        weights = [max(0.5**level, LEAST_WEIGHT) for level in range(options.outputs)]
        network.deep_supervision_weights = weights
    return network  # type: ignore[no-any-return]
