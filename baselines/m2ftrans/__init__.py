"""M2FTrans (IEEE JBHI 2024): learned fusion tokens and masked attention join the modalities that are present.

Nothing here imports torch; the network is in :mod:`baselines.m2ftrans.network`.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from baselines.shared.recipes import recipe
from harness.segmenters.contract import Options, Segmenter, Source, Task

__all__ = ["SEGMENTER", "M2FTransOptions"]

WIDEST = 16
"""Width of the coarsest level, and of a token, in widths of the finest."""


class M2FTransOptions(Options):
    """Options of M2FTrans; the defaults are those of the authors' first version."""

    width: int = Field(
        default=16,
        ge=1,
        le=65536,
        description="Channels at full resolution; each of the four coarser levels doubles them. The second version "
        "has 8, on patches of 128.",
    )
    mlp_dim: int = Field(default=4096, ge=1, le=65536, description="Hidden width of a Transformer block's MLP.")
    num_heads: int = Field(default=8, ge=1, le=1024, description="Attention heads of a Transformer block.")
    num_layers: int = Field(default=3, ge=1, le=1024, description="Transformer blocks at the coarsest level.")
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0, description="Dropout of attention and MLPs.")
    drop_modalities: bool = Field(
        default=True,
        description="Whether training fuses a set of modalities drawn at random for each image, every set with equal "
        "chance, as the authors do. The encoders see all that are present.",
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if WIDEST * self.width % self.num_heads:
            raise ValueError(
                f"num_heads {self.num_heads} does not divide the {WIDEST * self.width} channels of a token"
            )
        return self


SEGMENTER = Segmenter(
    name="m2ftrans",
    title="M2FTrans",
    summary="Fusion tokens attend to the modalities present; their attention weighs every level of the encoders.",
    source=Source(
        paper="M2FTrans: Modality-Masked Fusion Transformer for Incomplete Multi-Modality Brain Tumor Segmentation, "
        "IEEE JBHI 2024",
        repository="Jun-Jie-Shi/M2FTrans",
        licence="MIT",
    ),
    factory="baselines.m2ftrans.network:build",
    options=M2FTransOptions,
    presets={
        "paper": {},
        "v2": {"width": 8},
        "tiny": {"width": 4, "mlp_dim": 64, "num_heads": 4, "num_layers": 2},
    },
    spatial_dims=frozenset({2, 3}),
    adapted_dims=frozenset({2}),
    contiguous_dims=frozenset({3}),
    official_task=Task(("flair", "t1ce", "t1", "t2"), leading=None, out_channels=4, patch_size=(80, 80, 80)),
    official_parameters=45_429_660,
    translator="baselines.m2ftrans.released:translate",
    native_recipe=recipe(
        # Theirs: AdamW with amsgrad; cross-entropy weighted by class on clamped probabilities; 150 steps per epoch;
        # rotation by up to 10 degrees, nearest neighbour.
        batch_size=4,
        epochs=1000,
        optimiser={"name": "adamw", "lr": 2e-4, "weight_decay": 1e-4},
        schedule={"name": "poly", "power": 0.9, "per": "epoch"},
        loss={"cross_entropy": 1, "dice": 1, "dice_background": True},
        augmentation={"p_brightness": 1, "brightness": (0.9, 1.1), "mirror_axes": (0, 1)},
    ),
    notes=(
        "Made for missing modalities: it takes a mask of those present.",
        "Training sums the losses of the fused output, of every modality's own and of five coarser maps, each with "
        "weight 1.",
        "The second version (preset v2) is the same network on patches of 128: 13 489 820 parameters.",
        "The released network ends in a softmax; here it returns logits.",
        "Its reflecting borders and linear upsampling have no deterministic backward pass on a GPU: protocols with "
        "`determinism: strict` refuse it there.",
        "Patch sides are multiples of 16, and at least 32; the position table ties the weights to the patch size.",
        "2D is the same network with two-dimensional layers, which the authors never had.",
    ),
)
