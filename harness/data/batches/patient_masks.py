"""Modalities that whole patients lack in a training: a fixed mask per patient, with a rate of its own per modality.

Source of the setting: PASSION (ACM MM 2024, Jun-Jie-Shi/PASSION), where each training case keeps one mask for the whole
training and modalities are missing at unequal rates.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.data.batches.modality_dropout import join_absent
from harness.data.preparation.cache import PreparedCase
from harness.randomness import generator

#: The fixed point is reached long before, unless every patient must have exactly one modality.
_MOST_ROUNDS = 1000


class PatientMasks:
    """Draws which modalities a patient lacks: independently, but never all of them, and at the rates that are wanted.

    Where all would be absent, one stays. That would lower the rates, so each modality is drawn a little more often.

    Args:
        rates: Share of patients that lack each modality, in channel order; their sum is at most the number of
            modalities less one, so that each patient can have one.
    """

    def __init__(self, rates: Sequence[float]) -> None:
        kept = np.array([1 - rate for rate in rates])
        self._stays = kept / kept.sum()
        self._drawn = np.array(rates, dtype=np.float64)
        none_left = math.inf
        for _ in range(_MOST_ROUNDS):
            before, none_left = none_left, float(self._drawn.prod())
            if none_left == before:
                break
            # A modality is absent where it is drawn and does not stay as the last one; that share is its rate.
            self._drawn = np.minimum(np.array(rates) + none_left * self._stays, 1)

    def draw(self, rng: np.random.Generator) -> tuple[int, ...]:
        """Returns the channels that one patient lacks."""
        absent = rng.random(len(self._drawn)) < self._drawn
        stays = int(rng.choice(len(self._stays), p=self._stays))
        if absent.all():
            absent[stays] = False
        return tuple(int(channel) for channel in np.flatnonzero(absent))


def take_away(
    cases: Sequence[PreparedCase], rates: Mapping[str, float], modalities: Sequence[str], seed: int
) -> list[PreparedCase]:
    """Returns cases that lack what was drawn for their patients, beside what their files lack.

    A patient's mask is a function of the seed and the patient alone: it is the same in every epoch, after a kill, for
    every network, and whoever else trains.

    Args:
        cases: Prepared training cases.
        rates: Modality to the share of patients that lack it; the others keep it.
        modalities: Names in channel order.
        seed: The cell's seed.
    """
    if not any(rates.values()):
        return list(cases)
    masks = PatientMasks([rates.get(name, 0.0) for name in modalities])

    def lacking(case: PreparedCase) -> tuple[int, ...]:
        rng = generator(seed, "missing", case.patient)
        return join_absent(len(modalities), case.absent, masks.draw(rng), rng)

    return [replace(case, absent=lacking(case)) for case in cases]
