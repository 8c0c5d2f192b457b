"""Segments a case and brings the result back to the grid of its files."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.data.batches.modality_dropout import mark_absent
from harness.data.preparation.cache import PreparedCase
from harness.data.preparation.geometry import Geometry, resize_planes
from harness.data.preparation.normalisation import Normaliser
from harness.errors import NotFiniteError
from harness.inference.settings import InferenceSettings
from harness.inference.sliding_window import predict_probabilities
from harness.inference.standalone.program import slices_between

#: Slices brought back at once, so that memory does not grow with the volume.
_CHUNK = 32


def segment(
    network: nn.Module,
    case: PreparedCase,
    normaliser: Normaliser,
    patch_size: tuple[int, ...],
    settings: InferenceSettings,
    device: torch.device,
    absent: Sequence[int] = (),
) -> Tensor:
    """Returns class probabilities (K, D, H, W) of a prepared case, on the network's grid.

    Channels that are ``absent``, or that the case lacks, are NaN, for a network that fills them
    (``harness.training.modality_fill``).

    Raises:
        NotFiniteError: The network gives NaN or infinite values somewhere in the case.
    """
    images = mark_absent(torch.from_numpy(normaliser(case.images, case)), sorted({*absent, *case.absent}))
    probabilities = predict_probabilities(network, images.to(device), patch_size, settings)
    check_finite(probabilities, f"case '{case.name}'")
    return probabilities


def check_finite(probabilities: Tensor, place: str) -> None:
    """Refuses class probabilities that are not numbers: the strongest class of NaN is the first, the background.

    Args:
        probabilities: What a softmax gave; a logit that is NaN or infinite makes it NaN.
        place: What was segmented, for the message.

    Raises:
        NotFiniteError: One of them is NaN.
    """
    if not math.isfinite(float(probabilities.sum())):  # the sum: a mask would take memory for every voxel and class
        raise NotFiniteError(
            f"The network gives NaN or infinite values for {place}.",
            hint="Lower `training.optimiser.lr` or set `training.precision: fp32` in the protocol.",
        )


def segment_native(
    network: nn.Module,
    case: PreparedCase,
    normaliser: Normaliser,
    patch_size: tuple[int, ...],
    settings: InferenceSettings,
    device: torch.device,
    absent: Sequence[int] = (),
) -> NDArray[np.uint8]:
    """Returns the label map (X, Y, Z) of a case on the grid of its files.

    Args:
        network: Network in evaluation mode.
        case: Prepared case.
        normaliser: Normaliser fitted on the training cases.
        patch_size: Patch size of the training.
        settings: Inference settings of the protocol.
        device: Device of the network.
        absent: Channels the network is not given, beside those that the case lacks.

    Raises:
        NotFiniteError: The network gives NaN or infinite values somewhere in the case.
    """
    return restore(segment(network, case, normaliser, patch_size, settings, device, absent), case.geometry)


def restore(probabilities: Tensor, geometry: Geometry) -> NDArray[np.uint8]:
    """Brings class probabilities back to the files' grid.

    Probabilities, not labels, are interpolated (linearly, low-pass filtered where the grid gets coarser); the strongest
    class wins there. A few slices at a time: never do all classes lie on the files' grid at once.

    Args:
        probabilities: (K, D, H, W) on the network's grid.
        geometry: Geometry of the case.

    Returns:
        (X, Y, Z) uint8.
    """
    parts = [part.argmax(dim=0).to(torch.uint8).cpu() for part in _native_parts(probabilities, geometry)]
    return geometry.to_files(torch.cat(parts).numpy())


def restore_probabilities(probabilities: Tensor, geometry: Geometry) -> NDArray[np.float32]:
    """Brings class probabilities back to the files' grid; what the crop took off is background for sure.

    Args:
        probabilities: (K, D, H, W) on the network's grid.
        geometry: Geometry of the case.

    Returns:
        (X, Y, Z, K) float32; its strongest class is the label map of :func:`restore`.
    """
    whole = torch.cat([part.float().cpu() for part in _native_parts(probabilities, geometry)], dim=1).numpy()
    made = np.zeros((*geometry.shape, len(whole)), np.float32)
    for number, of_class in enumerate(whole):
        made[..., number] = geometry.to_files(of_class, outside=0.0 if number else 1.0)
    return made


def _native_parts(probabilities: Tensor, geometry: Geometry) -> Iterator[Tensor]:
    """Yields class probabilities (K, n, H, W) of some slices at a time, at the files' voxel size, without padding."""
    depth, *_ = geometry.cropped
    frame, (rows, columns) = geometry.frame
    # A forward pass in half precision may surround this; interpolation is to stay exact.
    with torch.autocast(probabilities.device.type, enabled=False):
        for start in range(0, depth, _CHUNK):
            part = slices_between(probabilities, start, min(start + _CHUNK, depth), depth)
            yield resize_planes(part, frame)[..., rows, columns]
