"""The metrics that ship with the harness; ``docs/metrics.md`` says what each one is.

``implementation`` is what results recorded since release 0.2.0. It names the release in which the values changed last,
and modules as they were called then.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from harness.evaluation.contract import Metric

if TYPE_CHECKING:
    from harness.evaluation.policy import EmptyPolicy, UnmeasuredStatus
    from harness.evaluation.region import Region

_HERE = "harness 0.2.0 evaluation"
_MEDPY = "medpy's definition"
_AREAS = "areas of surface-distance {surface-distance}"
_MODULES = "harness.evaluation"


def _volume(policy: EmptyPolicy, status: UnmeasuredStatus, region: Region) -> float:
    """An empty prediction is 100 % off. A missing one, and one where nothing is, as far off as any could be."""
    del policy
    real = region.pair.real
    if status == "empty_both":
        return 0.0
    if status == "empty_one" and real:
        return 1.0
    return max(1.0, (math.prod(region.case.shape) - real) / max(real, 1))


def _score(policy: EmptyPolicy, status: UnmeasuredStatus, region: Region) -> float:
    del region
    return 100 * policy.dice(status)


def _lesion_metrics(year: int, penalty_mm: float) -> tuple[Metric, Metric]:
    implementation = f"{_HERE}.lesions, BraTS {year} rules, penalty {penalty_mm:g} mm ({_AREAS})"
    rules: dict[str, Any] = {"takes_region": True, "own_rules": True, "defined_when_one_is_empty": "never"}

    def missed(policy: EmptyPolicy, _: UnmeasuredStatus, region: Region) -> float:
        return max(penalty_mm, policy.hd95("missing", region.case.shape, region.case.spacing))

    return (
        Metric(
            f"lesion_dice_{year}",
            f"Lesion Dice {year}",
            f"{_MODULES}.region:lesion_dice_{year}",
            implementation,
            **rules,
        ),
        Metric.distance(
            f"lesion_hd95_{year}",
            f"Lesion HD95 {year}",
            f"{_MODULES}.region:lesion_hd95_{year}",
            implementation,
            unmeasured=missed,
            **rules,
        ),
    )


def _chaos_score(name: str, title: str, function: str) -> Metric:
    return Metric(
        name,
        title,
        f"{_MODULES}.chaos:{function}",
        f"{_HERE}.chaos.{function}",
        scale="from 0 to 100",
        decimals=1,
        highest=100.0,
        unmeasured=_score,
    )


DICE = Metric("dice", "Dice", f"{_MODULES}.overlap:dice_of", f"{_HERE}.overlap.dice")
SENSITIVITY = Metric(
    "sensitivity", "Sensitivity", f"{_MODULES}.overlap:sensitivity_of", f"{_HERE}.overlap.sensitivity_of"
)
PRECISION = Metric("precision", "Precision", f"{_MODULES}.overlap:precision_of", f"{_HERE}.overlap.precision_of")
RAVD = Metric(
    "ravd",
    "RAVD",
    f"{_MODULES}.overlap:ravd_of",
    f"{_HERE}.overlap.ravd_of",
    scale="as a ratio",
    higher_is_better=False,
    highest=math.inf,
    unmeasured=_volume,
    defined_when_one_is_empty="with truth",
)
HD95 = Metric.distance(
    "hd95", "HD95", f"{_MODULES}.surface:hd95_of", f"{_HERE}.surface.hd95 ({_MEDPY}: both directions pooled)"
)
HD95_MEDPY = Metric.distance(
    "hd95_medpy",
    "HD95 by medpy",
    f"{_MODULES}.reference:medpy_hd95_of",
    "medpy {medpy} metric.binary.hd95",
)
HD = Metric.distance("hd", "HD", f"{_MODULES}.surface:hd_of", f"{_HERE}.surface.hd_of ({_MEDPY})")
ASSD = Metric.distance(
    "assd", "ASSD", f"{_MODULES}.surface:assd_of", f"{_HERE}.surface.assd_of ({_MEDPY}: both directions pooled)"
)
NSD = Metric(
    "nsd",
    "NSD at 1 mm",
    f"{_MODULES}.surface_dice:nsd_of",
    f"harness 0.3.0 evaluation.surface_dice.nsd_of, tolerance 1 mm ({_AREAS})",
    tolerance_mm=1.0,
)
LESION_DICE_2023, LESION_HD95_2023 = _lesion_metrics(2023, penalty_mm=374.0)
LESION_DICE_2024, LESION_HD95_2024 = _lesion_metrics(2024, penalty_mm=337.0)
CHAOS_DICE = _chaos_score("chaos_dice", "CHAOS DICE", "dice_score")
CHAOS_RAVD = _chaos_score("chaos_ravd", "CHAOS RAVD", "ravd_score")
CHAOS_ASSD = _chaos_score("chaos_assd", "CHAOS ASSD", "assd_score")
CHAOS_MSSD = _chaos_score("chaos_mssd", "CHAOS MSSD", "mssd_score")
CHAOS_SCORE = _chaos_score("chaos_score", "CHAOS score", "mean_score")
