"""RFNet (ICCV 2021): one encoder per modality, fused region by region, whichever modalities are present.

Nothing here imports torch; the network is in :mod:`baselines.rfnet.network`.
"""

from __future__ import annotations

from pydantic import Field

from baselines.shared.recipes import recipe
from harness.segmenters.contract import Options, Segmenter, Source, Task

__all__ = ["SEGMENTER", "RFNetOptions"]


class RFNetOptions(Options):
    """Options of RFNet; the defaults are the authors'."""

    width: int = Field(
        default=16,
        ge=4,
        le=65536,
        multiple_of=4,
        description="Channels at full resolution; each of the three coarser levels doubles them.",
    )
    drop_modalities: bool = Field(
        default=True,
        description="Whether training fuses a set of modalities drawn at random for each image, every set with equal "
        "chance, as the authors do. The encoders see all that are present.",
    )


SEGMENTER = Segmenter(
    name="rfnet",
    title="RFNet",
    summary="An encoder per modality; present modalities are weighed region by region at four resolutions.",
    source=Source(
        paper="RFNet: Region-aware Fusion Network for Incomplete Multi-modal Brain Tumor Segmentation, ICCV 2021",
        repository="dyh127/RFNet",
        licence="none",
    ),
    factory="baselines.rfnet.network:build",
    options=RFNetOptions,
    presets={
        "paper": {},
        "tiny": {"width": 4},
    },
    spatial_dims=frozenset({2, 3}),
    adapted_dims=frozenset({2}),
    contiguous_dims=frozenset({3}),
    official_task=Task(("flair", "t1ce", "t1", "t2"), leading=None, out_channels=4, patch_size=(80, 80, 80)),
    official_parameters=8_984_960,
    translator="baselines.rfnet.released:translate",
    native_recipe=recipe(
        # Theirs: Adam with amsgrad; cross-entropy weighted by class on clamped probabilities; the fused output without
        # weight for 20 epochs; 150 steps per epoch; crops of 80; rotation by up to 10 degrees, nearest neighbour.
        batch_size=2,
        epochs=300,
        optimiser={"name": "adam", "lr": 2e-4, "weight_decay": 1e-4},
        schedule={"name": "poly", "power": 0.9, "per": "epoch"},
        loss={"cross_entropy": 1, "dice": 1, "dice_background": True},
        augmentation={"p_brightness": 1, "brightness": (0.9, 1.1), "mirror_axes": (0, 1)},
    ),
    notes=(
        "Made for missing modalities: it takes a mask of those present.",
        "Training sums the losses of the fused output, of every modality's own and of the region maps of four levels, "
        "each with weight 1. The authors leave the fused one out for the first 20 epochs.",
        "The released network ends in a softmax; here it returns logits.",
        "Its reflecting borders and linear upsampling have no deterministic backward pass on a GPU: protocols with "
        "`determinism: strict` refuse it there.",
        "Patch sides are multiples of 8, and at least 16.",
        "2D is the same network with two-dimensional layers, which the authors never had.",
    ),
)
