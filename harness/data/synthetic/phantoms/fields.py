"""Smooth random fields, and warps, irregular shapes, bias and noise made from them.

Everything is a function of its arguments and of the state of ``rng``. Lengths are in voxels; a generator that works at
several voxel sizes divides millimetres by its voxel size first.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: A Gaussian is followed this many standard deviations to either side.
_REACH = 3.0

#: Fields are cut off here where they change a radius, so that no shape leaves the box it is drawn in.
_MAX_DEVIATION = 2.5


def smooth_field(shape: Sequence[int], sigma_voxels: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Returns a random field (*shape) of mean 0 and standard deviation 1.

    White noise stands on a grid of nodes, about one a standard deviation apart, and every node is spread by a Gaussian.
    Gaussians are separable, so this is a matrix product an axis: fast at any size.

    Args:
        shape: Voxels along each axis, at least two in all.
        sigma_voxels: Standard deviation of the Gaussian; larger is smoother.
        rng: Source of the noise.

    Raises:
        ValueError: ``sigma_voxels`` is not positive.
    """
    if sigma_voxels <= 0:
        raise ValueError(f"sigma_voxels must be positive, not {sigma_voxels}")
    spread = [_spread(extent, sigma_voxels) for extent in shape]
    field = rng.standard_normal([weights.shape[1] for weights in spread], dtype=np.float32)
    for weights in spread:
        # The first axis is spread and moves to the end, so that after the last product the order is as before.
        field = np.tensordot(field, weights, axes=(0, 1))
    field -= field.mean(dtype=np.float64)
    field /= field.std(dtype=np.float64)
    return field


def _spread(extent: int, sigma: float) -> NDArray[np.float32]:
    """Returns weights (extent, nodes)."""
    step = max(sigma, 1.0)
    beyond = _REACH * sigma
    nodes = np.arange(math.ceil((extent - 1 + 2 * beyond) / step) + 1) * step - beyond
    distance = (np.arange(extent)[:, None] - nodes) / sigma
    return np.exp(-0.5 * distance**2).astype(np.float32)


def random_displacement(
    shape: Sequence[int], max_voxels: float, sigma: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Returns a smooth displacement (3, X, Y, Z) in voxels whose longest vector has length ``max_voxels``.

    Keep ``max_voxels`` below ``sigma``: otherwise the warp may fold tissue over itself.
    """
    displacement = np.stack([smooth_field(shape, sigma, rng) for _ in range(3)])
    longest = math.sqrt(float((displacement**2).sum(axis=0).max()))
    displacement *= max_voxels / longest
    return displacement


def blob(
    shape: Sequence[int],
    centre: Sequence[float] | NDArray[np.float64],
    radii: Sequence[float] | NDArray[np.float64],
    irregularity: float,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Returns a mask (*shape) of one connected, irregular ellipsoid, cut off at the volume's border.

    Args:
        shape: Voxels along each axis.
        centre: Centre in voxels; may lie between voxels.
        radii: Half-axes in voxels.
        irregularity: Standard deviation of the surface's distance from the centre, as a share of the radius; 0 is a
            smooth ellipsoid, 0.1 a lumpy one, 0.3 has lobes.
        rng: Source of the irregularity.
    """
    mask = np.zeros(shape, bool)
    reach = [1 + radius * (1 + _MAX_DEVIATION * irregularity) for radius in radii]
    starts = [math.floor(middle - far) for middle, far in zip(centre, reach, strict=True)]
    stops = [math.ceil(middle + far) + 1 for middle, far in zip(centre, reach, strict=True)]
    axes = np.ogrid[tuple(slice(start, stop) for start, stop in zip(starts, stops, strict=True))]
    squares = [((axis - middle) / radius) ** 2 for axis, middle, radius in zip(axes, centre, radii, strict=True)]
    distance = np.sqrt(sum(squares[1:], squares[0]))
    if irregularity > 0:
        lumps = smooth_field(distance.shape, max(1.0, 0.4 * sum(radii) / len(radii)), rng)
        distance -= irregularity * lumps.clip(-_MAX_DEVIATION, _MAX_DEVIATION)
    drawn = largest_part(distance < 1)
    inner, outer = [], []
    for start, stop, extent in zip(starts, stops, shape, strict=True):
        first, last = max(start, 0), min(stop, extent)
        if first >= last:
            return mask
        outer.append(slice(first, last))
        inner.append(slice(first - start, last - start))
    mask[tuple(outer)] = drawn[tuple(inner)]
    return mask


def largest_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns the largest connected part of a mask."""
    parts, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(parts.ravel())[1:]
    largest: NDArray[np.bool_] = parts == 1 + int(sizes.argmax())
    return largest


def bias_field(shape: Sequence[int], strength: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Returns a coil's smooth multiplicative shading (*shape), around 1.

    Args:
        shape: Voxels along each axis.
        strength: Standard deviation of its logarithm; 0.05 to 0.2 is usual.
        rng: Source of the shading.
    """
    shading: NDArray[np.float32] = np.exp(strength * smooth_field(shape, max(shape) / 4, rng))
    return shading


def rician(image: NDArray[np.float32], noise: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Returns the magnitude of ``image`` plus complex Gaussian noise of standard deviation ``noise`` a part."""
    real = image + noise * rng.standard_normal(image.shape, dtype=np.float32)
    imaginary = noise * rng.standard_normal(image.shape, dtype=np.float32)
    magnitude: NDArray[np.float32] = np.hypot(real, imaginary)
    return magnitude
