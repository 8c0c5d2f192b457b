"""TransUNet (arXiv 2021): a ResNet, a Vision Transformer on its last feature map, and a U-Net decoder.

Nothing here imports torch; the network is in :mod:`baselines.transunet.network`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from baselines.shared.recipes import recipe
from harness.segmenters.contract import Options, Segmenter, Source, Task

__all__ = ["SEGMENTER", "TransUNetOptions"]

Depth = Annotated[int, Field(ge=1, le=1024)]
Width = Annotated[int, Field(ge=1, le=65536)]


class TransUNetOptions(Options):
    """Options of TransUNet; the defaults are the released code's R50-ViT-B/16."""

    width: int = Field(
        default=64,
        ge=32,
        le=65536,
        multiple_of=32,
        description="Channels of the ResNet's stem; its stages have 4, 8, 16 times.",
    )
    resnet_depths: tuple[Depth, Depth, Depth] = Field(
        default=(3, 4, 9), description="Bottlenecks at 1/4, 1/8 and 1/16 of the resolution."
    )
    hidden_size: int = Field(default=768, ge=1, le=65536, description="Width of a token.")
    num_layers: int = Field(default=12, ge=1, le=1024, description="Transformer blocks.")
    num_heads: int = Field(default=12, ge=1, le=1024, description="Attention heads of a Transformer block.")
    mlp_dim: int = Field(default=3072, ge=1, le=65536, description="Hidden width of a Transformer block's MLP.")
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0, description="Dropout of tokens and MLPs; attention has none.")
    decoder_channels: tuple[Width, Width, Width, Width, Width] = Field(
        default=(512, 256, 128, 64, 16), description="Channels of the decoder from 1/16 of the resolution to 1/1."
    )
    pretrained: str = Field(
        default="none",
        min_length=1,
        description="`none`, or the path of a file with R50+ViT-B/16's ImageNet-21k weights (Google's `.npz` or timm's "
        "`vit_base_r50_s16_224`), which start ResNet and Transformer; positions are interpolated. The authors always "
        "start so. Nothing is downloaded.",
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> TransUNetOptions:
        if self.hidden_size % self.num_heads:
            raise ValueError(f"num_heads {self.num_heads} does not divide hidden_size {self.hidden_size}")
        return self


SEGMENTER = Segmenter(
    name="transunet",
    title="TransUNet",
    summary="A ResNet-50 without its last stage, a ViT-B on its last map, a decoder with the ResNet's maps as skips.",
    source=Source(
        paper="TransUNet: Transformers Make Strong Encoders for Medical Image Segmentation, arXiv 2021",
        repository="Beckschen/TransUNet",
        licence="Apache-2.0",
    ),
    factory="baselines.transunet.network:build",
    options=TransUNetOptions,
    presets={
        "paper": {},
        "tiny": {
            "width": 32,
            "resnet_depths": (1, 1, 1),
            "hidden_size": 96,
            "num_layers": 4,
            "num_heads": 4,
            "mlp_dim": 192,
            "dropout": 0.0,
            "decoder_channels": (96, 64, 32, 16, 16),
        },
    },
    spatial_dims=frozenset({2}),
    official_task=Task(("red", "green", "blue"), leading=None, out_channels=9, patch_size=(224, 224)),
    official_parameters=105_277_081,
    pretrained_option="pretrained",
    pretrained_source="https://storage.googleapis.com/vit_models/imagenet21k/R50%2BViT-B_16.npz",
    translator="baselines.transunet.released:translate",
    native_recipe=recipe(
        # Theirs: half the slices rot90 and flip, half of the others rotate by up to 20 degrees.
        batch_size=24,
        epochs=150,
        optimiser={"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4},
        schedule={"name": "poly", "power": 0.9, "per": "step"},
        loss={"cross_entropy": 0.5, "dice": 0.5, "dice_background": True},
        augmentation={"rotation_degrees": 20, "p_rotation": 0.25, "mirror_axes": (0, 1)},
    ),
    notes=(
        "Starts from scratch unless `pretrained` is given; the authors always start from ImageNet-21k weights and "
        "publish no numbers from scratch.",
        "Patch sides are multiples of 16; the position embedding ties the weights to the patch size.",
        "The quarter-resolution skip lacks its last row and column and is padded with zeros, as in the released code.",
        "Takes any number of modalities; the released code repeats one grey channel three times.",
    ),
)
