"""Scores of segmentations: metrics, and what a region scores when there is nothing to measure."""

from harness.evaluation.contract import Metric
from harness.evaluation.metric_registry import MetricRegistry

__all__ = ["METRICS", "Metric"]

METRICS = MetricRegistry("harness.metrics", Metric, "metric")
