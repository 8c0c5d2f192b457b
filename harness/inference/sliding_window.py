"""Whole volumes through a network that sees patches. The window arithmetic is MONAI's."""

import itertools
from collections.abc import Callable

import torch
from monai.inferers import sliding_window_inference
from torch import Tensor, nn

from harness.inference.settings import InferenceSettings


@torch.inference_mode()
def predict_probabilities(
    network: nn.Module, images: Tensor, patch_size: tuple[int, ...], settings: InferenceSettings
) -> Tensor:
    """Returns class probabilities of a whole volume.

    Args:
        network: Network in evaluation mode, on the device of ``images``.
        images: (M, D, H, W), normalised. With a two-dimensional patch the D slices are segmented one by one.
        patch_size: Two or three numbers.
        settings: Overlap, weighting, mirroring, batch size.

    Returns:
        (K, D, H, W) float32 on the device of ``images``.
    """
    predict = _mirrored(network, settings.mirror_axes)
    if len(patch_size) == 3:
        return _slide(predict, images[None], patch_size, settings)[0]
    slices = images.transpose(0, 1)
    parts = [
        _slide(predict, slices[start : start + settings.batch_size], patch_size, settings)
        for start in range(0, len(slices), settings.batch_size)
    ]
    return torch.cat(parts).transpose(0, 1)


def _slide(
    predict: Callable[[Tensor], Tensor], images: Tensor, patch_size: tuple[int, ...], settings: InferenceSettings
) -> Tensor:
    result: Tensor = sliding_window_inference(
        images,
        roi_size=patch_size,
        sw_batch_size=settings.batch_size,
        predictor=predict,
        overlap=settings.overlap,
        mode="gaussian" if settings.gaussian else "constant",
    )
    return result


def _mirrored(network: nn.Module, axes: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    """Averages probabilities over all flips of ``axes``."""
    flips = [
        [axis + 2 for axis in chosen]
        for count in range(len(axes) + 1)
        for chosen in itertools.combinations(axes, count)
    ]

    def predict(patches: Tensor) -> Tensor:
        total: Tensor | None = None
        for flip in flips:
            turned = patches.flip(flip) if flip else patches
            probabilities = network(turned).float().softmax(dim=1)
            probabilities = probabilities.flip(flip) if flip else probabilities
            total = probabilities if total is None else total + probabilities
        assert total is not None
        return total / len(flips)

    return predict
