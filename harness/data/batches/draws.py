"""What augmentation draws for a patch, on the host, for a device to apply to the batch.

The draws are batchgeneratorsv2's own: each transform is asked for its parameters (``get_parameters``) in the pipeline's
order from generators with the patch's seed, just as where it changes the patch itself. So a patch has the same
parameters on both paths, and their law is the package's by construction.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.helpers.scalar_type import sample_scalar
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import (
    SpatialTransform,
    create_affine_matrix_2d,
    create_affine_matrix_3d,
)
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from torch import Tensor

from harness.data.batches.augmentation import generators_put_back, seed_generators

#: Values by channel; of a transform that changes a patch as a whole, its channel 0 has them.
Rows = Mapping[int, Sequence[float]]


@dataclass(frozen=True)
class Known:
    """A transform of batchgeneratorsv2 that a device can apply to a batch.

    Attributes:
        draw: Returns what a transform draws for images (M, *patch), whose values are not read.
        supports: Whether a device can do what the transform is set to.
        per_channel: Whether each channel has values of its own.
        width: Number of values per channel or patch, from the number of spatial dimensions.
    """

    draw: Callable[[Any, Tensor], Rows]
    supports: Callable[[Any], bool]
    per_channel: bool = True
    width: Callable[[int], int] = lambda _: 1


@dataclass(frozen=True)
class Step:
    """One transform of a pipeline.

    Attributes:
        transform: The transform, without the chance by which it is applied.
        chance: Decides whether it is applied; None where it always is.
        kind: What is known of it.
    """

    transform: BasicTransform
    chance: RandomTransform | None
    kind: Known

    def draw(self, images: Tensor) -> Rows:
        """Returns what is drawn for images (M, *patch), whose values are not read; empty where nothing is changed."""
        if self.chance is not None and not self.chance.get_parameters()["apply_transform"]:
            return {}
        return self.kind.draw(self.transform, images)


def steps_of(transforms: Sequence[BasicTransform]) -> list[Step]:
    """Returns a pipeline's steps; every transform must be known."""
    steps = []
    for transform in transforms:
        kind = _known(transform)
        assert kind is not None, transform
        steps.append(Step(_inner(transform), transform if isinstance(transform, RandomTransform) else None, kind))
    return steps


def unknown_transforms(transforms: Sequence[BasicTransform]) -> list[str]:
    """Returns the names of those transforms that a device cannot apply to a batch, or not as they are set."""
    return [type(_inner(transform)).__name__ for transform in transforms if _known(transform) is None]


def draw(steps: Sequence[Step], channels: int, patch_size: Sequence[int], seeds: Sequence[int]) -> list[list[Rows]]:
    """Returns what each step draws, for each patch.

    Args:
        steps: The pipeline.
        channels: Number of channels of the images.
        patch_size: Size of the patches.
        seeds: Seed of each patch.
    """
    images = torch.empty(()).expand(channels, *patch_size)
    drawn = []
    with generators_put_back():
        for seed in seeds:
            seed_generators(seed)
            drawn.append([step.draw(images) for step in steps])
    return drawn


def _inner(transform: BasicTransform) -> BasicTransform:
    return transform.transform if type(transform) is RandomTransform else transform


def _known(transform: BasicTransform) -> Known | None:
    """Returns what is known of a transform; None where a device cannot apply it."""
    inner = _inner(transform)
    kind = _KNOWN.get(type(inner))
    return kind if kind is not None and kind.supports(inner) else None


def _affine(transform: SpatialTransform, images: Tensor) -> Rows:
    """Returns the matrix, row by row: what ``SpatialTransform.get_parameters`` draws without the grid it also makes."""
    dims = images.ndim - 1
    turns = np.random.uniform() < transform.p_rotation
    zooms = np.random.uniform() < transform.p_scaling
    np.random.uniform()  # of the elastic deformation, which is off
    angles, scales = [0.0] * dims, [1.0] * dims
    if turns:
        angles = [sample_scalar(transform.rotation, image=images, dim=axis) for axis in range(dims)]
    if zooms:
        np.random.uniform()  # whether all axes are zoomed alike, which they always are
        scales = [sample_scalar(transform.scaling, image=images, dim=None)] * dims
    if not (turns or zooms):
        return {}
    matrix = create_affine_matrix_2d(angles[-1], scales) if dims == 2 else create_affine_matrix_3d(angles, scales)
    return {0: matrix.ravel().tolist()}


def _noise(transform: GaussianNoiseTransform, images: Tensor) -> Rows:
    sigma = float(transform.get_parameters(image=images)["sigmas"])
    torch.empty(images.shape).normal_()  # the field: a device has its own, and what is drawn next shall be the same
    return {0: [sigma]}


def _blur(transform: GaussianBlurTransform, images: Tensor) -> Rows:
    drawn = transform.get_parameters(image=images)
    return dict(zip(drawn["apply_to_channel"].nonzero().flatten().tolist(), drawn["sigmas"], strict=True))


def _multipliers(transform: MultiplicativeBrightnessTransform | ContrastTransform, images: Tensor) -> Rows:
    drawn = transform.get_parameters(image=images)
    return {
        int(channel): [float(one)] for channel, one in zip(drawn["apply_to_channel"], drawn["multipliers"], strict=True)
    }


def _low_resolution(transform: SimulateLowResolutionTransform, images: Tensor) -> Rows:
    """Returns the number of voxels that are left along each axis."""
    drawn = transform.get_parameters(image=images)
    return {
        int(channel): [round(size * scale.item()) for size, scale in zip(images.shape[1:], scales, strict=True)]
        for channel, scales in zip(drawn["apply_to_channel"], drawn["scales"], strict=True)
    }


def _gamma(transform: GammaTransform, images: Tensor) -> Rows:
    drawn = transform.get_parameters(image=images)
    return {
        int(channel): [float(value)] for channel, value in zip(drawn["apply_to_channel"], drawn["gamma"], strict=True)
    }


def _mirror(transform: MirrorTransform, images: Tensor) -> Rows:
    axes = transform.get_parameters(image=images)["axes"]
    return {0: [float(axis in axes) for axis in range(images.ndim - 1)]} if axes else {}


def _is_plain_affine(transform: SpatialTransform) -> bool:
    return (
        transform.p_elastic_deform == 0
        and transform.p_rot_per_axis == 1
        and transform.p_synchronize_scaling_across_axes == 1
        and not transform.random_crop
        and transform.mode_image == "bilinear"
        and transform.padding_mode_image == transform.border_mode_seg == "zeros"
        and not transform.align_corners
        and transform.mode_seg == "bilinear"
        and transform.seg_tiebreak == "nearest"
    )


def largest_sigma(transform: GaussianBlurTransform) -> float:
    """Returns the largest sigma in voxels that a blur can draw; NaN where it does not say."""
    sigma = transform.blur_sigma
    return math.nan if callable(sigma) else float(np.max(sigma))


_KNOWN: Mapping[type, Known] = {
    SpatialTransform: Known(_affine, _is_plain_affine, per_channel=False, width=lambda dims: dims * dims),
    GaussianNoiseTransform: Known(
        _noise, lambda noise: noise.p_per_channel == 1 and noise.synchronize_channels, per_channel=False
    ),
    GaussianBlurTransform: Known(
        _blur,
        lambda blur: not (blur.synchronize_channels or blur.benchmark or math.isnan(largest_sigma(blur))),
        width=lambda dims: dims,
    ),
    MultiplicativeBrightnessTransform: Known(_multipliers, lambda brightness: brightness.p_per_channel == 1),
    ContrastTransform: Known(_multipliers, lambda contrast: contrast.preserve_range and contrast.p_per_channel == 1),
    SimulateLowResolutionTransform: Known(
        _low_resolution, lambda zoom: zoom.allowed_channels is None, width=lambda dims: dims
    ),
    GammaTransform: Known(
        _gamma,
        lambda gamma: gamma.p_retain_stats == 1 and gamma.p_per_channel == 1 and gamma.p_invert_image in {0, 1},
    ),
    MirrorTransform: Known(_mirror, lambda _: True, per_channel=False, width=lambda dims: dims),
}
