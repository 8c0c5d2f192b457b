"""The validation score that training shows and checkpoints are chosen by. Test cases never enter."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.data.batches.batches import Batch
from harness.data.preparation.cache import PreparedCase
from harness.data.preparation.normalisation import Normaliser
from harness.inference.native_grid import check_finite, segment
from harness.inference.settings import InferenceSettings


@dataclass(frozen=True)
class RegionDice:
    """Dice of one region of one validation case.

    Attributes:
        case: Name of the case.
        region: Name of the region.
        dice: Dice; 1 where the region is absent in truth and prediction, 0 where it is absent in one of them.
        present: Whether the truth shows the region.
    """

    case: str
    region: str
    dice: float
    present: bool = True


@dataclass(frozen=True)
class Validation:
    """What one validation found.

    Attributes:
        dice: Validation Dice; NaN where there was nothing to measure.
        dead: Whether there was foreground to be found and not one voxel of it was.
    """

    dice: float
    dead: bool


def validation_of(scores: Sequence[RegionDice]) -> Validation:
    """Returns the mean over cases and regions, and whether no region that is there was met anywhere.

    A region that is absent from truth and prediction counts 1 in the mean; it says nothing about a dead network, which
    predicts background everywhere.
    """
    shown = [score.dice for score in scores if score.present]
    return Validation(validation_dice(scores), bool(shown) and not any(shown))


@torch.inference_mode()
def validate_on_patches(network: nn.Module, batches: Iterable[Batch], classes: int, device: torch.device) -> Validation:
    """Returns Dice pooled over the voxels of all patches, averaged over foreground classes (nnU-Net v1).

    Classes that neither truth nor prediction shows in any patch are left out.

    Args:
        network: Network on the device.
        batches: Patches of validation cases, without augmentation.
        classes: Number of classes, background included.
        device: Device of the network.

    Raises:
        NotFiniteError: The network gives NaN or infinite values.
    """
    network.eval()
    hits, sizes = (torch.zeros(classes, dtype=torch.int64, device=device) for _ in range(2))
    total = torch.zeros((), device=device)  # read once, after the last batch
    for images, labels in batches:
        logits = network(images.to(device))
        total += logits.float().softmax(dim=1).sum()
        predicted, truth = logits.argmax(dim=1).flatten(), labels.to(device).flatten()
        hits += torch.bincount(truth[predicted == truth], minlength=classes)
        sizes += torch.bincount(truth, minlength=classes) + torch.bincount(predicted, minlength=classes)
    check_finite(total, "a patch of a validation case")
    shown = (sizes > 0)[1:]
    pooled = (2 * hits.double() / sizes)[1:][shown]
    return Validation(float(pooled.mean()), len(pooled) > 0 and not bool(hits[1:].any()))


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

    Raises:
        NotFiniteError: The network gives NaN or infinite values.
    """
    network.eval()
    plain = settings.model_copy(update={"mirror_axes": ()})
    scores: list[RegionDice] = []
    for case in cases:
        probabilities = segment(network, case, normaliser, patch_size, plain, device)
        counts = _count_pairs(probabilities, torch.from_numpy(np.array(case.label)).to(device))
        scores += [_region_dice(case.name, region, list(labels), counts) for region, labels in regions.items()]
    return scores


def _count_pairs(probabilities: Tensor, truth: Tensor) -> NDArray[np.int64]:
    """Counts the voxels of each class that were given each class, on the device of both: the CPU waits for one table.

    Args:
        probabilities: (K, D, H, W).
        truth: (D, H, W) labels.

    Returns:
        (K, K) true classes by predicted ones.
    """
    classes = len(probabilities)
    pairs = truth.long().mul_(classes).add_(probabilities.argmax(dim=0)).flatten()
    table: NDArray[np.int64] = torch.bincount(pairs, minlength=classes**2).reshape(classes, classes).cpu().numpy()
    return table


def _region_dice(case: str, region: str, labels: Sequence[int], counts: NDArray[np.int64]) -> RegionDice:
    real, predicted = int(counts[labels].sum()), int(counts[:, labels].sum())
    shared = int(counts[np.ix_(labels, labels)].sum())
    value = 2.0 * shared / (predicted + real) if predicted + real else 1.0
    return RegionDice(case, region, value, real > 0)
