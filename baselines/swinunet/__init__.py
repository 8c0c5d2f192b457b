"""Swin-Unet (ECCV Workshops 2022): a U-Net whose every block is a pair of shifted-window Transformer blocks.

Nothing here imports torch; the network is in :mod:`baselines.swinunet.network`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from baselines.shared.recipes import recipe
from harness.segmenters.contract import Options, Segmenter, Source, Task

__all__ = ["SEGMENTER", "SwinUNetOptions"]

Depth = Annotated[int, Field(ge=1, le=1024)]


class SwinUNetOptions(Options):
    """Options of Swin-Unet; the defaults are the released code's Swin-Tiny."""

    embed_dim: int = Field(
        default=96,
        ge=2,
        le=65536,
        multiple_of=2,
        description="Width of a token at 1/4 of the resolution; each level doubles it.",
    )
    depths: tuple[Depth, Depth, Depth, Depth] = Field(
        default=(2, 2, 2, 2), description="Blocks at 1/4, 1/8, 1/16 and 1/32 of the resolution."
    )
    decoder_depths: tuple[Depth, Depth, Depth] | None = Field(
        default=None,
        description="Blocks of the decoder at 1/4, 1/8 and 1/16. Not set: the encoder's, as the released code, which "
        "ignores its own setting for the decoder, has it.",
    )
    heads: int = Field(
        default=3, ge=1, le=1024, description="Attention heads at 1/4 of the resolution; each level doubles them."
    )
    window: int | None = Field(
        default=None,
        ge=2,
        le=1024,
        description="Tokens a side of a window. Not set: along each axis the side nearest to the paper's 7 that tiles "
        "every level's grid (7 at 224, 8 at 64, 128 and 256). The bias tables depend on it.",
    )
    drop_path: float = Field(
        default=0.2, ge=0.0, lt=1.0, description="Chance to skip a block's branch at the deepest block; rises from 0."
    )
    pretrained: str = Field(
        default="none",
        min_length=1,
        description="`none`, or the path of a file with Swin-T's ImageNet weights (Microsoft's or timm's), which "
        "start the encoder and, mirrored, the decoder, as in the released code. The official README calls this very "
        "important. Nothing is downloaded.",
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> SwinUNetOptions:
        if self.embed_dim % self.heads:
            raise ValueError(f"heads {self.heads} does not divide embed_dim {self.embed_dim}")
        return self


SEGMENTER = Segmenter(
    name="swinunet",
    title="Swin-Unet",
    summary="A U-Net of shifted-window Transformer blocks; patches are merged on the way down, expanded on the way up.",
    source=Source(
        paper="Swin-Unet: Unet-like Pure Transformer for Medical Image Segmentation, ECCV Workshops 2022",
        repository="HuCaoFighting/Swin-Unet",
        licence="none given",
    ),
    factory="baselines.swinunet.network:build",
    options=SwinUNetOptions,
    presets={
        "paper": {},
        "tiny": {"embed_dim": 32, "heads": 2, "drop_path": 0.0},
    },
    spatial_dims=frozenset({2}),
    official_task=Task(("red", "green", "blue"), leading=None, out_channels=9, patch_size=(224, 224)),
    official_parameters=27_168_900,
    pretrained_option="pretrained",
    pretrained_source="https://github.com/SwinTransformer/storage/releases/download/v1.0.0/"
    "swin_tiny_patch4_window7_224.pth",
    translator="baselines.swinunet.released:translate",
    native_recipe=recipe(
        # Theirs: half the slices rot90 and flip, half of the others rotate by up to 20 degrees.
        batch_size=24,
        epochs=150,
        optimiser={"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4},
        schedule={"name": "poly", "power": 0.9, "per": "step"},
        loss={"cross_entropy": 0.4, "dice": 0.6, "dice_background": True},
        augmentation={"rotation_degrees": 20, "p_rotation": 0.25, "mirror_axes": (0, 1)},
    ),
    notes=(
        "Starts from scratch unless `pretrained` is given; the authors publish no numbers from scratch.",
        "Patch sides are multiples of 32. Windows of 7 tokens fit only at 224 and its multiples; otherwise each axis "
        "takes the nearest side that fits, where the released code would take one side for both axes.",
        "As released: skips are taken before each level's blocks; the decoder is as deep as the encoder.",
        "Takes any number of modalities; the released wrapper repeats one grey channel three times.",
    ),
)
