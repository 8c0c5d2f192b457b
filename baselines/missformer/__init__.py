"""MISSFormer (arXiv 2021, IEEE TMI 2023): a Transformer U-Net whose skips pass a Transformer of all scales.

Nothing here imports torch; the network is in :mod:`baselines.missformer.network`.
"""

from typing import Annotated, Literal

from pydantic import Field

from baselines.shared.recipes import recipe
from harness.segmenters.contract import Options, Segmenter, Source, Task

__all__ = ["SEGMENTER", "MISSFormerOptions"]

Depth = Annotated[int, Field(ge=1, le=1024)]


class MISSFormerOptions(Options):
    """Options of MISSFormer; with the defaults it computes the same as the released code."""

    width: int = Field(
        default=64,
        ge=2,
        le=65536,
        multiple_of=2,
        description="Channels at 1/4 of the resolution, of an attention head and of the bridge's tokens. The "
        "coarser levels have 2, 5 and 8 times as many.",
    )
    depths: tuple[Depth, Depth, Depth, Depth] = Field(
        default=(2, 2, 2, 2), description="Blocks of the encoder at 1/4, 1/8, 1/16 and 1/32 of the resolution."
    )
    bridge_depth: int = Field(default=4, ge=1, le=1024, description="Transformer layers of the bridge.")
    dead_layers: Literal["drop", "keep"] = Field(
        default="drop",
        description="Layers that the released code builds and never calls: two layer norms in every feed-forward, and "
        "a linear layer and two blocks of the deepest decoder level (7.0 of 42.5 M parameters). `keep`: they are "
        "there, as in published parameter counts, without any effect.",
    )


SEGMENTER = Segmenter(
    name="missformer",
    title="MISSFormer",
    summary="A Transformer U-Net with convolutions in its feed-forwards; attention over all scales joins the skips.",
    source=Source(
        paper="MISSFormer: An Effective Medical Image Segmentation Transformer, arXiv 2021, IEEE TMI 2023",
        repository="ZhifangDeng/MISSFormer",
        licence="none given",
    ),
    factory="baselines.missformer.network:build",
    options=MISSFormerOptions,
    presets={
        "paper": {},
        "tiny": {"width": 16},
    },
    spatial_dims=frozenset({2}),
    official_task=Task(("red", "green", "blue"), leading=None, out_channels=9, patch_size=(224, 224)),
    official_options={"dead_layers": "keep"},
    official_parameters=42_462_537,
    translator="baselines.missformer.released:translate",
    native_recipe=recipe(
        # Theirs: none to four of ten imgaug operators; shear, piecewise and shift have no counterpart here.
        batch_size=24,
        epochs=400,
        optimiser={"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4},
        schedule={"name": "poly", "power": 0.9, "per": "step"},
        loss={"cross_entropy": 0.4, "dice": 0.6, "dice_background": True},
        augmentation={
            "rotation_degrees": 40,
            "p_rotation": 0.2,
            "scale": (0.5, 2.0),
            "p_scale": 0.2,
            "p_noise": 0.2,
            "p_blur": 0.2,
            "p_contrast": 0.2,
            "mirror_axes": (0, 1),
        },
    ),
    notes=(
        "Starts from scratch, as the authors' does: their option for a pretrained encoder is ignored by their code.",
        "7,009,792 of the released 42,462,537 parameters never enter the output; they are left out by default "
        "(35,452,745), and `dead_layers: keep` builds them.",
        "In the bridge, keys and values of the three finer scales mix channels with positions (as released).",
        "Takes any number of modalities and any patch with sides that are multiples of 32; the released code is fixed "
        "to 3 x 224 x 224.",
    ),
)
