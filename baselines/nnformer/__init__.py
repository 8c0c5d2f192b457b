"""nnFormer (arXiv 2021, TIP 2023): a U-shaped network of window attention between convolutional ends.

Nothing here imports torch; the network is in :mod:`baselines.nnformer.network`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from baselines.shared.recipes import NNUNET
from harness.segmenters.contract import Options, Segmenter, Source, Task

__all__ = ["SEGMENTER", "NnFormerOptions"]

WindowSide = Annotated[int, Field(ge=1, le=1024)]


class NnFormerOptions(Options):
    """Options of nnFormer; the defaults are the authors' for brain tumours."""

    width: int = Field(
        default=96,
        ge=2,
        le=65536,
        multiple_of=2,
        description="Channels of a token at the finest of four levels; each coarser level doubles them. "
        "The authors take 192 for Synapse.",
    )
    num_heads: int = Field(
        default=3,
        ge=1,
        le=1024,
        description="Attention heads of the encoder at the finest level; each coarser one doubles them.",
    )
    windows: tuple[WindowSide, WindowSide, WindowSide, WindowSide] = Field(
        default=(4, 4, 8, 4),
        description="Tokens a side of a window by level, finest first. A map that is smaller is one window.",
    )
    token_size: Literal[1, 2, 4] | tuple[Literal[1, 2, 4], ...] = Field(
        default=4,
        description="Voxels per side of a token at the finest level; one number, or one per axis (Synapse: 2, 4, 4).",
    )
    mlp_ratio: int = Field(default=4, ge=1, le=1024, description="Hidden width of an MLP in widths of its token.")
    drop_path: float = Field(
        default=0.2,
        ge=0.0,
        lt=1.0,
        description="Share of images that skip a residual branch: 0 in the first block of encoder and decoder, "
        "rising to this in their last.",
    )
    relative_index: Literal["released", "correct"] = Field(
        default="released",
        description="Row of the position bias of two tokens. `released`: the authors' formula, by which different "
        "offsets share rows and most rows are never read. `correct`: one row for each offset. The same in 2D.",
    )
    decoder_heads: Literal["released", "matched"] = Field(
        default="released",
        description="Heads of the decoder. `released`: those of the encoder's next coarser level, as in the authors' "
        "tumour network. `matched`: those of the encoder's level, as in their Synapse network.",
    )
    deep_supervision: bool = Field(
        default=False,
        description="Whether training sees outputs at a half and a quarter of the resolution too. "
        "The authors switch it on for Synapse.",
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> NnFormerOptions:
        heads = self.num_heads * (2 if self.decoder_heads == "released" else 1)
        if self.width % heads:
            where = "the decoder's " if heads != self.num_heads else ""
            raise ValueError(f"{where}{heads} heads do not divide width {self.width}")
        return self


SEGMENTER = Segmenter(
    name="nnformer",
    title="nnFormer",
    summary="Window attention at four resolutions; the decoder attends to the encoder's features.",
    source=Source(
        paper="nnFormer: Volumetric Medical Image Segmentation via a 3D Transformer, arXiv 2021, TIP 2023",
        repository="282857341/nnFormer",
        licence="MIT",
    ),
    factory="baselines.nnformer.network:build",
    options=NnFormerOptions,
    presets={
        "paper": {},
        "tiny": {"width": 24, "num_heads": 2, "drop_path": 0.0},
    },
    spatial_dims=frozenset({2, 3}),
    adapted_dims=frozenset({2}),
    official_task=Task(("flair", "t1", "t1ce", "t2"), leading=None, out_channels=4, patch_size=(128, 128, 128)),
    official_parameters=37_606_726,
    translator="baselines.nnformer.released:translate",
    native_recipe=NNUNET,
    notes=(
        "The authors' tumour network; options make it their Synapse network (150 054 210 parameters).",
        "Position biases are looked up by the released formula, which maps the 343 offsets of a 4 x 4 x 4 window to "
        "115 rows (relative_index: correct gives each its own). In 2D both are the same.",
        "The decoder has 6, 12 and 24 heads where the encoder has 3, 6 and 12, a slip of the released tumour network "
        "(decoder_heads: matched).",
        "Published parameter counts differ from the code's; 37 606 726 is counted from the code.",
        "Patch sides are multiples of 32 (8 tokens of 4 voxels); a map that windows do not divide is padded.",
        "2D is the same network with windows, shifts and convolutions in the plane, which the authors never had.",
    ),
)
