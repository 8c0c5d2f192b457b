"""A2FSeg (MICCAI 2023): a U-Net per modality, averaged, then weighed voxel by voxel, whichever are present.

Nothing here imports torch; the network is in :mod:`baselines.a2fseg.network`.
"""

from __future__ import annotations

from pydantic import Field

from baselines.shared.recipes import NNUNET
from baselines.shared.unet_options import UNetOptions
from harness.segmenters.contract import Segmenter, Source, Task

__all__ = ["SEGMENTER", "A2FSegOptions"]


class A2FSegOptions(UNetOptions):
    """Options of A2FSeg; the defaults are nnU-Net v1's, on which its trainer is built."""

    drop_modalities: bool = Field(
        default=True,
        description="Whether training fuses all modalities for half of the images and fewer, drawn at random, for the "
        "others. The authors alternate by epoch.",
    )


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
    contiguous_dims=frozenset({3}),
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
