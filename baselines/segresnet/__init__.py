"""SegResNet (BrainLes 2018): a residual encoder, and a decoder that adds its skips.

Nothing here imports torch; the network is in :mod:`baselines.segresnet.network`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from baselines.shared.recipes import recipe
from harness.segmenters.contract import Options, Segmenter, Source, Task

__all__ = ["SEGMENTER", "SegResNetOptions"]

NORM_GROUPS = 8
"""Groups of every norm."""
Blocks = Annotated[int, Field(ge=1, le=1024)]


class SegResNetOptions(Options):
    """Options of SegResNet; the defaults are those of MONAI's BraTS bundle."""

    width: int = Field(
        default=16,
        ge=NORM_GROUPS,
        le=65536,
        multiple_of=NORM_GROUPS,
        description="Channels at full resolution; each coarser level doubles them. The paper has 32, MONAI's class 8.",
    )
    blocks: tuple[Blocks, ...] = Field(
        default=(1, 2, 2, 4),
        min_length=2,
        max_length=16,
        description="Residual blocks of the encoder, finest level first; the decoder has one per level.",
    )
    dropout: float = Field(
        default=0.2, ge=0.0, lt=1.0, description="Share of channels that are dropped after the first convolution."
    )


SEGMENTER = Segmenter(
    name="segresnet",
    title="SegResNet",
    summary="Residual blocks with group norm at four resolutions; the decoder adds the encoder's maps.",
    source=Source(
        paper="3D MRI brain tumor segmentation using autoencoder regularization, BrainLes 2018",
        repository="Project-MONAI/MONAI",
        licence="Apache-2.0",
    ),
    factory="baselines.segresnet.network:build",
    options=SegResNetOptions,
    presets={
        "bundle": {},
        "paper": {"width": 32},
        "tiny": {"width": 8, "blocks": (1, 1, 1, 1)},
    },
    spatial_dims=frozenset({2, 3}),
    adapted_dims=frozenset({2}),
    official_task=Task(("t1ce", "t1", "t2", "flair"), leading=None, out_channels=3, patch_size=(128, 128, 128)),
    official_parameters=4_702_227,
    native_recipe=recipe(
        # Bundle brats_mri_segmentation: squared sigmoid Dice on overlapping regions; intensity scale and shift.
        batch_size=1,
        epochs=300,
        optimiser={"name": "adam", "lr": 1e-4, "weight_decay": 1e-5},
        schedule={"name": "cosine", "per": "epoch"},
        loss={"cross_entropy": 0, "dice": 1, "batch_dice": False},
        augmentation={"p_brightness": 1, "brightness": (0.9, 1.1), "mirror_axes": (0, 1)},
    ),
    notes=(
        "MONAI's SegResNet; the authors of the paper released no other code. Defaults are MONAI's bundle for BraTS.",
        "Without the paper's autoencoder branch, which regularises training by reconstructing the image.",
        "Its linear upsampling has no deterministic backward pass on a GPU: protocols with `determinism: strict` "
        "refuse it there.",
        "Patch sides are multiples of 8 (of 2 to the number of halvings).",
        "2D is MONAI's spatial_dims=2; the paper has 3D alone.",
    ),
)
