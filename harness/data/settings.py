"""Settings of preparation, sampling and augmentation."""

from typing import Annotated, Literal

from pydantic import Field

from harness.settings import CHANGES_NO_NUMBER, Added, Settings

Probability = Annotated[float, Field(ge=0, le=1)]
Interval = tuple[float, float]
Millimetres = Annotated[float, Field(gt=0)]

#: Replacement of an absent modality: 0 in normalised units, its mean over the training cases, or a learned value.
Fill = Literal["zeros", "mean", "token"]


class PreparationSettings(Settings):
    """What is done once per case, before training."""

    plane: Literal["resize", "native"] = Field(
        "resize",
        description="'resize' brings every whole slice to the patch size (the paper's text); 'native' keeps the grid, "
        "and patches are cut from it (the authors' code).",
    )
    spacing: Annotated[tuple[Millimetres, Millimetres, Millimetres] | None, Added("0.2", was=None)] = Field(
        None,
        description="Voxel size in mm (right, anterior, superior) that cases are resampled to; default: the dataset's "
        "`spacing`, or with a three-dimensional patch its `typical_spacing`, or none.",
    )


class ModalityDropoutSettings(Settings):
    """Training patches that lack modalities, so that a network learns to do without."""

    p: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.3, description="Probability that a modality of a patch is absent; at least one is always present."
    )
    fill: Fill = Field(
        "zeros",
        description="Replacement of an absent modality, in normalised units: 'zeros', 'mean' (of its images over the "
        "training cases), or 'token' (one value per modality, learned with the network).",
    )


class SamplingSettings(Settings):
    """How batches are drawn."""

    batch_size: int = Field(16, ge=1, description="Patches an optimiser step.")
    foreground: Probability = Field(
        1 / 3, description="Share of a batch that is forced to show foreground (nnU-Net: one third)."
    )
    workers: Annotated[int | None, CHANGES_NO_NUMBER] = Field(
        None,
        ge=0,
        description="Loader processes; default: none on a CPU, up to 8 on a GPU. Does not affect the numbers.",
    )
    modality_dropout: Annotated[ModalityDropoutSettings | None, Added("0.2", was=None)] = Field(
        None, description="Random omission of modalities from training patches; default: none is omitted."
    )


class AugmentationSettings(Settings):
    """Random changes of training patches, by batchgeneratorsv2; every default is off."""

    rotation_degrees: float = Field(0, ge=0, le=180, description="Rotation drawn from [-x, x].")
    p_rotation: Probability = 0
    scale: Interval = Field((1, 1), description="Zoom interval.")
    p_scale: Probability = 0
    noise_variance: Interval = Field((0, 0.1), description="Variance of additive Gaussian noise.")
    p_noise: Probability = 0
    blur_sigma: Interval = Field((0.5, 1), description="Gaussian blur, sigma in voxels.")
    p_blur: Probability = 0
    brightness: Interval = Field((0.75, 1.25), description="Multiplier.")
    p_brightness: Probability = 0
    contrast: Interval = Field((0.75, 1.25), description="Contrast factor.")
    p_contrast: Probability = 0
    low_resolution: Interval = Field((0.5, 1), description="Zoom of simulated low resolution.")
    p_low_resolution: Probability = 0
    gamma: Interval = Field((0.7, 1.5), description="Gamma interval.")
    p_gamma: Probability = 0
    p_gamma_inverted: Probability = 0
    mirror_axes: tuple[int, ...] = Field((), description="Spatial axes that may be flipped, 0-based.")
