"""Augmentation of a whole batch on a device, with what was drawn for each patch on the host.

It is plain PyTorch, since no kept library has batchgeneratorsv2's law for batches of slices and of volumes: batchaug
knows volumes alone, follows MONAI, and gives all channels of an image the same parameters; MONAI takes one image at a
time; Kornia has next to no intensities in three dimensions. And they sample labels by the nearest voxel, or linearly.
"""

from collections.abc import Callable, Sequence

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from torch import Tensor

from harness.data.batches.draws import largest_sigma, steps_of
from harness.data.batches.raw_batch import RawBatch
from harness.data.batches.row_transforms import (
    blur,
    contrast,
    gamma,
    low_resolution,
    mirror,
    sample_images,
    sample_labels,
    sampling_grid,
)


class BatchAugmentation:
    """Applies transforms of batchgeneratorsv2 to batches, each to those patches or channels that drew it.

    What a batch becomes depends on the batch alone: noise comes from a generator of the device with the seed of the
    patch. Nothing is read back from the device.

    Args:
        transforms: Known transforms in order.
        patch_size: Size of the patches.
        masked: Channels that are 0 outside the body again at the end; where there are any, labels mark the body.
        parts: Parts in which each transform does its work, where the device has not the memory for all at once.
    """

    def __init__(
        self,
        transforms: Sequence[BasicTransform],
        patch_size: tuple[int, ...],
        masked: Sequence[int] = (),
        parts: int = 1,
    ) -> None:
        self._parts = parts
        self._steps = steps_of(transforms)
        self._patch_size = patch_size
        self._masked = list(masked)
        self._noise: torch.Generator | None = None

    def __call__(self, batch: RawBatch) -> tuple[Tensor, Tensor]:
        """Returns images (B, M, *patch_size) float32 and labels (B, *patch_size) int64.

        Args:
            batch: Batch on the device.
        """
        images, labels = self._centre(batch.images), self._centre(batch.labels)
        dims, first = len(self._patch_size), 0
        *by_step, absent = torch.split(batch.rows, batch.counts)
        for step, rows in zip(self._steps, by_step, strict=True):
            width = step.kind.width(dims)
            values = batch.values[first : first + len(rows) * width].view(len(rows), width)
            first += len(rows) * width
            done = 0
            for some, own in zip(rows.chunk(self._parts), values.chunk(self._parts), strict=True):
                if len(some):
                    seeds = batch.noise[done : done + len(some)]
                    self._apply(step.transform, batch, images, labels, some, own, seeds)
                done += len(some)
        for channel in self._masked:
            images[:, channel].masked_fill_(labels == 0, 0)
        if self._masked:
            labels = labels.clamp(min=1) - 1
        images.flatten(0, 1).index_fill_(0, absent, float("nan"))
        return images, labels.long()

    def _apply(
        self,
        transform: BasicTransform,
        batch: RawBatch,
        images: Tensor,
        labels: Tensor,
        rows: Tensor,
        values: Tensor,
        seeds: Sequence[int],
    ) -> None:
        """Applies one transform to rows that drew it, in place; ``seeds`` are those of their noise."""
        if isinstance(transform, SpatialTransform):
            self._turn(batch, images, labels, rows, values)
        elif isinstance(transform, MirrorTransform):
            for tensor in (images, labels):
                _change(tensor, rows, lambda part: mirror(part, values))
        elif isinstance(transform, GaussianNoiseTransform):
            sigma = values.view(-1, *[1] * (images.ndim - 1))
            _change(images, rows, lambda part: part + sigma * self._noise_fields(seeds, images))
        else:
            _change(images.flatten(0, 1), rows, _intensity(transform, values))

    def _centre(self, regions: Tensor) -> Tensor:
        """Returns the patches at the centres of regions (..., *region), in memory of their own."""
        for axis, size in enumerate(self._patch_size, start=regions.ndim - len(self._patch_size)):
            regions = regions.narrow(axis, max(0, regions.shape[axis] // 2 - size // 2), size)
        return regions.clone(memory_format=torch.contiguous_format)

    def _turn(self, batch: RawBatch, images: Tensor, labels: Tensor, rows: Tensor, values: Tensor) -> None:
        """Rotates and zooms some patches, in place."""
        dims = len(self._patch_size)
        grid = sampling_grid(values.view(-1, dims, dims), self._patch_size, batch.images.shape[2:])
        images.index_copy_(0, rows, sample_images(batch.images.index_select(0, rows), grid))
        labels.index_copy_(0, rows, sample_labels(batch.labels.index_select(0, rows), grid, batch.largest_label))

    def _noise_fields(self, seeds: Sequence[int], images: Tensor) -> Tensor:
        """Returns standard normal values (n, M, *patch_size), a function of the seeds."""
        if self._noise is None:
            self._noise = torch.Generator(images.device)
        fields = torch.empty(len(seeds), *images.shape[1:], device=images.device)
        for field, seed in zip(fields, seeds, strict=True):
            field.normal_(generator=self._noise.manual_seed(seed))
        return fields


def _intensity(transform: BasicTransform, values: Tensor) -> Callable[[Tensor], Tensor]:
    """Returns what changes the channels (n, *patch_size) that a transform drew values (n, width) for."""
    if isinstance(transform, GaussianBlurTransform):
        return lambda images: blur(images, values, largest_sigma(transform))
    if isinstance(transform, SimulateLowResolutionTransform):
        return lambda images: low_resolution(images, values)
    if isinstance(transform, ContrastTransform):
        return lambda images: contrast(images, values)
    if isinstance(transform, GammaTransform):
        return lambda images: gamma(images, values, inverted=transform.p_invert_image == 1)
    assert isinstance(transform, MultiplicativeBrightnessTransform)
    return lambda images: images * values.view(-1, *[1] * (images.ndim - 1))


def _change(images: Tensor, rows: Tensor, change: Callable[[Tensor], Tensor]) -> None:
    """Changes some rows of images, in place."""
    images.index_copy_(0, rows, change(images.index_select(0, rows)))
