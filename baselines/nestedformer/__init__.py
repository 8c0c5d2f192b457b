"""NestedFormer (MICCAI 2022): one pooling encoder per modality, and attention within and between modalities.

Nothing here imports torch; the network is in :mod:`baselines.nestedformer.network`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from baselines.shared.recipes import recipe
from harness.segmenters.contract import Options, Segmenter, Source, Task

__all__ = ["SEGMENTER", "NestedFormerOptions"]


class NestedFormerOptions(Options):
    """Options of NestedFormer; the defaults are those of the released code as its authors train it."""

    width: int = Field(
        default=16,
        ge=2,
        le=65536,
        multiple_of=2,
        description="Channels at full and half resolution; then 2, 4 and 8 times that.",
    )
    heads: int = Field(default=8, ge=1, le=1024, description="Attention heads at the coarsest resolution.")
    tokens: int = Field(
        default=32,
        ge=1,
        le=65536,
        description="Tokens that stand for one modality in the cross-attention.",
    )
    window_side: int = Field(
        default=4,
        ge=1,
        le=1024,
        description="Side of an attention window, the first axis excepted.",
    )
    window_depth: int = Field(
        default=4,
        ge=1,
        le=1024,
        description="The same along the first axis. The released class defaults to 2, its training script sets 4.",
    )
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0, description="Dropout of the MLPs.")
    gating: Literal["released", "paper"] = Field(
        default="released",
        description="How the modalities' maps join a skip connection. `released`: two convolutions on all of them. "
        "`paper`: the same behind sigmoid gates for every modality, our reading of its modality-sensitive gating, "
        "which the authors never released.",
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> NestedFormerOptions:
        if 8 * self.width % self.heads:
            raise ValueError(f"heads {self.heads} does not divide the {8 * self.width} channels of a token")
        return self


SEGMENTER = Segmenter(
    name="nestedformer",
    title="NestedFormer",
    summary="A pooling encoder per modality; attention in three orientations and across modalities at the bottom.",
    source=Source(
        paper="NestedFormer: Nested Modality-Aware Transformer for Brain Tumor Segmentation, MICCAI 2022",
        repository="920232796/NestedFormer",
        licence="Apache-2.0",
    ),
    factory="baselines.nestedformer.network:build",
    options=NestedFormerOptions,
    presets={
        "paper": {},
        "tiny": {"width": 8, "heads": 4},
    },
    spatial_dims=frozenset({2, 3}),
    adapted_dims=frozenset({2}),
    contiguous_dims=frozenset({3}),
    official_task=Task(("flair", "t1", "t1ce", "t2"), leading=None, out_channels=3, patch_size=(128, 128, 128)),
    official_parameters=10_575_097,
    translator="baselines.nestedformer.released:translate",
    native_recipe=recipe(
        # Theirs: sigmoid Dice on the overlapping regions TC, WT, ET; intensity shift.
        batch_size=2,
        epochs=300,
        optimiser={"name": "adamw", "lr": 1e-4, "weight_decay": 1e-5},
        schedule={"name": "cosine", "warmup_epochs": 50, "per": "epoch"},
        loss={"cross_entropy": 0, "dice": 1},
        augmentation={"p_brightness": 0.5, "brightness": (0.9, 1.1), "mirror_axes": (0, 1)},
    ),
    revision=2,  # 1 had 1e-5 for the epsilon of 71 layer norms
    notes=(
        "As released: without the paper's modality-sensitive gating, whose code its authors did not publish.",
        "`gating: paper` is our reading of one sentence of the abstract; its numbers are not the paper's.",
        "2D is our adaptation: `in slice` becomes along rows, `along depth` along columns.",
        "Half of its weights are a linear layer to every voxel, so weights are tied to the patch size.",
        "One layer norm (256 parameters) is in the count and never used, as in the released code.",
    ),
)
