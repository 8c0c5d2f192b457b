"""Scores of segmentations: metrics, and what a region scores when there is nothing to measure."""

from collections.abc import Sequence

from harness.evaluation.contract import Metric
from harness.evaluation.metric_registry import MetricRegistry

__all__ = ["METRICS", "Metric", "every_metric"]

METRICS = MetricRegistry("harness.metrics", Metric, "metric")


def every_metric(official: Sequence[str], wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """Returns what is scored: Dice and HD95 always, which comparisons across datasets need.

    Args:
        official: Metrics of the dataset.
        wanted: Further metrics.
    """
    return tuple(dict.fromkeys(("dice", "hd95", *official, *wanted)))
