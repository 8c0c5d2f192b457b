"""nnU-Net v2 as a framework: its own planning, preprocessing, training and prediction.

Paper: Isensee et al., nnU-Net, Nature Methods 2021. Repository: MIC-DKFZ/nnUNet (package ``nnunetv2``), Apache-2.0.

Kept: everything that nnU-Net decides and does, through its Python API. Ours: the split, the number of epochs and of
steps per epoch, the seed, and the evaluation. Nothing here imports torch or nnunetv2.
"""

from typing import Annotated, Literal

from pydantic import Field

from harness.segmenters.contract import Options, Segmenter, Source
from harness.settings import Added

__all__ = ["SEGMENTER", "NnUNetNativeOptions"]


class NnUNetNativeOptions(Options):
    """Options of nnU-Net; the defaults are its own."""

    configuration: Literal["2d", "3d_fullres"] | None = Field(
        default=None, description="nnU-Net's configuration. Not set: `2d` for 2D protocols, `3d_fullres` for 3D ones."
    )
    planner: Annotated[Literal["default", "resenc_m", "resenc_l", "resenc_xl"], Added("0.3", was="default")] = Field(
        default="default",
        description="`default`: the U-Net of the paper. `resenc_m`, `resenc_l`, `resenc_xl`: a residual encoder, "
        "planned for GPUs of 8, 24 and 40 GB; the presets of these names set `gpu_memory_gb` too, as nnU-Net does.",
    )
    gpu_memory_gb: float = Field(
        default=8.0,
        ge=0.1,
        le=65536,
        description="GPU memory the planner plans patch and batch for.",
    )
    batch_size: int | None = Field(
        default=None,
        ge=1,
        le=65536,
        description="Patches per step. Not set: the planner's.",
    )
    base_features: int = Field(
        default=32,
        ge=1,
        le=65536,
        description="Channels at full resolution; each pooling doubles them.",
    )


SEGMENTER = Segmenter(
    name="nnunet_native",
    title="nnU-Net (framework)",
    summary="nnU-Net v2 as its authors run it: own plans, preprocessing, augmentation, training and prediction.",
    source=Source(
        paper="nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation, "
        "Nature Methods 2021",
        repository="MIC-DKFZ/nnUNet",
        licence="Apache-2.0",
    ),
    factory="baselines.nnunet_native.network:build",
    options=NnUNetNativeOptions,
    presets={
        "paper": {},
        "resenc_m": {"planner": "resenc_m"},
        "resenc_l": {"planner": "resenc_l", "gpu_memory_gb": 24.0},
        "resenc_xl": {"planner": "resenc_xl", "gpu_memory_gb": 40.0},
        "tiny": {"gpu_memory_gb": 0.2, "batch_size": 2, "base_features": 8},
    },
    spatial_dims=frozenset({2, 3}),
    runner="baselines.nnunet_native.framework:run",
    notes=(
        "nnU-Net's own: fingerprint, plans (network, patch, batch, spacing), normalisation, resampling, augmentation, "
        "loss with deep supervision, SGD with polynomial decay, tiled prediction with mirroring.",
        "Of the protocol only the epochs and the steps per epoch apply; its patch size sets the dimensions (2D, 3D). "
        "Optimiser, loss, augmentation, sampling and inference settings do not apply.",
        "Fingerprint and plans are made from the training and validation cases; test cases are never written.",
        "In 2D, slices are cut along the dataset's slice axis, also where nnU-Net would choose the coarsest one.",
        "Validation Dice in the history is nnU-Net's pseudo Dice of random patches, from a fifth as many batches as "
        "training (its own ratio); the last weights are tested, as nnU-Net does.",
        "One model of one split: no ensemble of folds or configurations, no postprocessing.",
        "On a GPU, nnU-Net augments in processes whose random numbers it does not seed, and its loss has no "
        "deterministic form there: repeated runs differ.",
        "ResEnc M, L and XL (nnU-Net Revisited, MICCAI 2024) are one network planned for three sizes of GPU memory: "
        "they differ in patch, batch and with them in depth.",
        "Size estimates are of the network planned from the protocol's patch; results count the network trained.",
    ),
)
