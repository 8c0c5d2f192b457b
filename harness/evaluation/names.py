"""The names of the metrics, apart from what computes them: studies are checked without loading numpy."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["METRIC_NAMES", "MetricName"]

#: What studies, datasets and results call each metric; ``docs/metrics.md`` says what each one is.
MetricName = Literal[
    "dice",
    "hd95",
    "hd95_medpy",
    "hd",
    "assd",
    "nsd",
    "sensitivity",
    "precision",
    "ravd",
    "lesion_dice_2023",
    "lesion_hd95_2023",
    "lesion_dice_2024",
    "lesion_hd95_2024",
    "chaos_dice",
    "chaos_ravd",
    "chaos_assd",
    "chaos_mssd",
    "chaos_score",
]

#: All of them, in the order above.
METRIC_NAMES: tuple[MetricName, ...] = get_args(MetricName)
