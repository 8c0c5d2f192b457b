"""Preprocessing: from a case as it was read to the network's grid.

Steps in order, each where dataset and protocol ask for it: orientation to RAS, crop to the box of nonzero voxels,
resampling, slicing, in-plane resizing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from harness.data.contract import Case, Dataset
from harness.data.preparation.cache import Moments
from harness.data.preparation.geometry import (
    AS_IN_FILES,
    Geometry,
    nonzero_box,
    orientation_of,
    resize_label,
    resize_planes,
    to_slices,
    turn,
)
from harness.data.preparation.resample import interpolate_inside, new_shape, resample_images, resample_label
from harness.data.settings import PreparationSettings
from harness.randomness import generator

#: Foreground voxels whose intensities are kept per case, drawn with replacement: every case weighs the same (nnU-Net).
_INTENSITIES = 10_000


@dataclass(frozen=True)
class PreprocessingPlan:
    """All settings that change preprocessed arrays; hashed into the name of the cache folder.

    Attributes:
        turn: Whether volumes are turned to RAS.
        crop: Whether volumes are cropped to their nonzero voxels.
        spacing: Voxel size in mm to resample to; ``None`` keeps the voxel size of the files.
        plane: Height and width that whole slices are resized to; ``None`` keeps their size.
        slice_axis: Axis along which slices are cut.
        zero_is_outside: For each modality, whether 0 means outside the body; in CT it is water.
        classes: Number of labels, background included.
    """

    turn: bool
    crop: bool
    spacing: tuple[float, ...] | None
    plane: tuple[int, int] | None
    slice_axis: int
    zero_is_outside: tuple[bool, ...]
    classes: int

    @classmethod
    def choose(cls, dataset: Dataset, settings: PreparationSettings, patch_size: tuple[int, ...]) -> PreprocessingPlan:
        """Returns the plan that dataset and protocol together define."""
        volumes = len(patch_size) == 3
        return cls(
            # Parts of one patient stay as their reader turned them: it may have mirrored one side on purpose.
            turn=not dataset.split_within_patient,
            crop=dataset.crop,
            spacing=settings.spacing or dataset.spacing or (dataset.typical_spacing if volumes else None),
            plane=(patch_size[-2], patch_size[-1]) if settings.plane == "resize" and not volumes else None,
            slice_axis=dataset.slice_axis,
            zero_is_outside=tuple(kind != "ct" for kind in dataset.normalisations),
            classes=len(dataset.labels),
        )


@dataclass(frozen=True)
class PreprocessedCase:
    """A case on the network's grid.

    Attributes:
        images: (M, D, H, W) images, intensities not normalised.
        label: (D, H, W) label map.
        intensities: (M, n) intensities of foreground voxels, as in the files.
        moments: Intensity moments of each modality, as in the files.
        geometry: Transformation back to the grid of the files.
    """

    images: NDArray[np.float32]
    label: NDArray[np.uint8]
    intensities: NDArray[np.float32]
    moments: list[Moments]
    geometry: Geometry


def preprocess(case: Case, name: str, plan: PreprocessingPlan) -> PreprocessedCase:
    """Brings a case to the network's grid.

    Args:
        case: Case as the reader returned it.
        name: Case identifier; seeds the sampling of intensities.
        plan: Steps to apply.
    """
    orientation = orientation_of(case.affine) if plan.turn else AS_IN_FILES
    images, label = turn(case.images, orientation), turn(case.label, orientation)
    box = nonzero_box(images) if plan.crop else tuple((0, extent) for extent in label.shape)
    kept = tuple(slice(*ends) for ends in box)
    images, label = images[(slice(None), *kept)], label[kept]
    # Before anything is interpolated: these are the file's intensities, as nnU-Net takes them.
    intensities = _foreground_intensities(images, label, name, plan)
    moments = [Moments.of(image) for image in images]
    spacing = [0.0, 0.0, 0.0]
    for size, (axis, _) in zip(case.spacing, orientation, strict=True):
        spacing[axis] = size
    shape: tuple[int, ...] = label.shape
    if plan.spacing is not None:
        shape = new_shape(label.shape, spacing, plan.spacing)
        images = resample_images(images, shape, spacing, plan.spacing, plan.zero_is_outside)
        label = resample_label(label, shape, spacing, plan.spacing, plan.classes)
    images = np.ascontiguousarray(to_slices(images, plan.slice_axis))
    label = np.ascontiguousarray(to_slices(label, plan.slice_axis))
    if plan.plane is not None:
        images = _resize(images, plan.plane, plan.zero_is_outside)
        label = resize_label(torch.from_numpy(label), plan.plane, plan.classes).numpy()
    geometry = Geometry(
        affine=tuple(tuple(row) for row in case.affine.tolist()),
        shape=case.label.shape,
        orientation=orientation,
        crop=box,
        spacing=tuple(spacing),
        resampled=shape,
        slice_axis=plan.slice_axis,
    )
    return PreprocessedCase(images, label, intensities, moments, geometry)


def _resize(
    images: NDArray[np.float32], plane: tuple[int, int], zero_is_outside: Sequence[bool]
) -> NDArray[np.float32]:
    """Resizes whole slices of (M, D, H, W)."""
    if images.shape[2:] == plane:
        return images

    def linear(image: NDArray[np.float32]) -> NDArray[np.float32]:
        resized: NDArray[np.float32] = resize_planes(torch.from_numpy(image)[None], plane)[0].numpy()
        return resized

    return np.stack(
        [
            interpolate_inside(image, linear, linear) if masked else linear(image)
            for image, masked in zip(images, zero_is_outside, strict=True)
        ]
    )


def _foreground_intensities(
    images: NDArray[np.float32], label: NDArray[np.uint8], name: str, plan: PreprocessingPlan
) -> NDArray[np.float32]:
    """Returns (M, n) intensities of foreground voxels; only CT is normalised by them, so only then n is not 0."""
    if all(plan.zero_is_outside):
        return np.empty((len(images), 0), np.float32)
    foreground = images[:, label > 0]
    if foreground.shape[1] == 0:
        return foreground
    drawn = generator(0, "intensities", name).integers(foreground.shape[1], size=_INTENSITIES)
    return np.ascontiguousarray(foreground[:, drawn])
