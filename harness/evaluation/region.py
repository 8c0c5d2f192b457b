"""One case as its metrics see it: the masks of every region, cut to what holds anything, and work they share."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.boxes import bounding_box, grown, united
from harness.evaluation.lesions import BRATS2023, BRATS2024, LesionRules, LesionScores, lesion_scores
from harness.evaluation.pair import MaskPair

#: Voxels kept around the labels: the largest dilation of the lesion-wise rules, and one.
_MARGIN = 6


class CaseMasks:
    """Prediction and truth of a case, cut to the box that holds every label of both.

    Args:
        prediction: Label map of integers; ``None`` where there is none.
        truth: Label map of integers, of the same shape.
        regions: Labels of each region by its name, background not among them.
        spacing: Voxel size in mm.
    """

    def __init__(
        self,
        prediction: NDArray[Any] | None,
        truth: NDArray[Any],
        regions: Mapping[str, tuple[int, ...]],
        spacing: Sequence[float],
    ) -> None:
        self.shape, self.spacing, self.regions = truth.shape, tuple(spacing), regions
        box = united(bounding_box(truth), None if prediction is None else bounding_box(prediction))
        box = tuple(slice(0, 1) for _ in truth.shape) if box is None else grown(box, _MARGIN, truth.shape)
        self._truth = np.ascontiguousarray(truth[box])
        self._prediction = None if prediction is None else np.ascontiguousarray(prediction[box])
        self._masks: dict[tuple[str, bool], NDArray[np.bool_]] = {}

    @property
    def missing(self) -> bool:
        """Whether there is no prediction."""
        return self._prediction is None

    def truth(self, region: str) -> NDArray[np.bool_] | None:
        """Returns the true mask of a region; ``None`` where the case has no such region."""
        return self._mask(region, self._truth, predicted=False)

    def prediction(self, region: str) -> NDArray[np.bool_] | None:
        """Returns the predicted mask of a region; ``None`` where the case has no such region."""
        return None if self._prediction is None else self._mask(region, self._prediction, predicted=True)

    def _mask(self, region: str, labels: NDArray[Any], *, predicted: bool) -> NDArray[np.bool_] | None:
        if region not in self.regions:
            return None
        key = region, predicted
        if key not in self._masks:
            self._masks[key] = np.isin(labels, self.regions[region])
        return self._masks[key]


class Region:
    """One region of a case.

    Args:
        name: Its name.
        case: The case.
    """

    def __init__(self, name: str, case: CaseMasks) -> None:
        self.name, self.case = name, case
        self._lesions: dict[str, LesionScores] = {}

    @cached_property
    def pair(self) -> MaskPair:
        """Prediction and truth; an empty prediction where there is none."""
        truth = self.case.truth(self.name)
        assert truth is not None
        found = self.case.prediction(self.name)
        return MaskPair(np.zeros_like(truth) if found is None else found, truth, self.case.spacing)

    def lesions(self, rules: LesionRules) -> LesionScores:
        """Returns the lesion-wise scores, computed once a year's rules."""
        if rules.name not in self._lesions:
            case = self.case
            self._lesions[rules.name] = lesion_scores(self.name, case.prediction, case.truth, case.spacing, rules)
        return self._lesions[rules.name]


def lesion_dice_2023(region: Region) -> float:
    """Returns the lesion-wise Dice of a region by the rules of BraTS 2023."""
    return region.lesions(BRATS2023).dice


def lesion_hd95_2023(region: Region) -> float:
    """Returns the lesion-wise HD95 of a region by the rules of BraTS 2023, in mm."""
    return region.lesions(BRATS2023).hd95


def lesion_dice_2024(region: Region) -> float:
    """Returns the lesion-wise Dice of a region by the rules of BraTS 2024."""
    return region.lesions(BRATS2024).dice


def lesion_hd95_2024(region: Region) -> float:
    """Returns the lesion-wise HD95 of a region by the rules of BraTS 2024, in mm."""
    return region.lesions(BRATS2024).hd95
