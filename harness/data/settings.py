"""Settings of preparation, sampling and augmentation."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from harness.bounds import DISTINCT, ORDERED, refuse
from harness.settings import CHANGES_NO_NUMBER, Added, Settings

Probability = Annotated[float, Field(ge=0, le=1)]
Millimetres = Annotated[float, Field(ge=0.001, le=1000)]
_Factor = Annotated[float, Field(ge=0.1, le=10)]
_Share = Annotated[float, Field(ge=0.01, le=1)]
_Sigma = Annotated[float, Field(ge=0.01, le=100)]
_Variance = Annotated[float, Field(ge=0, le=100)]
_NotNegative = Annotated[float, Field(ge=0, le=100)]
_Positive = Annotated[float, Field(gt=0, le=100)]
#: A multiplier may be drawn near 0, but not always be 0: nothing would be left of the image.
_Multipliers = Annotated[tuple[_NotNegative, _Positive], ORDERED]
_Factors = Annotated[tuple[_Factor, _Factor], ORDERED]

#: Axes of a patch, each once; the protocol says how many there are.
Axes = Annotated[tuple[Annotated[int, Field(ge=0, le=2)], ...], DISTINCT]
#: Along one axis: a voxel size, the median of the dataset's cases, or each case's own.
AxisSpacing = Millimetres | Literal["median"] | None

#: Replacement of an absent modality: 0 in normalised units, its mean over the training cases, or a learned value.
Fill = Literal["zeros", "mean", "token"]


class PreparationSettings(Settings):
    """What is done once per case, before training."""

    plane: Literal["resize", "native"] = Field(
        "resize",
        description="'resize' brings every whole slice to the patch size (a reading of the paper's text); 'native' "
        "keeps the grid, and patches are cut from it (the authors' code).",
    )
    spacing: Annotated[tuple[AxisSpacing, AxisSpacing, AxisSpacing] | None, Added("0.2", was=None)] = Field(
        None,
        description="Voxel size in mm (right, anterior, superior) that cases are resampled to; along an axis also "
        "`median` (of all labelled cases) or null (each case's own). Default: the dataset's `spacing`, or with a "
        "three-dimensional patch its `typical_spacing`, or none.",
    )
    crop: Annotated[Literal["nonzero", "none"] | None, Added("0.3", was=None)] = Field(
        None,
        description="'nonzero' crops to the box of voxels that are not 0 in any modality, 'none' does not; default: "
        "as the dataset's page says.",
    )
    resize: Annotated[Literal["stretch", "pad_to_square"], Added("0.3", was="stretch")] = Field(
        "stretch",
        description="With `plane: resize`: 'stretch' brings each side to the patch size by a factor of its own; "
        "'pad_to_square' pads the shorter side first, so that both have one factor.",
    )
    normalisation_mask: Annotated[Literal["zeros", "nnunet"], Added("0.3", was="zeros")] = Field(
        "zeros",
        description="'zeros': a voxel that is 0 is outside the body, stays 0 and counts in no mean (not in CT); "
        "'nnunet': only where cropping to nonzero voxels takes off more than a quarter of the median training case.",
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


class MissingSettings(Settings):
    """Patients that lack modalities in the whole training, and what stands for an absent modality."""

    per_patient: Mapping[str, Annotated[float, Field(ge=0, lt=1)]] = Field(
        {},
        description="Modality to the share of training patients that lack it, e.g. `{T1: 0.2, T2: 0.8}`. Which ones "
        "lack it is drawn from seed and patient and stays the same in the whole training; every patient has at least "
        "one modality. Validation and test cases keep what they have.",
    )
    fill: Fill = Field(
        "zeros",
        description="Replacement of an absent modality, as in `modality_dropout`; also for patients whose files lack a "
        "modality.",
    )


class SamplingSettings(Settings):
    """How batches are drawn."""

    batch_size: int = Field(16, ge=1, le=65536, description="Patches an optimiser step.")
    foreground: Probability = Field(
        1 / 3, description="Share of a batch that is forced to show foreground (nnU-Net: one third)."
    )
    cases: Annotated[Literal["training", "training_and_validation"], Added("0.3", was="training")] = Field(
        "training",
        description="Cases that patches are drawn from; with 'training_and_validation' (nnU-Net's `-f all`) nothing is "
        "validated, so nothing may be chosen or restarted by a validation.",
    )
    workers: Annotated[int | None, CHANGES_NO_NUMBER] = Field(
        None,
        ge=0,
        le=1024,
        description="Loader processes; default: none on a CPU, up to 8 on a GPU. Does not affect the numbers.",
    )
    foreground_by: Annotated[Literal["voxel", "slice"], Added("0.3", was="voxel")] = Field(
        "voxel",
        description="How a patch is placed that shows a class: at a 'voxel' of it, each as likely, or at a 'slice' "
        "that shows it, each as likely, and a voxel in it (nnU-Net v1 in 2D).",
    )
    modality_dropout: Annotated[ModalityDropoutSettings | None, Added("0.2", was=None)] = Field(
        None, description="Random omission of modalities from training patches; default: none is omitted."
    )
    missing: Annotated[MissingSettings | None, Added("0.3", was=None)] = Field(
        None, description="Patients that lack modalities in the whole training; default: none is taken away."
    )

    @property
    def fill(self) -> Fill | None:
        """Replacement of an absent modality that the protocol names; None where it names none."""
        stated = self.missing or self.modality_dropout
        return None if stated is None else stated.fill

    @property
    def missing_rates(self) -> Mapping[str, float]:
        """Modality to the share of training patients that lack it by the protocol."""
        return {} if self.missing is None else self.missing.per_patient

    @model_validator(mode="after")
    def _fills_alike(self) -> Self:
        dropout, missing = self.modality_dropout, self.missing
        if dropout is not None and missing is not None and dropout.fill != missing.fill:
            message = f"`modality_dropout` fills by '{dropout.fill}': write the same `fill` in both"
            raise refuse(type(self), ("missing", "fill"), message, missing.fill)
        return self


class AugmentationSettings(Settings):
    """Random changes of training patches, by batchgeneratorsv2; every default is off."""

    device: Annotated[Literal["auto", "cpu", "gpu"], Added("0.3", was="cpu")] = Field(
        "cpu",
        description="'cpu': loader processes change patch by patch; 'gpu': the GPU changes the whole batch, beside the "
        "training step; 'auto': on the GPU where there is one. The same draws; noise fields and last bits differ.",
    )
    rotation_degrees: float = Field(0, ge=0, le=180, description="Rotation drawn from [-x, x].")
    p_rotation: Probability = 0
    scale: _Factors = Field((1, 1), description="Zoom interval.")
    p_scale: Probability = 0
    scale_draw: Annotated[Literal["uniform", "halves"], Added("0.3", was="uniform")] = Field(
        "uniform",
        description="'halves': half of the draws lie below 1 and half above, if the interval holds 1 (nnU-Net v1).",
    )
    cutout: Annotated[float, Added("0.3", was=1.0)] = Field(
        1.0,
        ge=1,
        le=4,
        description="Size of the region that is read, rotated and zoomed before the patch is cut from its centre, in "
        "patch sizes; above 1 it may reach beyond the image, as in nnU-Net v1.",
    )
    noise_variance: Annotated[tuple[_Variance, _Variance], ORDERED] = Field(
        (0, 0.1), description="Variance of additive Gaussian noise."
    )
    p_noise: Probability = 0
    blur_sigma: Annotated[tuple[_Sigma, _Sigma], ORDERED] = Field(
        (0.5, 1), description="Gaussian blur, sigma in voxels; less than a third of the patch."
    )
    p_blur: Probability = 0
    blur_axes: Annotated[Literal["each", "together"], Added("0.3", was="each")] = Field(
        "each", description="Whether each axis draws a sigma of its own, or all have one (nnU-Net v1)."
    )
    brightness: _Multipliers = Field((0.75, 1.25), description="Multiplier.")
    p_brightness: Probability = 0
    contrast: _Multipliers = Field((0.75, 1.25), description="Contrast factor.")
    p_contrast: Probability = 0
    low_resolution: Annotated[tuple[_Share, _Share], ORDERED] = Field(
        (0.5, 1), description="Zoom of simulated low resolution; at least one voxel of the patch is left."
    )
    p_low_resolution: Probability = 0
    gamma: _Factors = Field((0.7, 1.5), description="Gamma interval.")
    p_gamma: Probability = 0
    p_gamma_inverted: Probability = 0
    mirror_axes: Axes = Field((), description="Spatial axes that may be flipped, 0-based.")
    mask_outside: Annotated[bool, Added("0.3", was=False)] = Field(
        False,
        description="Set what lies outside the body to 0 again after all other transforms, in modalities whose "
        "normalisation leaves it 0 (nnU-Net's mask transform).",
    )
