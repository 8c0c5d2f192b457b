"""Training patches: which case, where, and by which random numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.data.preparation.cache import PreparedCase
from harness.data.preparation.normalisation import Normaliser


@dataclass(frozen=True)
class Placing:
    """Where patches may lie, and how one is placed that shows foreground.

    Attributes:
        patch_size: Size of a patch: two numbers for slices, three for volumes.
        region: Size of the region that is read around it.
        foreground_by: What is drawn first of a class: a voxel, or a slice that shows it.
        marks_body: Whether patches say what is inside the body.
    """

    patch_size: tuple[int, ...]
    region: tuple[int, ...]
    foreground_by: Literal["voxel", "slice"] = "voxel"
    marks_body: bool = False


class Patch(NamedTuple):
    """A region with a patch at its centre.

    Attributes:
        images: (M, *region), normalised; what lies outside the volume is 0.
        label: (*region); what lies outside the volume is 0.
        inside: (*region) whether a voxel is inside the body: not 0 in some modality, or labelled. None where that is
            not asked for.
        absent: Channels that its case lacks.
    """

    images: NDArray[np.float32]
    label: NDArray[np.uint8]
    inside: NDArray[np.bool_] | None
    absent: tuple[int, ...]


def draw_patch(
    cases: Sequence[PreparedCase],
    normaliser: Normaliser,
    placing: Placing,
    show_foreground: bool,
    rng: np.random.Generator,
) -> Patch:
    """Draws one patch with the region around it.

    Args:
        cases: Training cases, drawn with equal probability.
        normaliser: Applied to the region.
        placing: Sizes, and how foreground is aimed at.
        show_foreground: Aim at a voxel of a class drawn among those the case has (nnU-Net's oversampling).
        rng: Source of all draws.
    """
    case = cases[int(rng.integers(len(cases)))]
    images, label = case.images, case.label
    region = placing.region
    centre = _aim(case, placing.foreground_by, rng) if show_foreground else None
    if len(region) == 2:
        index = int(rng.integers(len(label))) if centre is None else int(centre[0])
        images, label = images[:, index], label[index]
        centre = None if centre is None else centre[1:]
    start = [
        _start(extent, size, read, None if centre is None else int(centre[axis]), rng)
        for axis, (extent, size, read) in enumerate(zip(label.shape, placing.patch_size, region, strict=True))
    ]
    # Normalised before it is padded: 0 is what lies outside for a network, but 0 HU is water.
    raw, shown = _inside(images, start, region), _inside(label, start, region)
    body = (_present(raw, case) != 0).any(axis=0) | (shown > 0) if placing.marks_body else None

    def padded(part: NDArray[Any]) -> NDArray[Any]:
        return _pad(part, label.shape, start, region)

    inside = None if body is None else padded(body)
    return Patch(padded(normaliser(raw, case)), padded(shown), inside, case.absent)


def _present(images: NDArray[Any], case: PreparedCase) -> NDArray[Any]:
    """Returns the channels that a case has."""
    return np.delete(images, case.absent, axis=0) if case.absent else images


def _aim(case: PreparedCase, by: Literal["voxel", "slice"], rng: np.random.Generator) -> NDArray[np.int32] | None:
    present = [voxels for voxels in case.foreground.values() if len(voxels)]
    if not present:
        return None
    voxels = present[int(rng.integers(len(present)))]
    if by == "slice":
        slices = np.unique(voxels[:, 0])
        voxels = voxels[voxels[:, 0] == slices[int(rng.integers(len(slices)))]]
    chosen: NDArray[np.int32] = voxels[int(rng.integers(len(voxels)))]
    return chosen


def _start(extent: int, size: int, region: int, centre: int | None, rng: np.random.Generator) -> int:
    """Returns where the region starts along one axis.

    A region of the patch's own size stays inside the volume, or is centred where that is smaller. A larger one may
    reach beyond the border by half of what it is larger, and beyond the far one by any number where it is centred on
    foreground, as in nnU-Net v1's loader.
    """
    if region == size:
        slack = extent - size
        if slack <= 0:
            return slack // 2
        return int(rng.integers(slack + 1)) if centre is None else min(max(centre - size // 2, 0), slack)
    margin = max(region - size, region - extent)
    first, last = -(margin // 2), extent + margin // 2 + margin % 2 - region
    return int(rng.integers(first, last + 1)) if centre is None else max(first, centre - region // 2)


def _inside(array: NDArray[Any], start: Sequence[int], size: Sequence[int]) -> NDArray[Any]:
    """Returns the part of a patch that lies inside the array; ``start`` counts along the trailing axes."""
    parts: list[Any] = [
        slice(max(first, 0), min(first + length, extent))
        for extent, first, length in zip(array.shape[-len(size) :], start, size, strict=True)
    ]
    return np.ascontiguousarray(array[(..., *parts)])


def _pad(patch: NDArray[Any], shape: Sequence[int], start: Sequence[int], size: Sequence[int]) -> NDArray[Any]:
    """Pads the result of :func:`_inside`, cut from an array of trailing ``shape``, with 0 to ``size``."""
    pad = [(0, 0)] * (patch.ndim - len(size))
    pad += [
        (max(-first, 0), max(first + length - extent, 0))
        for extent, first, length in zip(shape, start, size, strict=True)
    ]
    return np.pad(patch, pad) if any(before or after for before, after in pad) else patch
