"""Segments a case and brings the result back to the grid of its files."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from harness.data.geometry import from_slices, resize_planes
from harness.data.normalisation import Normaliser
from harness.data.prepare import PreparedCase
from harness.inference.settings import InferenceSettings
from harness.inference.sliding_window import predict_probabilities

__all__ = ["segment", "segment_native"]

#: Slices brought back at once, so that memory does not grow with the volume.
_CHUNK = 32


def segment(
    network: nn.Module,
    case: PreparedCase,
    normaliser: Normaliser,
    patch_size: tuple[int, ...],
    settings: InferenceSettings,
    device: torch.device,
) -> torch.Tensor:
    """Returns class probabilities (K, D, H, W) of a prepared case, on the network's grid."""
    images = torch.from_numpy(normaliser(case.images, case))
    return predict_probabilities(network, images.to(device), patch_size, settings)


def segment_native(
    network: nn.Module,
    case: PreparedCase,
    normaliser: Normaliser,
    patch_size: tuple[int, ...],
    settings: InferenceSettings,
    device: torch.device,
    native_shape: tuple[int, int, int],
    slice_axis: int,
) -> NDArray[np.uint8]:
    """Returns the label map of a case on the grid of its files.

    Probabilities, not labels, are interpolated; the strongest class wins there.

    Args:
        network: In evaluation mode.
        case: Prepared case.
        normaliser: The one of training.
        patch_size: The one of training.
        settings: How to infer.
        device: Where.
        native_shape: (X, Y, Z) of the files.
        slice_axis: The dataset's.

    Returns:
        (X, Y, Z) uint8.
    """
    probabilities = segment(network, case, normaliser, patch_size, settings, device)
    plane = [extent for axis, extent in enumerate(native_shape) if axis != slice_axis]
    parts = [
        resize_planes(probabilities[:, start : start + _CHUNK], (plane[0], plane[1])).argmax(dim=0).to(torch.uint8)
        for start in range(0, probabilities.shape[1], _CHUNK)
    ]
    label = torch.cat(parts).cpu().numpy()
    return np.ascontiguousarray(from_slices(label, slice_axis))
