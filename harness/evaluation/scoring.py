"""Scores of one case: every region by every metric, each with a value."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from harness.errors import HarnessError, MetricError
from harness.evaluation import METRICS
from harness.evaluation.contract import Metric
from harness.evaluation.policy import EmptyPolicy, UnmeasuredStatus, empty_policy
from harness.evaluation.region import CaseMasks, Region
from harness.evaluation.status import Status

#: Stands before the reason in the implementation of a value that could not be computed.
_FAILED = "; failed: "


@dataclass(frozen=True)
class Score:
    """One value of one region of one case.

    Attributes:
        region: What was scored.
        metric: Name of the metric.
        value: In the unit of the metric; finite.
        status: How the value came about.
        implementation: What computed measured values, with its version, and the policy that set the others.
    """

    region: str
    metric: str
    value: float
    status: Status
    implementation: str


@dataclass(frozen=True)
class RegionMasks:
    """The masks of one region of one case, as far as a policy for empty regions goes by them.

    Attributes:
        region: What was scored.
        status: Whether both masks hold anything (``scored``), one is empty or both are, whatever the policy.
        truth_is_empty: Whether the true mask is empty.
        shape: Voxels along each axis of the case.
        spacing: Voxel size in mm along each axis.
    """

    region: str
    status: Literal["scored"] | UnmeasuredStatus
    truth_is_empty: bool
    shape: tuple[int, ...]
    spacing: tuple[float, ...]


def score_case(
    prediction: NDArray[Any] | None,
    truth: NDArray[Any],
    regions: Mapping[str, tuple[int, ...]],
    spacing: Sequence[float],
    policy: EmptyPolicy,
    metrics: Sequence[str] = ("dice", "hd95"),
    fault: str = "",
) -> list[Score]:
    """Scores a prediction on the native grid of its case.

    A metric that fails on a region, as one of another package may, scores there as without a prediction, ``missing``;
    the reason stands behind its implementation, and the other scores are what they are.

    Args:
        prediction: Label map of integers, of the shape of ``truth``; ``None`` where there is none, which scores worst.
        truth: Label map of integers, (X, Y) or (X, Y, Z).
        regions: Labels of each region by its name; regions may overlap.
        spacing: Voxel size in mm, one value per axis.
        policy: Values of empty regions and missing predictions.
        metrics: Names of the metrics.
        fault: Why there is no prediction, to be recorded; empty where it only is not there.

    Returns:
        One score per region and metric, regions first, in the order given.

    Raises:
        HarnessError: A metric is unknown, a region has no label, the spacing does not fit, or the prediction is no
            integer label map on the grid of the truth.
    """
    chosen = [METRICS.get(name) for name in metrics]
    _check_truth(truth, spacing)
    _check_regions(regions)
    if prediction is not None:
        _check_prediction(prediction, truth)
    if truth.ndim != 3 and (volumetric := [metric.name for metric in chosen if metric.own_rules]):
        raise HarnessError(
            f"'{volumetric[0]}' is defined for volumes, not for a slice.", hint="Score the whole volume."
        )
    case = CaseMasks(prediction, truth, regions, spacing)
    scored = (Region(name, case) for name in regions)
    return [_score(region, metric, policy, fault) for region in scored for metric in chosen]


def failures(scores: Iterable[Score]) -> tuple[str, ...]:
    """Returns why metrics failed or predictions could not be read, each reason once."""
    found = (score.implementation.partition(_FAILED) for score in scores if score.status == "missing")
    return tuple(dict.fromkeys(reason for _, mark, reason in found if mark))


def describe_masks(
    prediction: NDArray[Any], truth: NDArray[Any], regions: Mapping[str, tuple[int, ...]], spacing: Sequence[float]
) -> list[RegionMasks]:
    """Returns what a policy for empty regions needs to know of a case that is scored.

    Args:
        prediction: Label map of integers, of the shape of ``truth``.
        truth: Label map of integers, (X, Y) or (X, Y, Z).
        regions: Labels of each region by its name.
        spacing: Voxel size in mm, one value per axis.
    """
    case = CaseMasks(prediction, truth, regions, spacing)
    shape, sizes = tuple(map(int, truth.shape)), tuple(map(float, spacing))
    return [
        RegionMasks(region.name, _status(region), region.pair.real == 0, shape, sizes)
        for region in (Region(name, case) for name in regions)
    ]


def _score(region: Region, metric: Metric, policy: EmptyPolicy, fault: str) -> Score:
    status = _status(region)
    policy = empty_policy(metric.policy) if metric.policy else policy
    rule = "own rules" if metric.own_rules else policy.name
    implementation = f"{metric.recorded_implementation}; empty: {rule}"
    try:
        if status == "scored" or (metric.own_rules and status != "missing"):
            return Score(region.name, metric.name, metric.value(region), status, implementation)
        if status != "missing":
            value = metric.value_without_masks(policy, status, region)
            skipped = policy.skips and metric.is_undefined(status, region.pair.real == 0)
            return Score(region.name, metric.name, value, "skipped" if skipped else status, implementation)
    except MetricError as error:
        fault = error.message
    reason = f"{_FAILED}{fault}" if fault else ""
    return Score(region.name, metric.name, metric.worst_value(policy, region), "missing", f"{implementation}{reason}")


def _status(region: Region) -> Literal["scored"] | UnmeasuredStatus:
    if region.case.missing:
        return "missing"
    found, real = (not empty for empty in region.pair.empty)
    if found and real:
        return "scored"
    return "empty_one" if found or real else "empty_both"


def _check_regions(regions: Mapping[str, tuple[int, ...]]) -> None:
    for region, labels in regions.items():
        if not labels:
            raise HarnessError(f"Region '{region}' has no label.", hint="List the labels it consists of.")
        if 0 in labels:
            raise HarnessError(f"Region '{region}' holds label 0, the background.", hint="Leave 0 out of its labels.")


def _check_truth(truth: NDArray[Any], spacing: Sequence[float]) -> None:
    if truth.ndim not in (2, 3) or truth.size == 0:
        raise HarnessError(f"A truth of shape {truth.shape} cannot be scored.", hint="It must be (X, Y) or (X, Y, Z).")
    _check_labels(truth, "truth")
    if len(spacing) != truth.ndim or not all(math.isfinite(size) and size > 0 for size in spacing):
        raise HarnessError(
            f"The spacing {tuple(spacing)} does not fit a truth of shape {truth.shape}.",
            hint="Give one positive voxel size in mm an axis.",
        )


def _check_prediction(prediction: NDArray[Any], truth: NDArray[Any]) -> None:
    if prediction.shape != truth.shape:
        raise HarnessError(
            f"The prediction has shape {prediction.shape}, the truth {truth.shape}.",
            hint="Predictions are scored on the native grid of their case; put them back on it first.",
        )
    _check_labels(prediction, "prediction")


def _check_labels(labels: NDArray[Any], what: str) -> None:
    if labels.dtype.kind not in "iub":
        raise HarnessError(
            f"The {what} holds {labels.dtype}, not integer labels.",
            hint="Turn probabilities into labels first, and read label files without scaling.",
        )
