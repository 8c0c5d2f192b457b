"""A2FSeg (MICCAI 2023): a U-Net per modality, averaged, then weighed voxel by voxel, whichever are present.

Nothing here imports torch; the network is in :mod:`baselines.a2fseg.network`.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from baselines.shared.recipes import NNUNET
from harness.segmenters.contract import Options, Segmenter, Source, Task

__all__ = ["SEGMENTER", "A2FSegOptions"]


class A2FSegOptions(Options):
    """Options of A2FSeg; the defaults are nnU-Net v1's, on which its trainer is built."""

    base_features: int = Field(
        default=32, ge=1, le=65536, description="Channels at full resolution; each pooling doubles them."
    )
    max_features: int | None = Field(
        default=None,
        ge=1,
        le=65536,
        description="Cap of the channels. Not set: nnU-Net v1's own, 480 in 2D and 320 in 3D.",
    )
    convs_per_stage: int = Field(
        default=2, ge=1, le=1024, description="Convolutions of a stage, in the encoders and in the decoders."
    )
    poolings: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="How often every axis is halved. Not set: as nnU-Net plans it, as long as an axis holds 8 voxels.",
    )
    drop_modalities: bool = Field(
        default=True,
        description="Whether training fuses all modalities for half of the images and fewer, drawn at random, for the "
        "others. The authors alternate by epoch.",
    )

    @model_validator(mode="after")
    def _cap_holds_base(self) -> Self:
        if self.max_features is not None and self.max_features < self.base_features:
            raise ValueError(f"max_features {self.max_features} is below base_features {self.base_features}")
        return self


SEGMENTER = Segmenter(
    name="a2fseg",
    title="A2FSeg",
    summary="A U-Net per modality; their features are averaged, decoded, and weighed by attention over those present.",
    source=Source(
        paper="A2FSeg: Adaptive Multi-modal Fusion Network for Medical Image Segmentation, MICCAI 2023",
        repository="Zirui0623/A2FSeg",
        licence="Apache-2.0",
    ),
    factory="baselines.a2fseg.network:build",
    options=A2FSegOptions,
    presets={
        "paper": {},
        "tiny": {"base_features": 8, "poolings": 3},
    },
    spatial_dims=frozenset({2, 3}),
    modality_counts=(2, 8),
    official_task=Task(("t1", "t1ce", "t2", "flair"), leading=None, out_channels=3, patch_size=(128, 128, 128)),
    official_parameters=142_340_576,
    translator="baselines.a2fseg.released:translate",
    native_recipe={
        # nnU-Net v1's with batch 1; theirs has Dice and binary cross-entropy on the overlapping regions WT, TC, ET.
        **NNUNET,
        "sampling": {"batch_size": 1},
        "training": {**NNUNET["training"], "epochs": 800},
    },
    notes=(
        "Made for missing modalities: it takes a mask of those present. Every U-Net is run, and absent ones are left "
        "out of mean and attention by a product, so that a step can be recorded.",
        "The released code holds an unused encoder in its fusion decoder (14 025 120 parameters; 156 365 696 in all). "
        "It is not built.",
        "Each U-Net is as deep as nnU-Net plans it for the patch; the authors' plan is not released, and 32 channels "
        "and 5 poolings are nnU-Net's defaults.",
        "Its loss is a sum of 1 + 5 (M + 1) outputs with nnU-Net's weights, so its scale grows with the modalities M.",
        "The released trainer cannot run: it takes two values out of a list of 26. We took the list's first as output.",
        "The coarsest heads have weight 0 in the loss and are never trained, as in nnU-Net.",
    ),
)
