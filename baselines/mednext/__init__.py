"""MedNeXt (MICCAI 2023): a U-Net of ConvNeXt blocks, whose resampling is residual and inverted too.

Nothing here imports torch; the network is in :mod:`baselines.mednext.network`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from baselines.shared.recipes import NNUNET
from harness.segmenters.contract import Options, Segmenter, Source, Task

__all__ = ["SEGMENTER", "MedNeXtOptions"]


class MedNeXtOptions(Options):
    """Options of MedNeXt; the defaults are the smallest of the authors' four networks."""

    size: Literal["S", "B", "M", "L"] = Field(
        default="S", description="Expansions and number of blocks of the authors' small, base, medium, large network."
    )
    width: int = Field(default=32, ge=1, le=65536, description="Channels at full resolution; each level doubles them.")
    kernel: Literal[3, 5, 7] = Field(default=3, description="Side of a depthwise kernel; the authors have 3 and 5.")
    down_expansion: Literal["released", "monai"] = Field(
        default="released",
        description="Expansion of a downsampling block. `released`: that of the level it leads to, as in the authors' "
        "code. `monai`: that of the level it starts from, as in MONAI. The same for size S.",
    )
    deep_supervision: bool = Field(default=True, description="Whether training sees the outputs of all five levels.")


SEGMENTER = Segmenter(
    name="mednext",
    title="MedNeXt",
    summary="Depthwise convolutions and inverted bottlenecks at five resolutions; the decoder adds its skips.",
    source=Source(
        paper="MedNeXt: Transformer-driven Scaling of ConvNets for Medical Image Segmentation, MICCAI 2023",
        repository="MIC-DKFZ/MedNeXt",
        licence="Apache-2.0",
    ),
    factory="baselines.mednext.network:build",
    options=MedNeXtOptions,
    presets={
        "paper": {},
        "base": {"size": "B"},
        "medium": {"size": "M"},
        "large": {"size": "L"},
        # Below 16 channels torch's kernels for CPUs crash in channels_last: strided 1 x 1 convolutions, backward.
        "tiny": {"width": 16},
    },
    spatial_dims=frozenset({2, 3}),
    adapted_dims=frozenset({2}),
    official_task=Task(("t1", "t1ce", "t2", "flair"), leading=None, out_channels=4, patch_size=(128, 128, 128)),
    official_parameters=5_554_932,
    translator="baselines.mednext.released:translate",
    native_recipe={
        # nnU-Net v1's, but for the optimiser. Theirs has epsilon 1e-4; a protocol's AdamW has torch's 1e-8.
        **NNUNET,
        "sampling": {"batch_size": 2},
        "training": {
            **NNUNET["training"],
            "optimiser": {"name": "adamw", "lr": 1e-3, "weight_decay": 3e-5},
        },
    },
    notes=(
        "MONAI's MedNeXt. Its B, M and L are other functions than the authors': their downsampling blocks have the "
        "expansion of the next level. Here they have the authors' (10 530 324, 17 552 980 and 61 783 284 parameters "
        "in the official configuration); down_expansion: monai gives MONAI's.",
        "Trained from scratch: the authors start 5-wide kernels from a trained 3-wide network (UpKern).",
        "Group norm has one channel per group, which is instance norm with scale and bias.",
        "Patch sides are multiples of 16.",
        "2D is MONAI's spatial_dims=2, which the authors never had.",
    ),
)
