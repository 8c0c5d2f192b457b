"""Swin UNETR (BrainLes 2021) and its second version (MICCAI 2023): a Swin Transformer before a convolutional decoder.

Nothing here imports torch; the network is in :mod:`baselines.swinunetr.network`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from baselines.shared.recipes import recipe
from harness.segmenters.contract import Options, Segmenter, Source, Task

__all__ = ["SEGMENTER", "SwinUNETROptions"]

Depth = Annotated[int, Field(ge=1, le=1024)]


class SwinUNETROptions(Options):
    """Options of Swin UNETR; the defaults are the authors' for brain tumours."""

    version: Literal["v1", "v2"] = Field(
        default="v1",
        description="`v2` puts a residual convolution block before every Transformer stage (SwinUNETR-V2).",
    )
    feature_size: int = Field(
        default=48,
        ge=12,
        le=65536,
        multiple_of=12,
        description="Channels at full and at half resolution; each coarser level doubles them. MONAI's default is 24.",
    )
    depths: tuple[Depth, Depth, Depth, Depth] = Field(
        default=(2, 2, 2, 2), description="Transformer blocks of each stage, finest first; every second is shifted."
    )
    window: int = Field(default=7, ge=2, le=1024, description="Tokens a side of an attention window.")
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0, description="Dropout of tokens, projections and MLPs.")
    attention_dropout: float = Field(default=0.0, ge=0.0, lt=1.0, description="Dropout of attention.")
    drop_path: float = Field(default=0.0, ge=0.0, lt=1.0, description="Share of images that skip a residual branch.")


SEGMENTER = Segmenter(
    name="swinunetr",
    title="Swin UNETR",
    summary="A Swin Transformer of windowed attention encodes tokens of 2 voxels; a convolutional decoder reads it.",
    source=Source(
        paper="Swin UNETR: Swin Transformers for Semantic Segmentation of Brain Tumors in MRI Images, BrainLes 2021; "
        "SwinUNETR-V2, MICCAI 2023",
        repository="Project-MONAI/research-contributions",
        licence="Apache-2.0",
    ),
    factory="baselines.swinunetr.network:build",
    options=SwinUNETROptions,
    presets={
        "paper": {},
        "v2": {"version": "v2"},
        "tiny": {"feature_size": 12, "depths": (2, 1, 1, 1), "window": 4},
    },
    spatial_dims=frozenset({2, 3}),
    adapted_dims=frozenset({2}),
    contiguous_dims=frozenset({3}),
    official_task=Task(("flair", "t1ce", "t1", "t2"), leading=None, out_channels=3, patch_size=(128, 128, 128)),
    official_parameters=62_191_941,
    native_recipe=recipe(
        # Theirs (BRATS21): batch 1 per GPU; sigmoid Dice on the overlapping regions TC, WT, ET; intensity scale, shift.
        batch_size=1,
        epochs=300,
        optimiser={"name": "adamw", "lr": 1e-4, "weight_decay": 1e-5},
        schedule={"name": "cosine", "warmup_epochs": 50, "per": "epoch"},
        loss={"cross_entropy": 0, "dice": 1, "batch_dice": False},
        augmentation={"p_brightness": 1, "brightness": (0.9, 1.1), "mirror_axes": (0, 1)},
    ),
    notes=(
        "MONAI's SwinUNETR; version v2 has 72 767 301 parameters in the official configuration.",
        "Releases of MONAI before 1.5 merge the eight corners of a 3D token wrongly (two twice, two never): weights "
        "trained with them compute another function here, under the same names.",
        "Where a map is smaller than a window, the position bias is looked up as MONAI does, by an index made for "
        "whole windows: offsets are then not those of the paper. At 128 voxels a side this happens nowhere.",
        "Patch sides are multiples of 32, and one of them at least 64, because the coarsest map is normalised.",
        "2D is MONAI's spatial_dims=2, which the authors never had.",
    ),
)
