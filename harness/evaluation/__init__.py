"""Scores of segmentations: metrics, and what a region scores when there is nothing to measure."""

from harness.evaluation.contract import Metric
from harness.registry import Registry

__all__ = ["METRICS", "Metric"]

METRICS: Registry[Metric] = Registry("harness.metrics", Metric, "metric")
