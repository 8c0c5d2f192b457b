"""Lesion-wise Dice and HD95 of the BraTS challenges of 2023 and 2024, adult glioma.

Sources: rachitsaluja/BraTS-2023-Metrics (``metrics.py``) and BraTS-2024-Metrics (``metrics_GLI.py``). Per region:

1. True components whose dilations touch are one lesion. They grow by the 18-neighbourhood and are 26-connected.
2. Predicted components likewise in 2024, where small ones are then deleted; in 2023 they are taken as they are.
3. In 2024 lesions of one tissue that touch the same lesion of another tissue are one, in truth and in prediction.
4. A true lesion is compared with the union of the predicted ones that touch its dilation. One that none touches scores
   Dice 0 and the penalty. A lesion up to the size limit does not count, whether hit or not.
5. A predicted lesion that touches the dilation of no true one, however small that is, is a false positive: Dice 0 and
   the penalty.
6. Both scores are means over counted lesions and false positives; without any, Dice 1 and HD95 0.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harness.evaluation.pair import MaskPair
from harness.evaluation.surface_dice import robust_hausdorff

_Mask = NDArray[np.bool_]
_Labels = NDArray[np.int32]

#: A tissue's name to its labels or masks in truth or prediction; ``None`` where the dataset has no such region.
Tissues = Callable[[str], _Mask | None]


@dataclass(frozen=True)
class LesionRules:
    """What differs between the years.

    Attributes:
        name: Of the year's rules.
        penalty_mm: HD95 of a missed and of a false lesion.
        limit: Size up to which a lesion does not count (mm³ of true lesions, voxels of predicted ones).
        limits: The same for regions where it is another.
        dilation: Voxels by which lesions grow before they are merged and matched.
        dilations: The same for regions where it is another.
        predictions: Whether predicted components are merged and small ones deleted, too.
        links: Tissues whose lesions join those of a tissue, in order.
    """

    name: str
    penalty_mm: float
    limit: int
    limits: Mapping[str, int] = field(default_factory=dict)
    dilation: int = 3
    dilations: Mapping[str, int] = field(default_factory=dict)
    predictions: bool = False
    links: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


#: The rules of 2023.
BRATS2023 = LesionRules("BraTS 2023", penalty_mm=374.0, limit=50)

#: The rules of 2024. SNFH grows by 3: the official code means 5 and misspells the name.
BRATS2024 = LesionRules(
    "BraTS 2024",
    penalty_mm=337.0,
    limit=20,
    limits={"ET": 10},
    dilations={"NETC": 5, "RC": 5},
    predictions=True,
    links={"NETC": ("ET", "RC"), "ET": ("NETC", "RC"), "RC": ("ET", "NETC"), "SNFH": ("ET", "RC", "NETC")},
)


class LesionScores(NamedTuple):
    """Lesion-wise scores of a region."""

    dice: float
    hd95: float


def lesion_scores(
    region: str,
    prediction: Tissues,
    truth: Tissues,
    spacing: Sequence[float],
    rules: LesionRules,
) -> LesionScores:
    """Scores the lesions of a region.

    Args:
        region: Its name; one that the rules of the year do not know is treated as the whole tumour.
        prediction: Mask (X, Y, Z) of a region by its name, on a grid with room for the dilation.
        truth: As ``prediction``.
        spacing: Voxel size in mm.
        rules: Of the year.
    """
    found = _predicted_lesions(region, prediction, rules)
    real, dilated = _linked(region, truth, rules, lambda tissue: _true_lesions(tissue, truth, rules))
    touched = _touched(dilated, found)
    limit, voxel = rules.limits.get(region, rules.limit), math.prod(spacing)
    sizes = np.bincount(real.ravel())
    sizes[0] = 0
    dices, distances = [], []
    for lesion in np.flatnonzero(sizes).tolist():
        if sizes[lesion] * voxel <= limit:
            continue
        hits = [other for mine, other in touched if mine == lesion]
        if not hits:
            dices.append(0.0)
            distances.append(rules.penalty_mm)
            continue
        chosen = np.zeros(int(found.max()) + 1, dtype=bool)
        chosen[hits] = True
        pair = MaskPair(chosen[found], real == lesion, spacing)
        dices.append(2.0 * pair.shared / (pair.predicted + pair.real))
        distances.append(robust_hausdorff(pair))
    matched = {other for _, other in touched}
    false = len({int(label) for label in np.unique(found) if label} - matched)
    count = len(dices) + false
    if count == 0:
        return LesionScores(1.0, 0.0)
    return LesionScores(sum(dices) / count, (sum(distances) + rules.penalty_mm * false) / count)


def dilate(mask: _Mask, times: int) -> _Mask:
    """Grows a volume's mask by its 18-neighbourhood, so many times; inside the array."""
    for _ in range(times):
        x, y = _widened(mask, 0), _widened(mask, 1)
        # Neighbours share a face or an edge: those in each of the three planes.
        mask = _widened(x, 1) | _widened(x, 2) | _widened(y, 2)
    return mask


def _widened(mask: _Mask, axis: int) -> _Mask:
    wide = mask.copy()
    low: list[slice] = [slice(None)] * mask.ndim
    high: list[slice] = [slice(None)] * mask.ndim
    low[axis], high[axis] = slice(None, -1), slice(1, None)
    wide[tuple(low)] |= mask[tuple(high)]
    wide[tuple(high)] |= mask[tuple(low)]
    return wide


def _components(mask: _Mask) -> _Labels:
    """26-connected components, numbered in raster order."""
    labels, _ = ndimage.label(mask, structure=np.ones((3,) * mask.ndim, dtype=bool))
    return np.asarray(labels, dtype=np.int32)


def _mask(tissue: str, masks: Tissues) -> _Mask:
    mask = masks(tissue)
    if mask is None:
        raise KeyError(tissue)
    return mask


def _true_lesions(tissue: str, masks: Tissues, rules: LesionRules) -> tuple[_Labels, _Labels]:
    """Components merged by dilation: their labels, and the same labels on the dilated lesions."""
    mask = _mask(tissue, masks)
    dilated = _components(dilate(mask, rules.dilations.get(tissue, rules.dilation)))
    return np.where(mask, dilated, 0), dilated


def _predicted_lesions(region: str, masks: Tissues, rules: LesionRules) -> _Labels:
    if not rules.predictions:
        return _components(_mask(region, masks))
    return _linked(region, masks, rules, lambda tissue: _large_lesions(tissue, masks, rules))[0]


def _large_lesions(tissue: str, masks: Tissues, rules: LesionRules) -> tuple[_Labels, _Labels]:
    labels, dilated = _true_lesions(tissue, masks, rules)
    small = np.bincount(labels.ravel()) <= rules.limits.get(tissue, rules.limit)
    return np.where(small[labels], 0, labels), dilated


def _linked(
    region: str, masks: Tissues, rules: LesionRules, lesions: Callable[[str], tuple[_Labels, _Labels]]
) -> tuple[_Labels, _Labels]:
    """Lesions of a region, those joined that touch the same lesion of another tissue, with their dilations."""
    labels, dilated = lesions(region)
    for tissue in rules.links.get(region, ()):
        if masks(tissue) is None:
            continue
        joined = _joined(labels, lesions(tissue)[0], int(dilated.max()))
        labels, dilated = joined[labels], joined[dilated]
    return labels, dilated


def _joined(labels: _Labels, others: _Labels, highest: int) -> _Labels:
    """New label of each: lesions whose first partner (by number) is the same lesion of the other tissue become one.

    Only the first partner counts, as in the official code: two lesions that share a second partner stay apart.
    """
    partner: dict[int, int] = {}
    places = np.argwhere(np.pad(labels, 1))
    mine, theirs = np.pad(labels, 1), np.pad(others, 1)
    own = mine[tuple(places.T)]
    for step in np.argwhere(ndimage.generate_binary_structure(labels.ndim, 2)) - 1:
        neighbour = theirs[tuple((places + step).T)]
        touching = neighbour > 0
        for lesion, other in np.unique(np.stack([own[touching], neighbour[touching]], axis=1), axis=0).tolist():
            partner[lesion] = min(other, partner.get(lesion, other))
    new = np.arange(highest + 1, dtype=np.int32)
    for lesion, other in partner.items():
        new[lesion] = highest + other
    return new


def _touched(dilated: _Labels, found: _Labels) -> list[tuple[int, int]]:
    both = (dilated > 0) & (found > 0)
    pairs = np.unique(np.stack([dilated[both], found[both]], axis=1), axis=0)
    return [(int(lesion), int(other)) for lesion, other in pairs]
