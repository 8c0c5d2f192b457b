"""TransBTS (MICCAI 2021): a convolutional encoder and decoder with a Transformer at an eighth of the resolution.

Nothing here imports torch; the network is in :mod:`baselines.transbts.network`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from baselines.shared.recipes import recipe
from harness.segmenters.contract import Options, Segmenter, Source, Task

__all__ = ["SEGMENTER", "TransBTSOptions"]

NORM_GROUPS = 8
"""Groups of the encoder's group norms."""


class TransBTSOptions(Options):
    """Options of TransBTS; the defaults are the authors', but for the stem's dropout in evaluation."""

    width: int = Field(
        default=16,
        ge=NORM_GROUPS,
        le=65536,
        multiple_of=NORM_GROUPS,
        description="Channels at full resolution; each of the three coarser levels doubles them.",
    )
    hidden_size: int = Field(default=512, ge=1, le=65536, description="Width of a token.")
    mlp_dim: int = Field(default=4096, ge=1, le=65536, description="Hidden width of a Transformer block's MLP.")
    num_heads: int = Field(default=8, ge=1, le=1024, description="Attention heads of a Transformer block.")
    num_layers: int = Field(default=4, ge=1, le=1024, description="Transformer blocks.")
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0, description="Dropout of tokens, attention and MLPs.")
    stem_dropout_rate: float = Field(
        default=0.2, ge=0.0, lt=1.0, description="Share of the stem's channels that are dropped at a time."
    )
    stem_dropout: Literal["train_only", "always"] = Field(
        default="train_only",
        description="When the stem's channels are dropped. `always`: in evaluation too, as in the released code, whose "
        "predictions are random. `train_only`: as dropout is meant, so that evaluation is deterministic.",
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> TransBTSOptions:
        if self.hidden_size % self.num_heads:
            raise ValueError(f"num_heads {self.num_heads} does not divide hidden_size {self.hidden_size}")
        return self


SEGMENTER = Segmenter(
    name="transbts",
    title="TransBTS",
    summary="A residual convolutional encoder, four Transformer blocks on its coarsest map, a convolutional decoder.",
    source=Source(
        paper="TransBTS: Multimodal Brain Tumor Segmentation Using Transformer, MICCAI 2021",
        repository="Rubics-Xuan/TransBTS",
        licence="Apache-2.0",
    ),
    factory="baselines.transbts.network:build",
    options=TransBTSOptions,
    presets={
        "paper": {},
        "tiny": {"width": 8, "hidden_size": 128, "mlp_dim": 256, "num_heads": 4, "num_layers": 2},
    },
    spatial_dims=frozenset({2, 3}),
    adapted_dims=frozenset({2}),
    official_task=Task(("flair", "t1ce", "t1", "t2"), leading=None, out_channels=4, patch_size=(128, 128, 128)),
    official_options={"stem_dropout": "always"},
    official_parameters=32_723_908,
    translator="baselines.transbts.released:translate",
    native_recipe=recipe(
        # Theirs: Adam with amsgrad and a Dice loss alone, the sum of three labels' (ours is their mean).
        batch_size=8,
        epochs=1000,
        optimiser={"name": "adam", "lr": 2e-4, "weight_decay": 1e-5},
        schedule={"name": "poly", "power": 0.9, "per": "epoch"},
        loss={"cross_entropy": 0, "dice": 1},
        augmentation={"p_brightness": 0.5, "brightness": (0.9, 1.1), "mirror_axes": (0, 1)},
    ),
    notes=(
        "The stem's channel dropout acts in training only; in the released code it acts in evaluation too, which makes "
        "predictions random (stem_dropout: always).",
        "The released code holds 263 680 more parameters that no gradient reaches (32 987 588 in all): a linear patch "
        "encoder and a last layer norm that is computed and not used. They are not built.",
        "The released network ends in a softmax, and its test script applies another; here it returns logits.",
        "Patch sides are multiples of 8; the position embedding ties the weights to the patch size.",
        "2D is the same network with two-dimensional layers, which the authors never had.",
    ),
)
