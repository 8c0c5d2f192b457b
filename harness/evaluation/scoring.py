"""Scores of one case: every region by every metric, each with a value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError, did_you_mean
from harness.evaluation.overlap import DICE_IMPLEMENTATION, dice
from harness.evaluation.policy import EmptyPolicy, UnmeasuredStatus
from harness.evaluation.status import Status
from harness.evaluation.surface import HD95_IMPLEMENTATION, hd95

__all__ = ["METRICS", "Metric", "Score", "score_case"]

_Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Score:
    """One value of one region of one case.

    Attributes:
        region: What was scored.
        metric: Name of the metric.
        value: Dice from 0 to 1, HD95 in mm; finite.
        status: How the value came about.
        implementation: What computed measured values, with its version, and the policy that set the others.
    """

    region: str
    metric: str
    value: float
    status: Status
    implementation: str


@dataclass(frozen=True)
class Metric:
    """A way to score a region.

    Attributes:
        name: What studies and results call it.
        implementation: What computes it, with its version.
        measure: Value of two masks that are not empty, from (prediction, truth, spacing in mm).
        unmeasured: Value of a region by policy, from (policy, status, shape, spacing in mm).
    """

    name: str
    implementation: str
    measure: Callable[[_Mask, _Mask, Sequence[float]], float]
    unmeasured: Callable[[EmptyPolicy, UnmeasuredStatus, Sequence[int], Sequence[float]], float]


_METRICS = (
    Metric(
        "dice",
        DICE_IMPLEMENTATION,
        measure=lambda prediction, truth, _: dice(prediction, truth),
        unmeasured=lambda policy, status, _, __: policy.dice(status),
    ),
    Metric("hd95", HD95_IMPLEMENTATION, measure=hd95, unmeasured=EmptyPolicy.hd95),
)

#: Metrics by name.
METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _METRICS})


def score_case(
    prediction: NDArray[Any] | None,
    truth: NDArray[Any],
    regions: Mapping[str, tuple[int, ...]],
    spacing: Sequence[float],
    policy: EmptyPolicy,
    metrics: Sequence[str] = ("dice", "hd95"),
) -> list[Score]:
    """Scores a prediction on the native grid of its case.

    Args:
        prediction: Label map of integers, of the shape of ``truth``; ``None`` where there is none, which scores worst.
        truth: Label map of integers, (X, Y) or (X, Y, Z).
        regions: Labels of each region by its name; regions may overlap.
        spacing: Voxel size in mm, one value an axis.
        policy: Values of empty regions and missing predictions.
        metrics: Names of the metrics.

    Returns:
        One score a region and metric, regions first, in the order given.

    Raises:
        HarnessError: A metric is unknown, a region has no label, the spacing does not fit, or the prediction is no
            integer label map on the grid of the truth.
    """
    chosen = [_metric(name) for name in metrics]
    _check_truth(truth, spacing)
    if prediction is not None:
        _check_prediction(prediction, truth)
    scores = []
    for region, labels in regions.items():
        if not labels:
            raise HarnessError(f"Region '{region}' has no label.", hint="List the labels it consists of.")
        real = np.isin(truth, labels)
        found = None if prediction is None else np.isin(prediction, labels)
        scores += _score_region(region, found, real, spacing, policy, chosen)
    return scores


def _score_region(
    region: str,
    prediction: _Mask | None,
    truth: _Mask,
    spacing: Sequence[float],
    policy: EmptyPolicy,
    metrics: Sequence[Metric],
) -> list[Score]:
    status = _status(prediction, truth)
    scores = []
    for metric in metrics:
        if status == "scored":
            assert prediction is not None
            value = metric.measure(prediction, truth, spacing)
        else:
            value = metric.unmeasured(policy, status, truth.shape, spacing)
        scores.append(Score(region, metric.name, value, status, f"{metric.implementation}; empty: {policy.name}"))
    return scores


def _status(prediction: _Mask | None, truth: _Mask) -> Status:
    if prediction is None:
        return "missing"
    found, real = prediction.any(), truth.any()
    if found and real:
        return "scored"
    return "empty_one" if found or real else "empty_both"


def _metric(name: str) -> Metric:
    if name not in METRICS:
        raise HarnessError(f"There is no metric '{name}'.", hint=did_you_mean(name, METRICS))
    return METRICS[name]


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
