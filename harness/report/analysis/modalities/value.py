"""What each modality is worth, and which set of them is not worse than all: from the scores of every subset.

Each patient has one score per set: regions on their own, seeds and cases averaged, as in every other table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.evaluation import Metric
from harness.report.inputs.acquisition import Acquisition, Price
from harness.results.subsets import in_words
from harness.statistics.bootstrap import Interval, mean_intervals
from harness.statistics.comparisons import holm, one_sided_p
from harness.statistics.noninferiority import lower_bounds, noninferiority_p, patients_for_noninferiority
from harness.statistics.patients import MEAN_REGION, Patients
from harness.statistics.power import chances_of, patients_for
from harness.statistics.sample_size import ALPHA, refusal
from harness.statistics.shapley import every_subset, shapley_values
from harness.statistics.ties import without_rounding

#: With all modalities a network must score more than this share of the metric's range above its worst: below that it
#: learned nothing, every set loses nothing, and none would be needed.
_LEARNED = 0.1
#: Fewer patients than this give no estimate of how many it takes.
_LEAST_FOR_POWER = 12


@dataclass(frozen=True)
class RegionValue:
    """What each modality is worth in one region, in the metric's unit; above 0 where it helps.

    Attributes:
        region: The region, or the mean over regions.
        means: Mean over patients of each modality's Shapley value.
        intervals: Its 95 % bootstrap interval over patients; None for too few patients.
        first_in_seeds: In how many seeds each modality is worth most.
        p: Two-sided p of each pair (the one worth more first), after Holm over the pairs of all regions; empty where
            patients are too few.
        patients_needed: Patients that tell the first from the second in 80 % of studies; None where that is not known.
    """

    region: str
    means: Mapping[str, float]
    intervals: Mapping[str, Interval | None]
    first_in_seeds: Mapping[str, int]
    p: Mapping[tuple[str, str], float]
    patients_needed: int | None

    @property
    def ranked(self) -> list[str]:
        """Modalities, the one worth most first."""
        return sorted(self.means, key=lambda name: -self.means[name])

    def above(self, modality: str) -> list[str]:
        """Returns the modalities that are worth significantly less than this one."""
        return [other for other in self.ranked if self.p.get((modality, other), 1.0) < ALPHA]


@dataclass(frozen=True)
class SetLoss:
    """A set of modalities against all of them, in the region that speaks most against it.

    Attributes:
        present: The set.
        region: The region with the largest p.
        difference: Mean over patients of its score minus that with all, turned so that below 0 is worse.
        interval: 95 % bootstrap interval of it; None for too few patients.
        bound: One-sided lower bound of it, before correction.
        p: One-sided p that it loses the margin or more in some region: the largest over regions.
        p_holm: The same after Holm over all sets.
        shown: Whether it is shown to lose less than the margin in every region.
        beyond: Patients that lose the margin or more in some region.
        worst: The largest loss of a patient in any region, turned as ``difference``.
        patients_needed: Patients that show it in 80 % of studies; None where no number does, or too few give one.
        price: What acquiring it costs; None where costs are not known.
    """

    present: tuple[str, ...]
    region: str
    difference: float
    interval: Interval | None
    bound: float
    p: float
    p_holm: float
    shown: bool
    beyond: int
    worst: float
    patients_needed: int | None
    price: Price | None


@dataclass(frozen=True)
class ModalityValue:
    """What the modalities are worth to one network.

    Attributes:
        patients: Number of patients.
        seeds: Seeds whose scores are averaged.
        question: What the user asks.
        regions: Value of each modality by region, their mean last; empty where ``refusal`` says why.
        sets: Sets that lack a modality, the smallest first; empty without a margin, and where ``untested`` says why.
        refusal: Why there are no values; empty where there are.
        untested: Why nothing is tested; empty where it is.
        lacking: Sets without a score of every patient.
        impossible: Those of them of which some test case has no modality, so that no test scores every patient.
    """

    patients: int
    seeds: int
    question: Acquisition
    regions: tuple[RegionValue, ...] = ()
    sets: tuple[SetLoss, ...] = ()
    refusal: str = ""
    untested: str = ""
    lacking: tuple[tuple[str, ...], ...] = ()
    impossible: tuple[tuple[str, ...], ...] = ()

    @property
    def shown(self) -> list[SetLoss]:
        """Sets that are shown not to be worse than all modalities by more than the margin."""
        return [one for one in self.sets if one.shown]

    @property
    def smallest(self) -> SetLoss | None:
        """Of these the one with the fewest modalities; of equally many, the one that loses least."""
        return min(self.shown, key=lambda one: (len(one.present), -one.bound), default=None)

    @property
    def cheapest(self) -> SetLoss | None:
        """Of these the cheapest; None also where costs are not known."""
        return _cheapest(self.shown)

    @property
    def without_contrast(self) -> SetLoss | None:
        """Of these the cheapest without contrast agent."""
        return _cheapest([one for one in self.shown if one.price is not None and not one.price.contrast])

    @property
    def nearest(self) -> SetLoss | None:
        """The set that is nearest to being shown."""
        return min(self.sets, key=lambda one: (one.p, -one.bound), default=None)


def modality_value(
    scored: Callable[[str], Patients | None],
    metric: Metric,
    modalities: Sequence[str],
    regions: Sequence[str],
    question: Acquisition,
) -> ModalityValue:
    """Returns what the modalities are worth to one network.

    Args:
        scored: Function of a region that returns its scores, with sets of modalities as methods; None for a region
            without any.
        metric: Metric of the scores.
        modalities: In channel order.
        regions: Regions that are scored.
        question: What the user asks.
    """
    shown = [*regions, MEAN_REGION] if len(regions) > 1 else list(regions)
    found = {region: patients for region in shown if (patients := scored(region)) is not None}
    sets = every_subset(modalities)[1:]
    lacking = tuple(
        one for one in sets if not all(in_words(one) in patients.values.columns for patients in found.values())
    )
    first = next(iter(found.values()), None)
    count = 0 if first is None else len(first.values)
    seeds = 0 if first is None else first.by_seed.shape[1]
    if lacking or not found:
        return ModalityValue(count, seeds, question, refusal="sets lack scores", lacking=lacking)
    sign = 1 if metric.higher_is_better else -1
    scores = {region: sign * _scores(patients, sets) for region, patients in found.items()}
    parts = [region for region in found if region in regions]
    worst = sign * (metric.lowest if metric.higher_is_better else metric.highest)
    everything = float(scores[shown[-1] if shown[-1] in scores else parts[0]][:, -1].mean())
    if math.isfinite(worst) and everything - worst < _LEARNED * (metric.highest - metric.lowest):
        reached = f"with all modalities it scores {metric.text(sign * everything)} {metric.title}"
        return ModalityValue(count, seeds, question, refusal=f"{reached}, hardly more than without any")
    pairs = len(parts) * math.comb(len(modalities), 2)
    untested = refusal(count, max(pairs, len(sets) - 1)) or ""
    values: tuple[RegionValue, ...] = ()
    refused_values = ""
    if math.isfinite(worst):
        by_seed = {region: sign * _by_seed(patients, sets) for region, patients in found.items()}
        values = tuple(_values(scores, by_seed, parts, modalities, worst, tested=not untested))
    else:
        refused_values = f"{metric.title} has no worst value that an absent image could score"
    losses: tuple[SetLoss, ...] = ()
    if question.margin is not None and not untested:
        losses = tuple(_losses({region: scores[region] for region in parts}, sets, question))
    return ModalityValue(count, seeds, question, values, losses, refused_values, untested)


def _cheapest(sets: Sequence[SetLoss]) -> SetLoss | None:
    priced = [(one.price, one) for one in sets if one.price is not None]
    return min(priced, key=lambda pair: (pair[0], len(pair[1].present), -pair[1].bound), default=(None, None))[1]


def _scores(patients: Patients, sets: Sequence[tuple[str, ...]]) -> NDArray[np.float64]:
    """Patients x sets."""
    return patients.values[[in_words(one) for one in sets]].to_numpy(dtype=float)


def _by_seed(patients: Patients, sets: Sequence[tuple[str, ...]]) -> NDArray[np.float64]:
    """Seeds x sets: means over patients, of seeds that tested all of them."""
    return patients.by_seed.loc[[in_words(one) for one in sets]].dropna(axis=1).to_numpy(dtype=float).T


def _values(
    scores: Mapping[str, NDArray[np.float64]],
    by_seed: Mapping[str, NDArray[np.float64]],
    parts: Sequence[str],
    modalities: Sequence[str],
    worst: float,
    *,
    tested: bool,
) -> Iterator[RegionValue]:
    """Values of every region; pairs are tested in the regions themselves, their mean follows from them."""
    values = {region: _shapley(table, worst) for region, table in scores.items()}
    p = _pairs({region: values[region] for region in parts}, modalities) if tested else {}
    for region, table in values.items():
        means = table.mean(axis=0)
        order = np.argsort(-means, kind="stable")
        firsts = np.bincount(_shapley(by_seed[region], worst).argmax(axis=1), minlength=len(modalities))
        yield RegionValue(
            region,
            dict(zip(modalities, map(float, means), strict=True)),
            dict(zip(modalities, mean_intervals(table), strict=True)),
            dict(zip(modalities, map(int, firsts), strict=True)),
            p.get(region, {}),
            _to_tell(table[:, order[0]] - table[:, order[1]], len(parts) * math.comb(len(modalities), 2)),
        )


def _shapley(scores: NDArray[np.float64], worst: float) -> NDArray[np.float64]:
    """Values of each row, equal ones equal to the last digit; without any image there is the worst score."""
    return without_rounding(shapley_values(np.column_stack([np.full(len(scores), worst), scores])))


def _pairs(
    values: Mapping[str, NDArray[np.float64]], modalities: Sequence[str]
) -> dict[str, dict[tuple[str, str], float]]:
    """Two-sided p of all pairs, Holm over the pairs of all regions."""
    places: list[tuple[str, tuple[str, str]]] = []
    raw: list[float] = []
    for region, table in values.items():
        sides = one_sided_p(pd.DataFrame(table, columns=list(modalities)), higher_is_better=True)
        means = dict(zip(modalities, table.mean(axis=0), strict=True))
        for pair in combinations(modalities, 2):
            more, less = sorted(pair, key=lambda name: -means[name])
            places.append((region, (more, less)))
            raw.append(min(1.0, 2 * min(float(sides[less][more]), float(sides[more][less]))))
    found: dict[str, dict[tuple[str, str], float]] = {region: {} for region in values}
    for (region, pair), p in zip(places, holm(np.array(raw)), strict=True):
        found[region][pair] = float(p)
    return found


def _to_tell(differences: NDArray[np.float64], tests: int) -> int | None:
    """Patients that it takes to tell two modalities apart."""
    if len(differences) < _LEAST_FOR_POWER or np.ptp(differences) == 0:
        return None
    return patients_for(chances_of(differences), alpha=ALPHA / tests)


def _losses(
    scores: Mapping[str, NDArray[np.float64]], sets: Sequence[tuple[str, ...]], question: Acquisition
) -> Iterator[SetLoss]:
    """Every set that lacks a modality; one that loses a region is not shown, whatever the others gain."""
    assert question.margin is not None
    regions, lesser = list(scores), sets[:-1]
    # Regions x patients x sets.
    differences = np.stack([without_rounding(table[:, :-1] - table[:, -1:]) for table in scores.values()])
    each = np.stack([noninferiority_p(table, question.margin) for table in differences])
    bounds = np.stack([lower_bounds(table, question.alpha) for table in differences])
    # All regions must show it, so no region needs a correction; the sets do.
    p = each.max(axis=0)
    corrected = holm(p)
    # Of regions with equal p, the one that loses most.
    deciding = [max(range(len(regions)), key=lambda n: (each[n, k], -bounds[n, k])) for k in range(len(lesser))]
    beyond = (differences <= -question.margin).any(axis=0).sum(axis=0)
    alpha = question.alpha / len(lesser)
    for number, present in enumerate(lesser):
        mine = differences[deciding[number], :, number]
        yield SetLoss(
            present=present,
            region=regions[deciding[number]],
            difference=float(mine.mean()),
            interval=mean_intervals(mine[:, np.newaxis])[0],
            bound=float(bounds[deciding[number], number]),
            p=float(p[number]),
            p_holm=float(corrected[number]),
            shown=bool(corrected[number] < question.alpha),
            beyond=int(beyond[number]),
            worst=float(differences[:, :, number].min()),
            patients_needed=_to_show(differences[:, :, number], question.margin, alpha),
            price=question.price(present),
        )


def _to_show(differences: NDArray[np.float64], margin: float, alpha: float) -> int | None:
    """Patients that it takes in every region."""
    if differences.shape[1] < _LEAST_FOR_POWER:
        return None
    needed = [patients_for_noninferiority(one, margin, alpha=alpha) for one in differences]
    known = [count for count in needed if count is not None]
    return max(known) if len(known) == len(needed) else None
