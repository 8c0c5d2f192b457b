"""Groups of patients, such as those of a site: means with intervals, and whether a group differs from the others.

Groups hold different patients, so nothing is paired: the test permutes which patients are the group (its p is valid
whatever the shape of the scores), and the interval of the difference is Welch's.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.statistics.bootstrap import RESAMPLES, Interval, mean_intervals
from harness.statistics.comparisons import holm
from harness.statistics.sample_size import ALPHA
from harness.statistics.two_means import chance_of_cases, interval_of_difference

#: Places of permuted patients held at once.
_CHUNK = 2_000_000

#: Beside equal differences, what rounding makes of them.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class GroupMean:
    """A method on the patients of one group, beside all others.

    Attributes:
        method: Name of the method.
        group: Name of the group.
        n_patients: Patients of the group.
        n_others: All others.
        mean: Mean over the group's patients.
        mean_interval: BCa interval of it; ``None`` for too few patients.
        difference: Mean of the group minus mean of the others; NaN without others.
        difference_interval: Welch's interval of it; ``None`` where one of the two is a single patient.
        p: Two-sided p of the permutation test; ``None`` without others.
        p_holm: The same after Holm over all groups and methods.
        can_tell: Whether some order of the scores would be significant, so few as the patients may be.
    """

    method: str
    group: str
    n_patients: int
    n_others: int
    mean: float
    mean_interval: Interval | None
    difference: float
    difference_interval: Interval | None
    p: float | None
    p_holm: float | None
    can_tell: bool

    @property
    def differs(self) -> bool:
        """Whether the group differs significantly from the others."""
        return self.p_holm is not None and self.p_holm < ALPHA


def group_means(
    table: pd.DataFrame, group_of: Mapping[str, str], groups: Sequence[str], *, resamples: int = RESAMPLES
) -> list[GroupMean]:
    """Compares each group of patients with all others, method by method.

    Of two groups, each is the others of the other one: they are one test, and Holm counts it once.

    Args:
        table: Patients x methods.
        group_of: Group of each patient.
        groups: Groups in the order of the result; those without a patient in the table are left out.
        resamples: Random permutations of the test.
    """
    members = np.array([group_of[str(patient)] for patient in table.index])
    groups = [group for group in groups if (members == group).any()]
    values = table.to_numpy(dtype=float)
    tested = groups if len(groups) > 2 else groups[1:]
    raw = {group: _permutation_p(values, members == group, resamples) for group in tested}
    flat = np.array([p for group in tested for p in raw[group]])
    adjusted = dict(zip(tested, holm(flat).reshape(len(tested), -1), strict=True)) if tested else {}
    if len(groups) == 2:
        raw[groups[0]], adjusted[groups[0]] = raw[groups[1]], adjusted[groups[1]]
    found = []
    for group in groups:
        inside = values[members == group]
        outside = values[members != group]
        intervals = mean_intervals(inside)
        can_tell = bool(tested) and flat.size * _least_p(len(inside), len(outside)) < ALPHA
        for number, method in enumerate(table.columns):
            mine, others = inside[:, number], outside[:, number]
            found.append(
                GroupMean(
                    method=str(method),
                    group=group,
                    n_patients=len(mine),
                    n_others=len(others),
                    mean=float(mine.mean()),
                    mean_interval=intervals[number],
                    difference=float(mine.mean() - others.mean()) if len(others) else math.nan,
                    difference_interval=_welch(mine, others),
                    p=float(raw[group][number]) if group in raw else None,
                    p_holm=float(adjusted[group][number]) if group in adjusted else None,
                    can_tell=can_tell,
                )
            )
    return found


def _least_p(inside: int, outside: int) -> float:
    """The least p that the test can give: of all choices of so many patients, one, or two mirrored ones."""
    return (2 if inside == outside else 1) / math.comb(inside + outside, inside)


def _welch(mine: NDArray[np.float64], others: NDArray[np.float64]) -> Interval | None:
    if min(len(mine), len(others)) < 2:
        return None
    chances = [chance_of_cases(float(each.std(ddof=1)), len(each)) for each in (mine, others)]
    return interval_of_difference(float(mine.mean() - others.mean()), [one for one in chances if one.variance > 0])


def _permutation_p(values: NDArray[np.float64], inside: NDArray[np.bool_], resamples: int) -> NDArray[np.float64]:
    """Two-sided p of the difference of means, of each column.

    The observed choice of patients counts as one of the permutations (Phipson and Smyth 2010), so that no p is 0.
    """
    patients, size = len(values), int(inside.sum())
    around = values - values.mean(axis=0)
    # With the sum over all patients 0, the difference of means is the group's sum times a constant.
    observed = np.abs(around[inside].sum(axis=0))
    random = np.random.default_rng(0)
    least = observed - _ROUNDING * np.abs(around).sum(axis=0)
    as_far = np.ones(values.shape[1])
    rows = max(1, _CHUNK // patients)
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        chosen = random.permuted(np.tile(np.arange(patients), (count, 1)), axis=1)[:, :size]
        counts = np.zeros((count, patients))
        np.put_along_axis(counts, chosen, 1.0, axis=1)
        as_far += (np.abs(counts @ around) >= least).sum(axis=0)
    return as_far / (1 + resamples)
