"""The validation score that training shows and checkpoints are chosen by. Test cases never enter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
import torch
from torch import nn

from harness.data.cache import PreparedCase
from harness.data.normalisation import Normaliser
from harness.evaluation.overlap import dice
from harness.inference.native_grid import segment
from harness.inference.settings import InferenceSettings

__all__ = ["validation_dice"]


def validation_dice(
    network: nn.Module,
    cases: Sequence[PreparedCase],
    regions: Mapping[str, tuple[int, ...]],
    normaliser: Normaliser,
    patch_size: tuple[int, ...],
    settings: InferenceSettings,
    device: torch.device,
) -> float:
    """Returns mean Dice over cases and regions, on the network's grid, without mirroring.

    A region absent in truth and prediction counts 1, absent in one of them 0.
    """
    network.eval()
    plain = settings.model_copy(update={"mirror_axes": ()})
    scores = []
    for case in cases:
        prediction = segment(network, case, normaliser, patch_size, plain, device).argmax(dim=0).cpu().numpy()
        label = case.label
        for labels in regions.values():
            truth, found = np.isin(label, labels), np.isin(prediction, labels)
            scores.append(dice(found, truth) if truth.any() or found.any() else 1.0)
    return fmean(scores)
