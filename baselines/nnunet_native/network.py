"""A network like the one that nnU-Net plans, for size estimates and the conformance suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from baselines.nnunet import NnUNetOptions
from baselines.nnunet.network import build as build_nnunet

if TYPE_CHECKING:
    from torch import nn

    from baselines.nnunet_native import NnUNetNativeOptions
    from harness.segmenters.contract import Task


def build(task: Task, options: NnUNetNativeOptions) -> nn.Module:
    """Builds the network of segmenter ``nnunet``: nnU-Net's plan for the protocol's patch and isotropic voxels.

    The network that is trained is planned from the data's fingerprint, so its patch and depth may differ; a result
    gives its parameters.

    Args:
        task: Segmentation task.
        options: Options; only ``planner`` and ``base_features`` are used.

    Raises:
        StudyError: The patch cannot be halved as often as nnU-Net's planner would.
    """
    encoder = "plain" if options.planner == "default" else "resenc"
    return build_nnunet(task, NnUNetOptions(encoder=encoder, base_features=options.base_features))
