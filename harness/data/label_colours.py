"""The colour of every label, the same in all pictures."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Okabe and Ito's colours, told apart by the colour-blind; the first four fall from light to dark, to differ in grey.
_COLOURS = ("#F0E442", "#56B4E9", "#D55E00", "#0072B2", "#E69F00", "#CC79A7", "#009E73")


def label_colour(label: int) -> str:
    """Returns the colour of a label value from 1 up, as ``#RRGGBB``."""
    return _COLOURS[(label - 1) % len(_COLOURS)]


def tint(labels: NDArray[Any], opacity: float) -> NDArray[np.float64]:
    """Returns the colours of a label map, shape (..., 4), to be laid over an image; background is transparent."""
    colours = np.array([tuple(bytes.fromhex(colour[1:])) for colour in _COLOURS]) / 255
    places = (np.asarray(labels, dtype=int) - 1) % len(_COLOURS)
    return np.concatenate([colours[places], np.where(labels > 0, opacity, 0.0)[..., np.newaxis]], axis=-1)
