"""Primus (arXiv 2025): a plain 3D Vision Transformer that has to use its attention, between two light convolutions.

Nothing here imports torch; the network is in :mod:`baselines.primus.network`.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from baselines.shared.recipes import NNUNET
from harness.segmenters.contract import Options, Segmenter, Source, Task

__all__ = ["SEGMENTER", "PrimusOptions"]

ROTARY_SHARE = 1.5
"""Width of a head over that of its rotary embedding, which is cut among three axes."""
ROTARY_UNIT = 4
"""The width of a rotary embedding is a multiple of this."""


class PrimusOptions(Options):
    """Options of Primus; the defaults are those of its medium network, which its authors recommend."""

    version: Literal["v1", "v2", "v3"] = Field(
        default="v1",
        description="Embedding of tokens. `v1`: one convolution. `v2`: a small residual network. `v3`: a wide one with "
        "skips from every level.",
    )
    width: int = Field(default=864, ge=1, le=65536, description="Width of a token.")
    depth: int = Field(default=16, ge=1, le=1024, description="Transformer blocks.")
    heads: int = Field(default=12, ge=1, le=1024, description="Attention heads of a block.")
    drop_path: float = Field(
        default=0.2,
        ge=0.0,
        lt=1.0,
        description="Share of images that skip a residual branch: 0 in the first block, rising to this in the last.",
    )
    layer_scale: float | None = Field(
        default=0.1, gt=0.0, le=1.0, description="Initial scale of a residual branch. Not set: branches have no scale."
    )

    @model_validator(mode="after")
    def _heads_hold_rotations(self) -> Self:
        unit = round(ROTARY_SHARE * ROTARY_UNIT)
        if self.width % (self.heads * unit):
            raise ValueError(
                f"width {self.width} is not a multiple of {self.heads * unit}: each of {self.heads} heads takes a "
                f"multiple of {unit} for its rotary embedding"
            )
        return self


SEGMENTER = Segmenter(
    name="primus",
    title="Primus",
    summary="A Vision Transformer with rotary positions on tokens of 8 voxels, without skips; a light decoder.",
    source=Source(
        paper="Primus: Enforcing Attention Usage for 3D Medical Image Segmentation, arXiv 2025",
        repository="MIC-DKFZ/nnUNet",
        licence="Apache-2.0",
    ),
    factory="baselines.primus.network:build",
    options=PrimusOptions,
    presets={
        "paper": {},
        "small": {"width": 396, "depth": 12, "heads": 6},
        "base": {"width": 792, "depth": 12, "heads": 12},
        "large": {"width": 1056, "depth": 24, "heads": 16},
        "tiny": {"width": 96, "depth": 3, "heads": 4, "drop_path": 0.0},
    },
    spatial_dims=frozenset({3}),
    official_task=Task(("t1", "t1ce", "t2", "flair"), leading=None, out_channels=4, patch_size=(128, 128, 128)),
    official_parameters=150_284_228,
    native_recipe={
        # nnU-Net v2's, but for the optimiser and its warm-up; no deep supervision.
        **NNUNET,
        "training": {
            **NNUNET["training"],
            "optimiser": {"name": "adamw", "lr": 3e-4, "betas": (0.9, 0.98), "weight_decay": 5e-2, "clip_norm": 1},
            "schedule": {"name": "poly", "power": 0.9, "warmup_epochs": 50, "per": "epoch"},
        },
    },
    notes=(
        "The classes of dynamic_network_architectures with the values of nnU-Net's Primus trainers: drop path 0.2, "
        "layer scale 0.1, a norm within attention. The classes themselves default to none of them.",
        "Other sizes: presets small (25 480 960 parameters), base (96 529 980), large (330 050 636).",
        "3D only: neither its embedding nor its rotary positions have a 2D form.",
        "Patch sides are multiples of 8; the position table ties the weights to the patch size.",
    ),
)
