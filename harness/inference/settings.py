"""Settings of the inference on whole volumes."""

from pydantic import Field

from harness.data.settings import Axes
from harness.settings import Settings


class InferenceSettings(Settings):
    """Sliding-window inference."""

    overlap: float = Field(0.5, ge=0, lt=1, description="Overlap of neighbouring windows (step 0.5 = overlap 0.5).")
    gaussian: bool = Field(True, description="Weight windows by a Gaussian, as nnU-Net does.")
    mirror_axes: Axes = Field((), description="Axes flipped for test-time averaging, 0-based.")
    batch_size: int = Field(16, ge=1, le=65536, description="Windows a forward pass.")
