"""Learning curves: a share of the training patients, nested in every larger share; all others stay what they are."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from harness.data.contract import Split

_SEED = 12349

#: Beside a whole number of patients, what rounding makes of a share times their number.
_ROUNDING = 1e-9


def keep_share(split: Split, patients: Mapping[str, str], share: float, seed: int) -> Split:
    """Returns a split that trains on a share of its training patients, rounded up; validation and test stay.

    The patients of a smaller share are among those of a larger one at the same seed, and another seed draws others: the
    spread between seeds holds both.

    Args:
        split: The split.
        patients: Patient of each training case.
        share: From above 0 to 1.
        seed: Training seed.
    """
    if share == 1:
        return split
    order = shuffled_patients(patients, seed)
    kept = set(order[: patients_of_share(len(order), share)])
    return replace(split, train=tuple(case for case in split.train if patients[case] in kept))


def shuffled_patients(patients: Mapping[str, str], seed: int) -> list[str]:
    """Returns the patients in the order in which shares take them."""
    names = sorted(set(patients.values()))
    order = np.random.default_rng([_SEED, seed]).permutation(len(names))
    return [names[index] for index in order]


def patients_of_share(patients: int, share: float) -> int:
    """Returns how many patients a share of some is, rounded up."""
    return max(1, math.ceil(patients * share - _ROUNDING))


def share_words(share: float) -> str:
    """Returns what labels say of a share, e.g. ``25 % of training patients``; nothing of all of them."""
    return "" if share == 1 else f"{100 * share:.4g} % of training patients"


def full_label(label: str, share: float) -> str:
    """Returns the label of the same variant trained on all patients."""
    return label.removesuffix(f", {share_words(share)}") if share != 1 else label
