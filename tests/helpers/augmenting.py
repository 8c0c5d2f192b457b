"""Regions to augment, and both ways to do it: batchgeneratorsv2 patch by patch, and a device the whole batch."""

from __future__ import annotations

import numpy as np
import torch

from harness.data.batches.augmentation import Augmenter, mark_body, transforms_of
from harness.data.batches.batch_augmentation import BatchAugmentation
from harness.data.batches.draws import draw, steps_of
from harness.data.batches.raw_batch import RawBatch, pack

SIZES = {2: (24, 32), 3: (12, 20, 16)}

TURNED = {"p_rotation": 0.7, "rotation_degrees": 60, "p_scale": 0.7, "scale": (0.7, 1.4)}

#: Each transform alone, at its most.
ALONE = {
    "rotation": {"p_rotation": 1, "rotation_degrees": 180},
    "zoom": {"p_scale": 1, "scale": (0.7, 1.4), "scale_draw": "halves"},
    "rotation in a region": {**TURNED, "cutout": 1.3},
    "region": {"cutout": 1.3},
    "blur": {"p_blur": 1, "blur_sigma": (0.4, 2.4)},
    "blur of one sigma": {"p_blur": 0.7, "blur_axes": "together"},
    "brightness": {"p_brightness": 1},
    "contrast": {"p_contrast": 1, "contrast": (0.5, 2)},
    "low resolution": {"p_low_resolution": 1, "low_resolution": (0.3, 1)},
    "gamma": {"p_gamma": 1},
    "gamma inverted": {"p_gamma_inverted": 1},
    "mirroring": {"mirror_axes": (0, 1)},
}
EVERYTHING = {
    **ALONE["rotation in a region"],
    **dict.fromkeys(("p_blur", "p_brightness", "p_contrast", "p_low_resolution", "p_gamma", "p_gamma_inverted"), 0.5),
    "mirror_axes": (0, 1),
    "mask_outside": True,
}
CHANNELS, MASKED = 3, (0, 2)


def patches(settings, dims, count, seed=0):
    """Yields images, label and body of smooth regions."""
    rng = np.random.default_rng(seed)
    region = [int(size * settings.cutout) for size in SIZES[dims]]
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in region), indexing="ij")
    for _ in range(count):
        phases = rng.uniform(0, 6, (CHANNELS, dims))
        images = [sum(np.sin(3 * axis + phase) for axis, phase in zip(axes, own, strict=True)) for own in phases]
        images = np.stack(images) + rng.normal(0, 0.1, (CHANNELS, *region))
        distance = sum((axis - rng.uniform(-0.3, 0.3)) ** 2 for axis in axes)
        label = np.select([distance < 0.1, distance < 0.3], [2, 1]).astype(np.uint8)
        yield images.astype(np.float32), label, distance < 0.8


def on_both(settings, dims, seeds, device="cpu"):
    """Returns images and labels as batchgeneratorsv2 makes them and as a device does."""
    size, given = SIZES[dims], list(patches(settings, dims, len(seeds)))
    augment = Augmenter(settings, size, MASKED)
    expected = [
        augment(image.copy(), label, seed, body) for (image, label, body), seed in zip(given, seeds, strict=True)
    ]
    made = on_device(settings, size, given, seeds, device=device)
    return [torch.stack(each) for each in zip(*expected, strict=True)], made


def augmentation(settings, size, parts=1):
    return BatchAugmentation(transforms_of(settings, size), size, MASKED if settings.mask_outside else (), parts)


def on_device(settings, size, given, seeds, absent=None, device="cpu"):
    """Returns images and labels of a batch that a device augments."""
    return augmentation(settings, size)(raw(settings, size, given, seeds, absent).to(torch.device(device)))


def raw(settings, size, given, seeds, absent=None) -> RawBatch:
    """Returns a batch with what its patches draw by their seeds."""
    steps = steps_of(transforms_of(settings, size))
    labels = [mark_body(label, body) if settings.mask_outside else label for _, label, body in given]
    images, labels = (torch.from_numpy(np.stack(each)) for each in ([image for image, *_ in given], labels))
    return pack(steps, images, labels, draw(steps, CHANNELS, size, seeds), seeds, absent or [()] * len(seeds))
