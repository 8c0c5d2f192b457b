"""Preprocessing: from a case as it was read to the network's grid.

Steps in order, each where dataset and protocol ask for it: orientation to RAS, crop to the box of nonzero voxels,
resampling, slicing, padding to squares, in-plane resizing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.boxes import bounding_box
from harness.data.contract import Case, Dataset
from harness.data.preparation.cache import Moments
from harness.data.preparation.geometry import (
    AS_IN_FILES,
    Geometry,
    orientation_of,
    pad_planes,
    resize_label,
    resize_planes,
    to_slices,
    turn,
)
from harness.data.preparation.resample import interpolate_inside, new_shape, resample_images, resample_label
from harness.data.settings import PreparationSettings
from harness.errors import DataError
from harness.randomness import generator

#: Foreground voxels whose intensities are kept per case, drawn with replacement: every case weighs the same (nnU-Net).
_INTENSITIES = 10_000

#: How much finer or coarser resampling may make an axis, and how many voxels it may give.
_MOST_RESAMPLED, _MOST_VOXELS = 20, 1 << 31


@dataclass(frozen=True)
class PreprocessingPlan:
    """All settings that change preprocessed arrays; hashed into the name of the cache folder.

    Attributes:
        turn: Whether volumes are turned to RAS.
        crop: Whether volumes are cropped to their nonzero voxels.
        spacing: Voxel size in mm to resample to along each turned axis, ``None`` where each case keeps its own;
            ``None`` for all keeps the voxel size of the files.
        plane: Height and width that whole slices are resized to; ``None`` keeps their size.
        slice_axis: Axis along which slices are cut.
        zero_is_outside: For each modality, whether 0 means outside the body; in CT it is water.
        classes: Number of labels, background included.
        square: Whether slices are padded before they are resized, so that both sides have one factor.
    """

    turn: bool
    crop: bool
    spacing: tuple[float | None, ...] | None
    plane: tuple[int, int] | None
    slice_axis: int
    zero_is_outside: tuple[bool, ...]
    classes: int
    square: bool = False

    @classmethod
    def choose(cls, dataset: Dataset, settings: PreparationSettings, patch_size: tuple[int, ...]) -> PreprocessingPlan:
        """Returns the plan that dataset and protocol together define.

        Raises:
            ValueError: A spacing is still ``median``: :func:`harness.data.spacing.resolve` puts its number.
        """
        volumes = len(patch_size) == 3
        return cls(
            # Parts of one patient stay as their reader turned them: it may have mirrored one side on purpose.
            turn=not dataset.split_within_patient,
            crop=dataset.crop if settings.crop is None else settings.crop == "nonzero",
            spacing=_numbers(settings.spacing) or dataset.spacing or (dataset.typical_spacing if volumes else None),
            plane=(patch_size[-2], patch_size[-1]) if settings.plane == "resize" and not volumes else None,
            slice_axis=dataset.slice_axis,
            zero_is_outside=tuple(kind != "ct" for kind in dataset.normalisations),
            classes=len(dataset.labels),
            square=settings.resize == "pad_to_square",
        )

    def json_values(self) -> dict[str, Any]:
        """Returns what names the cache folder; a step that came later is named only where it is taken."""
        values = asdict(self)
        return values if self.square else {key: value for key, value in values.items() if key != "square"}


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

    Raises:
        DataError: The voxel size that is wanted would leave next to nothing of the case, or more than memory holds.
    """
    orientation = orientation_of(case.affine) if plan.turn else AS_IN_FILES
    images, label = turn(case.images, orientation), turn(case.label, orientation)
    whole = tuple(slice(0, extent) for extent in label.shape)
    kept = (bounding_box(np.any(images, axis=0)) if plan.crop else None) or whole
    images, label = images[(slice(None), *kept)], label[kept]
    # Before anything is interpolated: these are the file's intensities, as nnU-Net takes them.
    intensities = _foreground_intensities(images, label, name, plan)
    moments = [Moments.of(image) for image in images]
    spacing = [0.0, 0.0, 0.0]
    for size, (axis, _) in zip(case.spacing, orientation, strict=True):
        spacing[axis] = size
    shape: tuple[int, ...] = label.shape
    if plan.spacing is not None:
        wanted = [own if size is None else size for own, size in zip(spacing, plan.spacing, strict=True)]
        shape = new_shape(label.shape, spacing, wanted)
        _check_resampling(name, label.shape, shape, [new / old for old, new in zip(spacing, wanted, strict=True)])
        images = resample_images(images, shape, spacing, wanted, plan.zero_is_outside)
        label = resample_label(label, shape, spacing, wanted, plan.classes)
    images = np.ascontiguousarray(to_slices(images, plan.slice_axis))
    label = np.ascontiguousarray(to_slices(label, plan.slice_axis))
    padded = _proportioned(label.shape[1:], plan.plane) if plan.plane is not None and plan.square else None
    if padded is not None:
        images = np.stack(
            [
                pad_planes(image, padded, 0 if masked else image.min())
                for image, masked in zip(images, plan.zero_is_outside, strict=True)
            ]
        )
        label = pad_planes(label, padded, 0)
    if plan.plane is not None:
        images = _resize(images, plan.plane, plan.zero_is_outside)
        label = resize_label(torch.from_numpy(label), plan.plane, plan.classes).numpy()
    geometry = Geometry(
        affine=tuple(tuple(row) for row in case.affine.tolist()),
        shape=case.label.shape,
        orientation=orientation,
        crop=tuple((side.start, side.stop) for side in kept),
        spacing=tuple(spacing),
        resampled=shape,
        slice_axis=plan.slice_axis,
        padded=padded,
    )
    return PreprocessedCase(images, label, intensities, moments, geometry)


def _check_resampling(name: str, before: Sequence[int], after: Sequence[int], coarser: Sequence[float]) -> None:
    """Refuses a voxel size that cannot be meant for a case."""
    shrinks = any(ratio > _MOST_RESAMPLED and extent > 1 for ratio, extent in zip(coarser, before, strict=True))
    if shrinks or min(coarser) < 1 / _MOST_RESAMPLED or math.prod(after) > _MOST_VOXELS:
        sizes = " x ".join(map(str, before)), " x ".join(map(str, after))
        raise DataError(
            f"Case '{name}' would have {sizes[1]} voxels after resampling, and has {sizes[0]}.",
            hint="Give a `preparation.spacing` in mm that is near the voxel size of the images.",
        )


def _numbers(spacing: Sequence[float | str | None] | None) -> tuple[float | None, ...] | None:
    """Returns a spacing of numbers."""
    if spacing is None:
        return None
    if "median" in spacing:
        raise ValueError("the spacing `median` stands for a number that must be computed first")
    return tuple(None if size is None else float(size) for size in spacing)


def _proportioned(plane: Sequence[int], wanted: tuple[int, int]) -> tuple[int, int]:
    """Returns the least height and width that hold a plane and are in proportion to the wanted one."""
    factor = max(plane[0] / wanted[0], plane[1] / wanted[1])
    return max(plane[0], round(wanted[0] * factor)), max(plane[1], round(wanted[1] * factor))


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
