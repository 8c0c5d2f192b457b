"""UNETR++ (TMI 2024): attention between channels and, on few projected tokens, between places, at every level.

Nothing here imports torch; the network is in :mod:`baselines.unetrpp.network`.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from baselines.shared.recipes import NNUNET
from harness.segmenters.contract import Options, Segmenter, Source, Task

__all__ = ["SEGMENTER", "UNETRPPOptions"]

Depth = Annotated[int, Field(ge=1, le=1024)]


class UNETRPPOptions(Options):
    """Options of UNETR++; the defaults are the authors' for brain tumours."""

    width: int = Field(
        default=32,
        ge=2,
        le=65536,
        multiple_of=2,
        description="Channels at a quarter of the resolution; each of the three coarser levels doubles them.",
    )
    depths: tuple[Depth, Depth, Depth, Depth] = Field(
        default=(3, 3, 3, 3), description="Blocks of each level of the encoder, finest first."
    )
    decoder_depth: int = Field(default=3, ge=1, le=1024, description="Blocks of each level of the decoder.")
    num_heads: int = Field(default=4, ge=1, le=1024, description="Attention heads of a block.")
    tokens: int = Field(default=64, ge=1, le=65536, description="Tokens that keys and values are projected to.")
    coarsest_tokens: int = Field(default=32, ge=1, le=65536, description="The same at the coarsest level.")
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0, description="Dropout of attention and of a block's end.")
    deep_supervision: bool = Field(
        default=True, description="Whether training sees outputs at a quarter and an eighth of the resolution too."
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.num_heads:
            raise ValueError(f"num_heads {self.num_heads} does not divide width {self.width}")
        return self


SEGMENTER = Segmenter(
    name="unetrpp",
    title="UNETR++",
    summary="Blocks of paired attention, between channels and between places, in an encoder and a decoder.",
    source=Source(
        paper="UNETR++: Delving into Efficient and Accurate 3D Medical Image Segmentation, arXiv 2022, TMI 2024",
        repository="Amshaker/unetr_plus_plus",
        licence="Apache-2.0",
    ),
    factory="baselines.unetrpp.network:build",
    options=UNETRPPOptions,
    presets={
        "paper": {},
        "tiny": {"width": 8, "depths": (1, 1, 1, 1), "decoder_depth": 1, "tokens": 16, "coarsest_tokens": 8},
    },
    spatial_dims=frozenset({2, 3}),
    adapted_dims=frozenset({2}),
    contiguous_dims=frozenset({3}),
    official_task=Task(("flair", "t1", "t1ce", "t2"), leading=None, out_channels=4, patch_size=(128, 128, 128)),
    official_parameters=42_647_604,
    translator="baselines.unetrpp.released:translate",
    native_recipe={**NNUNET, "sampling": {"batch_size": 2}},
    notes=(
        "The authors' tumour network; those for Synapse, ACDC and lung differ in strides and sizes.",
        "As released, the result of attention between places is put back with tokens and channels mixed (their issue "
        "62 confirms it).",
        "Residual branches start with a scale of 1e-6.",
        "Group norms have as many groups as channels come in; where those do not divide the width, their greatest "
        "common divisor.",
        "Patch sides are multiples of 32, and one of them at least 64; two tables tie the weights to the patch size.",
        "2D is the same network with two-dimensional layers, which the authors never had.",
    ),
)
