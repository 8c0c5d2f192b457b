"""What a region scores when there is nothing to measure.

A value is never absent: leaving a case out would let a model that misses lesions score better than one that finds some.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from harness.errors import HarnessError, did_you_mean

#: Statuses whose value a policy sets.
UnmeasuredStatus = Literal["empty_both", "empty_one", "missing"]


@dataclass(frozen=True)
class EmptyPolicy:
    """Values of regions that are absent in truth, prediction or both, and of missing predictions.

    Both absent is right: Dice 1, HD95 0 mm. One absent is wrong: Dice 0 and a distance the policy names. A missing
    prediction is at least as bad as any prediction could be, whatever the truth holds.

    A policy that skips leaves a value that cannot be computed out of every mean: all metrics where both masks are
    empty, distances (and the volume difference to an empty truth) where one is. Such a row still carries a value, the
    one that the preset ``worst`` gives, and the status ``skipped``: whoever averages leaves rows with that status out,
    counts them, and prints the count. A missing prediction is never skipped.

    Attributes:
        name: What studies and results call it.
        penalty_mm: HD95 in mm where one mask is empty; ``None`` for the diagonal of the image.
        source: Who defined it.
        skips: Whether what cannot be computed is left out of means.
    """

    name: str
    penalty_mm: float | None
    source: str
    skips: bool = False

    def dice(self, status: UnmeasuredStatus) -> float:
        """Returns the Dice coefficient of an unmeasured region; that of every overlap from 0 to 1."""
        return 1.0 if status == "empty_both" else 0.0

    def hd95(self, status: UnmeasuredStatus, shape: Sequence[int], spacing: Sequence[float]) -> float:
        """Returns the HD95 of an unmeasured region; that of every surface distance.

        Args:
            status: Why it is unmeasured.
            shape: Voxels along each axis.
            spacing: Voxel size in mm, one value per axis.

        Returns:
            The distance in mm. For a missing prediction no less than the diagonal of the image, the bound of every
            distance in it: deleting a prediction never pays.
        """
        if status == "empty_both":
            return 0.0
        diagonal = image_diagonal(shape, spacing)
        if self.penalty_mm is None:
            return diagonal
        return self.penalty_mm if status == "empty_one" else max(self.penalty_mm, diagonal)


def image_diagonal(shape: Sequence[int], spacing: Sequence[float]) -> float:
    """Returns the length in mm of an image's diagonal, from outer corner to outer corner."""
    return math.hypot(*(count * size for count, size in zip(shape, spacing, strict=True)))


_PRESETS = (
    EmptyPolicy("worst", penalty_mm=None, source="image diagonal, as the ToothFairy challenge"),
    EmptyPolicy("brats", penalty_mm=373.12866, source="BraTS 2019: the diagonal of its 240 x 240 x 155 mm image"),
    EmptyPolicy("nan_skip", penalty_mm=None, source="what cannot be computed is left out of means", skips=True),
)

#: Policies by name.
POLICIES: Mapping[str, EmptyPolicy] = MappingProxyType({policy.name: policy for policy in _PRESETS})


#: A penalty of one's own, e.g. ``100mm``.
_CONSTANT = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)mm", re.ASCII)


def empty_policy(name: str) -> EmptyPolicy:
    """Returns the policy of a name: one of :data:`POLICIES`, or a constant penalty in mm, e.g. ``100mm``.

    Raises:
        HarnessError: No policy has that name.
    """
    if constant := _CONSTANT.fullmatch(name):
        return EmptyPolicy(name, penalty_mm=float(constant[1]), source="a constant")
    if name not in POLICIES:
        hint = f"{did_you_mean(name, POLICIES)} A constant penalty is written like 100mm.".strip()
        raise HarnessError(f"There is no empty-case policy '{name}'.", hint=hint)
    return POLICIES[name]
