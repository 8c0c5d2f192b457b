"""Transforms of batchgeneratorsv2 for many images at once, each image with parameters of its own, on any device.

Images are rows (n, *spatial) with parameters (n, ...). No value is read back from the device, and no operator here is
without a deterministic form.
"""

import math
from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

_EPSILON = 1e-7


def sampling_grid(affine: Tensor, patch_size: Sequence[int], region: Sequence[int]) -> Tensor:
    """Returns where the voxels of patches lie in the regions that they are cut from, for ``grid_sample``.

    Args:
        affine: (n, d, d), from a patch's coordinates to the region's, both in voxels from the centre.
        patch_size: Size of the patches.
        region: Size of the regions.

    Returns:
        (n, *patch_size, d).
    """
    dims = len(patch_size)
    along = [
        torch.linspace((1 - size) / 2, (size - 1) / 2, size, device=affine.device).view(_along(axis, dims))
        for axis, size in enumerate(patch_size)
    ]
    # Sums of products along axes: a matrix product may round to TF32 on a GPU.
    coordinates = []
    for row, length in enumerate(region):
        parts = [affine[:, row, axis].view(-1, *[1] * dims) * along[axis] for axis in range(dims)]
        coordinates.append(reduce(torch.add, parts) / (length / 2))
    return torch.stack([each.expand(-1, *patch_size) for each in reversed(coordinates)], dim=-1)


def sample_images(regions: Tensor, grid: Tensor) -> Tensor:
    """Returns patches (n, M, *patch_size) that are interpolated linearly in regions (n, M, *region); 0 is beyond them.

    Args:
        regions: Images.
        grid: As :func:`sampling_grid` returns it.
    """
    return grid_sample(regions, grid, mode="bilinear", align_corners=False)


def sample_labels(regions: Tensor, grid: Tensor, largest: int) -> Tensor:
    """Returns labels (n, *patch_size) sampled in regions (n, *region) by batchgeneratorsv2's rule; 0 is beyond them.

    A voxel takes the label with the largest share by linear interpolation, and of labels with equal shares that of the
    nearest voxel. The nearest voxel's label alone would have another law: it makes small structures larger.

    Args:
        regions: Labels, uint8.
        grid: As :func:`sampling_grid` returns it.
        largest: No label is larger.
    """
    nearest = grid_sample(regions[:, None].float(), grid, mode="nearest", align_corners=False)[:, 0].to(regions.dtype)
    labels, own = torch.zeros_like(nearest), torch.zeros(nearest.shape, dtype=torch.float16, device=grid.device)
    best = torch.full_like(own, -1)
    for label in range(largest + 1):
        beyond = 1 if label == 0 else 0
        share = (regions[:, None] == label).float() - beyond
        # Thousandths in half precision, as there: shares that are nearly equal count as equal.
        share = grid_sample(share * 1000, grid, mode="bilinear", align_corners=False)[:, 0] + 1000 * beyond
        score = share.half()
        labels = torch.where(score > best, label, labels)
        own = torch.where(nearest == label, score, own)
        best = torch.maximum(best, score)
    return torch.where(own == best, nearest, labels).to(regions.dtype)


def blur(images: Tensor, sigma: Tensor, largest: float) -> Tensor:
    """Blurs by Gaussian kernels that end where batchgeneratorsv2's do, with reflected borders.

    Args:
        images: (n, *spatial).
        sigma: (n, d), in voxels.
        largest: No sigma is larger; less than a third of the smallest side.
    """
    reach = math.floor(3 * largest + 0.25)
    offsets = torch.arange(-reach, reach + 1, device=images.device)
    for axis, size in enumerate(images.shape[1:]):
        own = sigma[:, axis, None]
        weights = torch.exp(-0.5 * (offsets / own) ** 2) * (offsets.abs() <= torch.floor(3 * own + 0.25))
        weights = weights / weights.sum(dim=1, keepdim=True)
        places = torch.arange(-reach, size + reach, device=images.device).abs()
        padded = images.index_select(axis + 1, size - 1 - (size - 1 - places).abs())
        images = torch.zeros_like(images)
        for tap in range(2 * reach + 1):
            images.addcmul_(_per_row(weights[:, tap], images), padded.narrow(axis + 1, tap, size))
    return images


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Multiplies the distance to the image's mean by a factor (n,) and clips to the range that the image had."""
    flat = images.flatten(1)
    mean, low, high = (_per_row(value, images) for value in (flat.mean(1), flat.amin(1), flat.amax(1)))
    return ((images - mean) * _per_row(factor, images) + mean).clamp(low, high)


def gamma(images: Tensor, exponent: Tensor, inverted: bool) -> Tensor:
    """Raises values, scaled to [0, 1], to an exponent (n,); the image keeps its mean and standard deviation."""
    images = -images if inverted else images
    flat = images.flatten(1)
    low, high = flat.amin(1), flat.amax(1)
    spread = high - low
    scaled = (images - _per_row(low, images)) / _per_row(spread.clamp(min=_EPSILON), images)
    changed = scaled ** _per_row(exponent, images) * _per_row(spread, images) + _per_row(low, images)
    before, after = flat.std(1), changed.flatten(1).std(1)
    changed = changed - _per_row(changed.flatten(1).mean(1), images)
    changed = changed * _per_row(before / after.clamp(min=_EPSILON), images) + _per_row(flat.mean(1), images)
    return -changed if inverted else changed


def low_resolution(images: Tensor, sizes: Tensor) -> Tensor:
    """Keeps ``sizes`` (n, d) voxels along each axis, the nearest ones, and interpolates linearly between them."""
    for axis, size in enumerate(images.shape[1:]):
        left = sizes[:, axis, None]
        places = torch.arange(size, device=images.device) + 0.5
        wanted = (places * (left / size) - 0.5).clamp(min=0)
        below = wanted.floor().minimum(left - 1)
        above = (below + 1).minimum(left - 1)
        first, second = (
            _take(images, ((kept + 0.5) * (size / left)).floor().clamp(max=size - 1).long(), axis)
            for kept in (below, above)
        )
        share = (wanted - below).clamp(0, 1).view(len(images), *_along(axis, images.ndim - 1)[1:])
        images = first * (1 - share) + second * share
    return images


def mirror(images: Tensor, flips: Tensor) -> Tensor:
    """Flips the trailing axes of (n, ..., *spatial) where ``flips`` (n, d) is 1."""
    dims = flips.shape[1]
    for axis, flipped in enumerate(flips.unbind(1), start=images.ndim - dims):
        images = torch.where(_per_row(flipped > 0, images), images.flip(axis), images)
    return images


def _take(images: Tensor, places: Tensor, axis: int) -> Tensor:
    """Returns the voxels of rows (n, *spatial) at ``places`` (n, size) along a spatial axis."""
    shape = [len(places), *_along(axis, images.ndim - 1)[1:]]
    return images.gather(axis + 1, places.view(shape).expand(images.shape))


def _per_row(values: Tensor, images: Tensor) -> Tensor:
    return values.view(-1, *[1] * (images.ndim - 1))


def _along(axis: int, dims: int) -> list[int]:
    """Returns the shape (1, ..., -1, ..., 1) of values along an axis behind the rows."""
    shape = [1] * (dims + 1)
    shape[axis + 1] = -1
    return shape
