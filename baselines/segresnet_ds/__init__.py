"""SegResNetDS: MONAI's SegResNet with deep supervision, as Auto3DSeg trains it.

Nothing here imports torch; the network is in :mod:`baselines.segresnet_ds.network`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from baselines.shared.recipes import recipe
from harness.segmenters.contract import Options, Segmenter, Source, Task

__all__ = ["SEGMENTER", "SegResNetDSOptions"]

Blocks = Annotated[int, Field(ge=1, le=1024)]


class SegResNetDSOptions(Options):
    """Options of SegResNetDS; the defaults are Auto3DSeg's."""

    width: int = Field(
        default=32, ge=1, le=65536, description="Channels at full resolution; each coarser level doubles them."
    )
    blocks: tuple[Blocks, ...] = Field(
        default=(1, 2, 2, 4, 4),
        min_length=2,
        max_length=16,
        description="Residual blocks of the encoder, finest level first; the decoder has one per level.",
    )
    norm: Literal["instance", "batch"] = Field(
        default="instance", description="Norm of every block. MONAI's class defaults to `batch`, Auto3DSeg sets this."
    )
    outputs: int = Field(
        default=4, ge=1, le=16, description="Resolutions that training sees, the finest first; 1: no deep supervision."
    )

    @model_validator(mode="after")
    def _every_output_has_a_level(self) -> Self:
        if self.outputs > len(self.blocks) - 1:
            raise ValueError(f"outputs {self.outputs} is more than the {len(self.blocks) - 1} levels of the decoder")
        return self


SEGMENTER = Segmenter(
    name="segresnet_ds",
    title="SegResNetDS",
    summary="SegResNet with transposed convolutions, five levels and outputs at several resolutions in training.",
    source=Source(
        paper="3D MRI brain tumor segmentation using autoencoder regularization, BrainLes 2018; Auto3DSeg of MONAI",
        repository="Project-MONAI/MONAI",
        licence="Apache-2.0",
    ),
    factory="baselines.segresnet_ds.network:build",
    options=SegResNetDSOptions,
    presets={
        "paper": {},
        "class": {"blocks": (1, 2, 2, 4), "norm": "batch", "outputs": 1},
        "tiny": {"width": 8, "blocks": (1, 1, 1, 1), "outputs": 3},
    },
    spatial_dims=frozenset({2, 3}),
    adapted_dims=frozenset({2}),
    contiguous_dims=frozenset({3}),
    official_task=Task(("t1ce", "t1", "t2", "flair"), leading=None, out_channels=4, patch_size=(128, 128, 128)),
    official_parameters=87_167_760,
    native_recipe=recipe(
        # Auto3DSeg's template, crop 224 x 224 x 144; its Dice squares predictions; intensity scale and shift.
        batch_size=1,
        epochs=300,
        optimiser={"name": "adamw", "lr": 2e-4, "weight_decay": 1e-5},
        schedule={"name": "cosine", "warmup_epochs": 3, "per": "epoch"},
        loss={"cross_entropy": 1, "dice": 1, "batch_dice": False, "dice_background": True},
        augmentation={"p_brightness": 1, "brightness": (0.9, 1.1), "mirror_axes": (0, 1)},
    ),
    notes=(
        "MONAI's SegResNetDS. Auto3DSeg's values (five levels, instance norm, four outputs) are the defaults; preset "
        "`class` has those of the class (19 916 804 parameters in the official configuration).",
        "Outputs weigh 1, 1/2, 1/4, ... as in MONAI's DeepSupervisionLoss, and no less than 1/16.",
        "Isotropic kernels: MONAI's anisotropic ones need a spacing, which a task has not.",
        "Patch sides are multiples of 16 (of 2 to the number of halvings).",
        "2D is MONAI's spatial_dims=2; the paper has 3D alone.",
    ),
)
