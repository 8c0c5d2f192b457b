"""The metrics: what each is called, which way it is better, what computes it, and what it is worth without masks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from harness.errors import HarnessError, did_you_mean
from harness.evaluation import chaos, overlap, reference, surface, surface_dice
from harness.evaluation.lesions import BRATS2023, BRATS2024
from harness.evaluation.names import MetricName
from harness.evaluation.policy import EmptyPolicy, UnmeasuredStatus
from harness.evaluation.region import Region

__all__ = ["METRICS", "Metric", "find_metric"]

_Measure = Callable[[Region], float]
_Unmeasured = Callable[[EmptyPolicy, UnmeasuredStatus, Region], float]


@dataclass(frozen=True)
class Metric:
    """A way to score a region.

    Attributes:
        name: What studies and results call it.
        title: What tables call it.
        unit: Physical unit, empty for a ratio.
        higher_is_better: Direction.
        implementation: What computes it, with its version.
        measure: Value of a region whose masks are not empty.
        unmeasured: Value of a region by policy, where a mask is empty or there is no prediction.
        overlap: Whether one empty mask gives an overlap of 0, which no policy need skip.
        own_rules: Whether it is measured with empty masks, too, by rules of its own; only a missing prediction is not.
    """

    name: MetricName
    title: str
    unit: str
    higher_is_better: bool
    implementation: str
    measure: _Measure
    unmeasured: _Unmeasured
    overlap: bool = False
    own_rules: bool = False


def find_metric(name: str) -> Metric:
    """Returns the metric of a name.

    Raises:
        HarnessError: No metric has that name.
    """
    if name not in METRICS:
        raise HarnessError(f"There is no metric '{name}'.", hint=did_you_mean(name, METRICS))
    return METRICS[name]


def _overlap(policy: EmptyPolicy, status: UnmeasuredStatus, _: Region) -> float:
    return policy.dice(status)


def _score(policy: EmptyPolicy, status: UnmeasuredStatus, _: Region) -> float:
    return 100 * policy.dice(status)


def _distance(policy: EmptyPolicy, status: UnmeasuredStatus, region: Region) -> float:
    return policy.hd95(status, region.case.shape, region.case.spacing)


def _volume(_: EmptyPolicy, status: UnmeasuredStatus, region: Region) -> float:
    """An empty prediction is 100 % off. A missing one, and one where nothing is, as far off as any could be."""
    real = region.pair.real
    if status == "empty_both":
        return 0.0
    if status == "empty_one" and real:
        return 1.0
    return max(1.0, (math.prod(region.case.shape) - real) / max(real, 1))


def _missed_distance(penalty: float) -> _Unmeasured:
    return lambda policy, _, region: max(penalty, policy.hd95("missing", region.case.shape, region.case.spacing))


def _of_pair(name: MetricName, title: str, implementation: str, measure: Callable[..., float]) -> Metric:
    """A ratio from 0 to 1."""
    return Metric(name, title, "", True, implementation, lambda region: measure(region.pair), _overlap, overlap=True)


def _millimetres(name: MetricName, title: str, implementation: str, measure: Callable[..., float]) -> Metric:
    return Metric(name, title, "mm", False, implementation, lambda region: measure(region.pair), _distance)


def _chaos(name: MetricName, title: str, measure: Callable[..., float]) -> Metric:
    implementation = f"{chaos.CHAOS_IMPLEMENTATION}.{measure.__name__}"
    return Metric(name, title, "", True, implementation, lambda region: measure(region.pair), _score, overlap=True)


_METRICS = (
    _of_pair("dice", "Dice", overlap.DICE_IMPLEMENTATION, overlap.dice_of),
    _millimetres("hd95", "HD95", surface.HD95_IMPLEMENTATION, surface.hd95_of),
    _millimetres("hd95_medpy", "HD95 (medpy)", reference.MEDPY_HD95_IMPLEMENTATION, reference.medpy_hd95_of),
    _millimetres("hd", "HD", surface.HD_IMPLEMENTATION, surface.hd_of),
    _millimetres("assd", "ASSD", surface.ASSD_IMPLEMENTATION, surface.assd_of),
    _of_pair("nsd", f"NSD {surface_dice.NSD_TOLERANCE_MM:g} mm", surface_dice.NSD_IMPLEMENTATION, surface_dice.nsd_of),
    _of_pair("sensitivity", "Sensitivity", overlap.SENSITIVITY_IMPLEMENTATION, overlap.sensitivity_of),
    _of_pair("precision", "Precision", overlap.PRECISION_IMPLEMENTATION, overlap.precision_of),
    Metric(
        "ravd",
        "RAVD",
        "",
        False,
        overlap.RAVD_IMPLEMENTATION,
        lambda region: overlap.ravd_of(region.pair),
        _volume,
    ),
    *(
        metric
        for rules, dice, hd95 in (
            (BRATS2023, "lesion_dice_2023", "lesion_hd95_2023"),
            (BRATS2024, "lesion_dice_2024", "lesion_hd95_2024"),
        )
        for metric in (
            Metric(
                dice,  # type: ignore[arg-type]
                f"Lesion-wise Dice ({rules.name})",
                "",
                True,
                rules.implementation,
                lambda region, rules=rules: region.lesions(rules).dice,  # type: ignore[misc]
                _overlap,
                own_rules=True,
            ),
            Metric(
                hd95,  # type: ignore[arg-type]
                f"Lesion-wise HD95 ({rules.name})",
                "mm",
                False,
                rules.implementation,
                lambda region, rules=rules: region.lesions(rules).hd95,  # type: ignore[misc]
                _missed_distance(rules.penalty_mm),
                own_rules=True,
            ),
        )
    ),
    _chaos("chaos_dice", "CHAOS DICE score", chaos.dice_score),
    _chaos("chaos_ravd", "CHAOS RAVD score", chaos.ravd_score),
    _chaos("chaos_assd", "CHAOS ASSD score", chaos.assd_score),
    _chaos("chaos_mssd", "CHAOS MSSD score", chaos.mssd_score),
    _chaos("chaos_score", "CHAOS score", chaos.mean_score),
)

#: Metrics by name.
METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _METRICS})
