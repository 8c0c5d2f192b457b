"""What pictures of stored slices share: the image in grey, labels, the window shown, and the Dice of a slice."""

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from harness.boxes import Box, bounding_box, grown
from harness.results.overlay import Overlay

#: An image darker than this, of 255, shows nothing.
_DARK = 10


def show_grey(axes: Axes, image: NDArray[np.uint8], aspect: float) -> None:
    """Shows an image of bytes, with the same grey for the same value in every panel."""
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, aspect=aspect, interpolation="nearest")


def shared_window(slices: Iterable[Overlay], margin: int) -> Box:
    """Returns rows and columns around all that slices of one shape show; the whole slice where they show nothing."""
    seen = np.any([(each.images > _DARK).any(0) | (each.truth > 0) | (each.prediction > 0) for each in slices], axis=0)
    box = bounding_box(seen)
    return (slice(None), slice(None)) if box is None else grown(box, margin, seen.shape)


def labels_in(*maps: NDArray[np.uint8]) -> list[int]:
    """Returns the labels of some label maps in ascending order, background left out."""
    return sorted({int(label) for each in maps for label in np.unique(each)} - {0})


def slice_dice(truth: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> float:
    """Dice of a slice, mean over the labels present in truth or prediction; 1 where both are empty."""
    scores = [
        2 * np.sum((truth == label) & (prediction == label)) / (np.sum(truth == label) + np.sum(prediction == label))
        for label in labels_in(truth, prediction)
    ]
    return float(np.mean(scores)) if scores else 1.0
