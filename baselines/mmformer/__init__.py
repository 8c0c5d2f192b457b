"""mmFormer (MICCAI 2022): Transformers within and between modalities, whichever are present, on convolutional features.

Nothing here imports torch; the network is in :mod:`baselines.mmformer.network`.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from baselines.shared.recipes import recipe
from harness.segmenters.contract import Options, Segmenter, Source, Task

__all__ = ["SEGMENTER", "MMFormerOptions"]


class MMFormerOptions(Options):
    """Options of mmFormer; the defaults are the authors'."""

    width: int = Field(
        default=8,
        ge=1,
        le=65536,
        description="Channels at full resolution; each of the four coarser levels doubles them. Other code names 16.",
    )
    hidden_size: int = Field(default=512, ge=1, le=65536, description="Width of a token.")
    mlp_dim: int = Field(default=4096, ge=1, le=65536, description="Hidden width of a Transformer block's MLP.")
    num_heads: int = Field(default=8, ge=1, le=1024, description="Attention heads of a Transformer block.")
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0, description="Dropout of attention and MLPs.")
    drop_modalities: bool = Field(
        default=True,
        description="Whether training fuses a set of modalities drawn at random for each image, every set with equal "
        "chance, as the authors do. The encoders see all that are present.",
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.hidden_size % self.num_heads:
            raise ValueError(f"num_heads {self.num_heads} does not divide hidden_size {self.hidden_size}")
        return self


SEGMENTER = Segmenter(
    name="mmformer",
    title="mmFormer",
    summary="An encoder and a Transformer per modality, a Transformer across those present, a convolutional decoder.",
    source=Source(
        paper="mmFormer: Multimodal Medical Transformer for Incomplete Multimodal Learning of Brain Tumor "
        "Segmentation, MICCAI 2022",
        repository="YaoZhang93/mmFormer",
        licence="Apache-2.0",
    ),
    factory="baselines.mmformer.network:build",
    options=MMFormerOptions,
    presets={
        "paper": {},
        "tiny": {"width": 4, "hidden_size": 64, "mlp_dim": 128, "num_heads": 4},
    },
    spatial_dims=frozenset({2, 3}),
    adapted_dims=frozenset({2}),
    contiguous_dims=frozenset({3}),
    official_task=Task(("flair", "t1ce", "t1", "t2"), leading=None, out_channels=4, patch_size=(128, 128, 128)),
    official_parameters=36_391_760,
    translator="baselines.mmformer.released:translate",
    native_recipe=recipe(
        # Theirs: Adam with amsgrad; cross-entropy weighted by class on clamped probabilities; rotation by up to 10
        # degrees, nearest neighbour. Batch 8 on four GPUs.
        batch_size=8,
        epochs=1000,
        optimiser={"name": "adam", "lr": 2e-4, "weight_decay": 1e-4},
        schedule={"name": "poly", "power": 0.9, "per": "epoch"},
        loss={"cross_entropy": 1, "dice": 1, "dice_background": True},
        augmentation={"p_brightness": 1, "brightness": (0.9, 1.1), "mirror_axes": (0, 1)},
    ),
    notes=(
        "Made for missing modalities: it takes a mask of those present.",
        "Training sums the losses of the fused output, of every modality's own and of four coarser outputs, each with "
        "weight 1.",
        "The released code holds 262 656 more parameters that no gradient reaches (36 654 416 in all). They are not "
        "built.",
        "As released, the tokens are put back without a transpose: a place gets neighbouring tokens of one modality, "
        "not one of each. Tokens of absent modalities are 0, and keep their positions in the attention.",
        "The released network ends in a softmax; here it returns logits.",
        "Its reflecting borders and linear upsampling have no deterministic backward pass on a GPU: protocols with "
        "`determinism: strict` refuse it there.",
        "Patch sides are multiples of 16, and at least 32; the position tables tie the weights to the patch size.",
        "2D is the same network with two-dimensional layers, which the authors never had.",
    ),
)
