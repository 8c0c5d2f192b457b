"""MAML (MICCAI 2021): one U-Net a modality, and attention that weighs them voxel by voxel before one decision.

Nothing here imports torch; the network is in :mod:`baselines.maml.network`.
"""

from __future__ import annotations

from pydantic import Field

from baselines.shared.recipes import NNUNET
from baselines.shared.unet_options import UNetOptions
from harness.segmenters.contract import Segmenter, Source, Task

__all__ = ["SEGMENTER", "MAMLOptions"]


class MAMLOptions(UNetOptions):
    """Options of MAML; the defaults are its trainer's."""

    base_features: int = Field(
        default=16,
        ge=1,
        le=65536,
        description="Channels at full resolution; each pooling doubles them. The authors' trainer halves nnU-Net's 32.",
    )
    deep_supervision: bool = Field(
        default=True, description="Whether training sees each modality's own outputs, at every resolution."
    )


SEGMENTER = Segmenter(
    name="maml",
    title="MAML",
    summary="One U-Net per modality; an attention per modality, voxel and channel weighs their last features.",
    source=Source(
        paper="Modality-aware Mutual Learning for Multi-modal Medical Image Segmentation, MICCAI 2021",
        repository="YaoZhang93/MAML",
        licence="Apache-2.0",
    ),
    factory="baselines.maml.network:build",
    options=MAMLOptions,
    presets={
        "paper": {},
        "tiny": {"base_features": 8, "poolings": 3},
    },
    spatial_dims=frozenset({2, 3}),
    contiguous_dims=frozenset({3}),
    official_task=Task(("t1", "t1ce", "t2", "flair"), leading=None, out_channels=4, patch_size=(128, 128, 128)),
    official_parameters=66_484_752,
    translator="baselines.maml.released:translate",
    native_recipe=NNUNET,
    notes=(
        "Mutual learning means joint supervision of all modalities' outputs; the released code has no distillation.",
        "Its loss is a sum of 1 + 5 M outputs with nnU-Net's weights, so its scale grows with the modalities M.",
        "Each U-Net is as deep as nnU-Net plans it for the patch; the authors' plan of 5 poolings is not released.",
        "The authors' inference with missing modalities is not released, and not offered.",
        "The coarsest heads have weight 0 in the loss and are never trained, as in nnU-Net.",
    ),
)
