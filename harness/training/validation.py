"""The validation score that training shows and checkpoints are chosen by. Test cases never enter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
from torch import nn

from harness.data.preparation.cache import PreparedCase
from harness.data.preparation.normalisation import Normaliser
from harness.evaluation.overlap import dice
from harness.inference.native_grid import segment
from harness.inference.settings import InferenceSettings


@dataclass(frozen=True)
class RegionDice:
    """Dice of one region of one validation case."""

    case: str
    region: str
    dice: float


def validation_dice(scores: Sequence[RegionDice]) -> float:
    """Returns the mean over cases and regions, which the progress shows and the choice of weights uses."""
    return fmean(score.dice for score in scores)


def validation_scores(
    network: nn.Module,
    cases: Sequence[PreparedCase],
    regions: Mapping[str, tuple[int, ...]],
    normaliser: Normaliser,
    patch_size: tuple[int, ...],
    settings: InferenceSettings,
    device: torch.device,
) -> list[RegionDice]:
    """Returns Dice of every case and region, on the network's grid, without mirroring.

    A region absent in truth and prediction counts 1, absent in one of them 0.
    """
    network.eval()
    plain = settings.model_copy(update={"mirror_axes": ()})
    scores = []
    for case in cases:
        prediction = segment(network, case, normaliser, patch_size, plain, device).argmax(dim=0).cpu().numpy()
        label = case.label
        for region, labels in regions.items():
            truth, predicted = np.isin(label, labels), np.isin(prediction, labels)
            value = dice(predicted, truth) if truth.any() or predicted.any() else 1.0
            scores.append(RegionDice(case.name, region, value))
    return scores
