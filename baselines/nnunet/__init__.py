"""nnU-Net (Nature Methods 2021): the U-Net its planner draws for a patch size.

Nothing here imports torch; the network is in :mod:`baselines.nnunet.network`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from baselines.shared.recipes import NNUNET
from harness.segmenters.contract import Options, Segmenter, Source, Task

__all__ = ["SEGMENTER", "NnUNetOptions"]


class NnUNetOptions(Options):
    """Options of nnU-Net's network; the defaults are its planner's."""

    encoder: Literal["plain", "resenc"] = Field(
        default="plain",
        description="`plain`: the U-Net of the paper. `resenc`: residual encoder of 1, 3, 4, 6, 6, 6 blocks a stage, "
        "decoder of one convolution per stage; recommended by nnU-Net's authors now.",
    )
    base_features: int = Field(
        default=32,
        ge=1,
        le=65536,
        description="Channels at full resolution; each pooling doubles them.",
    )
    max_features: int | None = Field(
        default=None,
        ge=1,
        le=65536,
        description="Cap of the channels. Not set: nnU-Net's own, 512 in 2D and 320 in 3D.",
    )
    convs_per_stage: int = Field(
        default=2,
        ge=1,
        le=1024,
        description="Convolutions of a stage of the plain U-Net, in the encoder and in the decoder.",
    )
    deep_supervision: bool = Field(default=True, description="Whether training sees the coarser outputs too.")

    @model_validator(mode="after")
    def _cap_holds_base(self) -> NnUNetOptions:
        if self.max_features is not None and self.max_features < self.base_features:
            raise ValueError(f"max_features {self.max_features} is below base_features {self.base_features}")
        return self

    @model_validator(mode="after")
    def _convs_are_of_the_plain_encoder(self) -> NnUNetOptions:
        default = type(self).model_fields["convs_per_stage"].default
        if self.encoder == "resenc" and self.convs_per_stage != default:
            raise ValueError(
                "convs_per_stage belongs to encoder plain; resenc has blocks of two, as its planner sets them"
            )
        return self


SEGMENTER = Segmenter(
    name="nnunet",
    title="nnU-Net",
    summary="A plain U-Net with instance norm and deep supervision, as deep as its planner makes it for the patch.",
    source=Source(
        paper="nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation, "
        "Nature Methods 2021",
        repository="MIC-DKFZ/nnUNet",
        licence="Apache-2.0",
    ),
    factory="baselines.nnunet.network:build",
    options=NnUNetOptions,
    presets={
        "paper": {},
        "resenc_m": {"encoder": "resenc"},
        "resenc_l": {"encoder": "resenc"},
        "resenc_xl": {"encoder": "resenc"},
        "tiny": {"base_features": 8, "max_features": 64},
    },
    spatial_dims=frozenset({2, 3}),
    contiguous_dims=frozenset({3}),
    official_task=Task(("t1", "t1ce", "t2", "flair"), leading=None, out_channels=4, patch_size=(128, 128, 128)),
    official_parameters=31_199_796,
    native_recipe=NNUNET,
    notes=(
        "nnU-Net v2's network only, planned by nnunetv2 from the patch; isotropic spacing assumed.",
        "nnU-Net's fingerprint, memory target, preprocessing and training recipe are not used; the protocol sets them.",
        "Heads are built on every level, as nnU-Net does; the coarsest has weight 0 in the loss and is never trained.",
        "The default is the network of the paper (PlainConvUNet). nnU-Net's authors now recommend the residual encoder "
        "(encoder: resenc): 102 353 972 parameters in the official configuration.",
        "nnU-Net's ResEnc M, L and XL are that network on larger and larger patches, which a protocol sets here: one "
        "patch, one network. nnunet_native plans the patch too.",
    ),
)
