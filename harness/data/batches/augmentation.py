"""Training augmentation by batchgeneratorsv2, nnU-Net's own package, in nnU-Net's order."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.helpers.scalar_type import RandomScalar
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from numpy.typing import NDArray
from torch import Tensor

from harness.data.settings import AugmentationSettings


class Augmenter:
    """Applies the transforms of the settings to one patch.

    Args:
        settings: Augmentation settings; a probability of 0 leaves a transform out.
        patch_size: Size of the patches.
        masked: Channels whose normalisation leaves the outside of the body 0.
    """

    def __init__(self, settings: AugmentationSettings, patch_size: tuple[int, ...], masked: Sequence[int] = ()) -> None:
        self._transform = ComposeTransforms(transforms_of(settings, patch_size))
        self._masked = list(masked) if settings.mask_outside else []

    def __call__(
        self, images: NDArray[np.float32], label: NDArray[np.uint8], seed: int, inside: NDArray[np.bool_] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Returns images (M, *patch_size) float32 and label (*patch_size) int16, the same for the same seed.

        Args:
            images: (M, *region).
            label: (*region).
            seed: Seed of all draws.
            inside: (*region) whether a voxel is inside the body; default: all are.
        """
        if self._masked:
            label = mark_body(label, inside)
        data: dict[str, Any] = {
            "image": torch.from_numpy(np.ascontiguousarray(images)),
            "segmentation": torch.from_numpy(label.astype(np.int16))[None],
        }
        with generators_put_back():
            seed_generators(seed)
            data = self._transform(**data)
        made, segmentation = data["image"], data["segmentation"][0]
        if self._masked:
            made[self._masked] *= segmentation > 0
            segmentation = (segmentation - 1).clamp(min=0)
        return made, segmentation


@contextmanager
def generators_put_back() -> Iterator[None]:
    """Puts the global generators of NumPy and torch back, which batchgeneratorsv2 draws from."""
    kept = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            np.random.set_state(kept)


def seed_generators(seed: int) -> None:
    """Seeds the global generators of NumPy and torch for one patch."""
    torch.default_generator.manual_seed(seed)  # the CPU's alone: the other way prepares CUDA each time
    np.random.seed(seed % 2**32)


def mark_body(label: NDArray[np.uint8], inside: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """Returns one map to turn and zoom for label and body: 0 outside the body, a class plus 1 inside.

    What turns in from beyond the region is 0, so outside.
    """
    return label + 1 if inside is None else (label + 1) * inside


def transforms_of(settings: AugmentationSettings, patch_size: tuple[int, ...]) -> list[BasicTransform]:
    """Returns batchgeneratorsv2's transforms as the settings configure them, in nnU-Net's order."""
    transforms: list[BasicTransform] = []
    if settings.p_rotation or settings.p_scale or settings.cutout > 1:
        angle = math.radians(settings.rotation_degrees)
        transforms.append(
            SpatialTransform(
                patch_size,
                patch_center_dist_from_border=0,
                random_crop=False,
                p_elastic_deform=0,
                p_rotation=settings.p_rotation,
                rotation=(-angle, angle),
                p_scaling=settings.p_scale,
                scaling=settings.scale if settings.scale_draw == "uniform" else _within(settings.scale),
                p_synchronize_scaling_across_axes=1,
                bg_style_seg_sampling=False,
            )
        )
    intensity: list[tuple[float, BasicTransform]] = [
        (
            settings.p_noise,
            GaussianNoiseTransform(noise_variance=settings.noise_variance, p_per_channel=1, synchronize_channels=True),
        ),
        (
            settings.p_blur,
            GaussianBlurTransform(
                blur_sigma=settings.blur_sigma,
                synchronize_channels=False,
                synchronize_axes=settings.blur_axes == "together",
                p_per_channel=0.5,
            ),
        ),
        (
            settings.p_brightness,
            MultiplicativeBrightnessTransform(
                multiplier_range=_within(settings.brightness), synchronize_channels=False, p_per_channel=1
            ),
        ),
        (
            settings.p_contrast,
            ContrastTransform(
                contrast_range=_within(settings.contrast),
                preserve_range=True,
                synchronize_channels=False,
                p_per_channel=1,
            ),
        ),
        (
            settings.p_low_resolution,
            SimulateLowResolutionTransform(
                scale=settings.low_resolution,
                synchronize_channels=False,
                synchronize_axes=True,
                ignore_axes=None,
                allowed_channels=None,
                p_per_channel=0.5,
            ),
        ),
        (settings.p_gamma_inverted, _gamma(settings, invert=1)),
        (settings.p_gamma, _gamma(settings, invert=0)),
    ]
    transforms += [RandomTransform(transform, apply_probability=p) for p, transform in intensity if p]
    if settings.mirror_axes:
        transforms.append(MirrorTransform(allowed_axes=settings.mirror_axes))
    return transforms


def _gamma(settings: AugmentationSettings, invert: int) -> GammaTransform:
    return GammaTransform(
        gamma=_within(settings.gamma),
        p_invert_image=invert,
        synchronize_channels=False,
        p_per_channel=1,
        p_retain_stats=1,
    )


def _within(interval: tuple[float, float]) -> RandomScalar:
    """nnU-Net draws below and above 1 equally often; BGContrast does that for an interval around 1.

    Of one that ends below 1 it would draw half of the values between its end and 1, so that one is drawn evenly.
    """
    return interval if interval[1] < 1 else BGContrast(interval)
