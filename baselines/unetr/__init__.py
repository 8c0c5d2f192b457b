"""UNETR (WACV 2022): a Vision Transformer encoder whose hidden states feed a convolutional decoder.

Nothing here imports torch; the network is in :mod:`baselines.unetr.network`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from baselines.shared.recipes import recipe
from harness.segmenters.contract import Options, Segmenter, Source, Task

__all__ = ["SEGMENTER", "UNETROptions"]


class UNETROptions(Options):
    """Options of UNETR; the defaults are MONAI's, which are the paper's ViT-B/16."""

    feature_size: int = Field(
        default=16,
        ge=1,
        le=65536,
        description="Channels of the decoder at full resolution; each coarser level doubles them. "
        "The official default is 16, the command in the official README uses 32.",
    )
    hidden_size: int = Field(default=768, ge=1, le=65536, description="Width of a token.")
    mlp_dim: int = Field(default=3072, ge=1, le=65536, description="Hidden width of a Transformer block's MLP.")
    num_heads: int = Field(default=12, ge=1, le=1024, description="Attention heads of a Transformer block.")
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0, description="Dropout of tokens, attention and MLPs.")
    proj_type: Literal["conv", "perceptron"] = Field(
        default="conv",
        description="Patch embedding. `conv`: a strided convolution (MONAI's default). `perceptron`: flatten and a "
        "linear layer (official repository). Same function and parameter count; another initialisation.",
    )
    skips: Literal["released", "paper"] = Field(
        default="released",
        description="Transformer blocks that the decoder reads besides the last. `released`: 4, 7 and 10 (official "
        "code and MONAI, which count from 0). `paper`: 3, 6 and 9.",
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> UNETROptions:
        if self.hidden_size % self.num_heads:
            raise ValueError(f"num_heads {self.num_heads} does not divide hidden_size {self.hidden_size}")
        return self


SEGMENTER = Segmenter(
    name="unetr",
    title="UNETR",
    summary="A 12-block Vision Transformer encodes 16-voxel patches; a convolutional decoder reads four of its blocks.",
    source=Source(
        paper="UNETR: Transformers for 3D Medical Image Segmentation, WACV 2022",
        repository="Project-MONAI/research-contributions",
        licence="Apache-2.0",
    ),
    factory="baselines.unetr.network:build",
    options=UNETROptions,
    presets={
        "paper": {},
        "tiny": {"feature_size": 8, "hidden_size": 96, "mlp_dim": 192, "num_heads": 4},
    },
    spatial_dims=frozenset({2, 3}),
    adapted_dims=frozenset({2}),
    contiguous_dims=frozenset({3}),
    official_task=Task(("ct",), leading=None, out_channels=14, patch_size=(96, 96, 96)),
    official_options={"proj_type": "perceptron"},
    official_parameters=92_784_046,
    native_recipe=recipe(
        # Theirs: 4 crops of one volume, half of them centred on foreground; rot90, intensity scale and shift.
        batch_size=4,
        epochs=5000,
        optimiser={"name": "adamw", "lr": 1e-4, "weight_decay": 1e-5},
        schedule={"name": "cosine", "warmup_epochs": 50, "per": "epoch"},
        loss={"cross_entropy": 1, "dice": 1, "batch_dice": False, "dice_background": True},
        augmentation={"p_brightness": 0.1, "brightness": (0.9, 1.1), "mirror_axes": (0, 1)},
        foreground=0.5,
    ),
    notes=(
        "MONAI's UNETR; 2D is MONAI's spatial_dims=2, which the authors never had.",
        "MONAI 1.6.1 also holds 12 layer norms of an unused cross-attention (18 432 parameters; 92 802 478 in all).",
        "They are removed here, without a change to the function.",
        "Skips are taken after blocks 4, 7 and 10 as in the code; the paper says 3, 6 and 9 (skips: paper).",
        "Patch sides are multiples of 16; the position embedding ties the weights to the patch size.",
    ),
)
