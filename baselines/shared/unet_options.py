"""Options of networks whose encoders and decoders are nnU-Net v1's."""

from typing import Self

from pydantic import Field, model_validator

from harness.segmenters.contract import Options


class UNetOptions(Options):
    """Widths and depth of nnU-Net v1's U-Net; the defaults are its own."""

    base_features: int = Field(
        default=32, ge=1, le=65536, description="Channels at full resolution; each pooling doubles them."
    )
    max_features: int | None = Field(
        default=None,
        ge=1,
        le=65536,
        description="Cap of the channels. Not set: nnU-Net v1's own, 480 in 2D and 320 in 3D.",
    )
    convs_per_stage: int = Field(
        default=2, ge=1, le=1024, description="Convolutions of a stage, in the encoders and in the decoders."
    )
    poolings: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="How often every axis is halved. Not set: as nnU-Net plans it, as long as an axis holds 8 voxels.",
    )

    @model_validator(mode="after")
    def _cap_holds_base(self) -> Self:
        if self.max_features is not None and self.max_features < self.base_features:
            raise ValueError(f"max_features {self.max_features} is below base_features {self.base_features}")
        return self
