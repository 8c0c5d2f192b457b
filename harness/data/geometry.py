"""Between a case's native grid and the grid a network sees.

Two-dimensional protocols cut a volume into slices along the dataset's slice axis; prepared arrays have that axis first:
images (M, D, H, W), labels (D, H, W).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

__all__ = ["from_slices", "resize_label", "resize_planes", "to_slices"]


def to_slices(volume: NDArray[Any], axis: int) -> NDArray[Any]:
    """Moves the slice axis of (..., X, Y, Z) to the front of the three: (..., D, H, W)."""
    lead = volume.ndim - 3
    return np.moveaxis(volume, lead + axis, lead)


def from_slices(volume: NDArray[Any], axis: int) -> NDArray[Any]:
    """Undoes :func:`to_slices`."""
    lead = volume.ndim - 3
    return np.moveaxis(volume, lead, lead + axis)


def resize_planes(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes (C, D, H, W) in-plane by linear interpolation, low-pass filtered where it shrinks.

    Returns:
        (C, D, *size) of the same type.
    """
    if tuple(planes.shape[-2:]) == size:
        return planes
    return F.interpolate(planes, size=size, mode="bilinear", align_corners=False, antialias=True)


def resize_label(label: Tensor, size: tuple[int, int], classes: int) -> Tensor:
    """Resizes a label map (D, H, W) in-plane: each class linearly, then the strongest wins (as nnU-Net does).

    Returns:
        (D, *size) uint8.
    """
    if tuple(label.shape[-2:]) == size:
        return label
    best = torch.zeros((len(label), *size))
    winner = torch.zeros((len(label), *size), dtype=torch.uint8)
    for value in range(classes):  # one class at a time: memory does not grow with their number
        share = resize_planes((label == value).float()[None], size)[0]
        better = share > best
        best = torch.where(better, share, best)
        winner = torch.where(better, torch.tensor(value, dtype=torch.uint8), winner)
    return winner
