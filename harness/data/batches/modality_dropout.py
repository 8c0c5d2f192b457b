"""Absent modalities: which ones a training patch lacks, and how images mark them.

An absent modality is NaN all over its channel. Files with NaN are refused when they are read, so nothing else is NaN,
and images keep their shape on the whole way from the batch to the network, where
:class:`harness.training.modality_fill.FillsAbsent` fills the absent modalities.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor


def draw_absent(modalities: int, p: float, rng: np.random.Generator) -> tuple[int, ...]:
    """Draws the modalities that are absent, each with probability ``p``, but never all of them.

    Args:
        modalities: Number of modalities.
        p: Probability that one is absent.
        rng: Source of the draws.

    Returns:
        Channels that are absent. Where all would be absent, one of them stays, each with equal probability.
    """
    absent = rng.random(modalities) < p
    stays = int(rng.integers(modalities))  # drawn always: the number of draws never depends on what they give
    if absent.all():
        absent[stays] = False
    return tuple(int(channel) for channel in np.flatnonzero(absent))


def join_absent(
    modalities: int, lacking: Sequence[int], drawn: Sequence[int], rng: np.random.Generator
) -> tuple[int, ...]:
    """Returns the channels that are absent because a patient lacks them or because they were drawn.

    Args:
        modalities: Number of modalities.
        lacking: Channels that the patient lacks; not all.
        drawn: Channels that were drawn to be absent.
        rng: Source of the draw of one of the patient's modalities, which stays where none would be left.
    """
    if not lacking:
        return tuple(drawn)
    absent = {*lacking, *drawn}
    if len(absent) == modalities:
        own = [channel for channel in range(modalities) if channel not in lacking]
        absent.remove(own[int(rng.integers(len(own)))])
    return tuple(sorted(absent))


def mark_absent(images: Tensor, absent: Sequence[int]) -> Tensor:
    """Returns images (M, *spatial) with the absent channels marked; the same tensor where none is absent."""
    if not absent:
        return images
    marked = images.clone()
    marked[list(absent)] = float("nan")
    return marked
