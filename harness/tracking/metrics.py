"""What metrics are called in MLflow: its charts stand in sections named by what comes before the last slash.

``dice/WT``, ``hd95/mean`` (one section a score), ``train/loss``, ``val/dice`` (curves by epoch), ``time/...``,
``size/...`` and ``memory/...`` (costs).
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from harness.statistics.means import cell_means
from harness.statistics.patients import MEAN_REGION

#: Counts the epochs that were logged; a view that starts again goes on from it.
EPOCH = "train/epoch"

_EPOCH_NAMES = {
    "loss": "train/loss",
    "lr": "train/lr",
    "val_dice": "val/dice",
    "seconds": "time/epoch",
    "waiting": "time/waiting",
}
_COST_NAMES = {
    "parameters": "size/parameters",
    "gflops": "size/gflops",
    "train_seconds": "time/train",
    "latency_seconds": "time/latency",
    "peak_memory_mb": "memory/peak_mb",
    "energy_wh": "energy/wh",
}


def epoch_metrics(history: Iterable[Mapping[str, Any]], after: int) -> Iterator[tuple[str, float, int, float]]:
    """Name, value and epoch of what is known of the epochs after one, and the seconds trained until then."""
    trained = 0.0
    for row in history:
        seconds = row.get("seconds")
        trained += 0.0 if seconds is None or math.isnan(seconds) else float(seconds)
        if row["epoch"] > after:
            values = {name: row.get(column) for column, name in _EPOCH_NAMES.items()} | {EPOCH: row["epoch"]}
            known = {name: float(value) for name, value in values.items() if value is not None}
            yield from (
                (name, value, int(row["epoch"]), trained) for name, value in known.items() if not math.isnan(value)
            )


def score_metrics(rows: pd.DataFrame) -> Iterator[tuple[str, float]]:
    """Means over patients of each region, and over regions within a case first for the mean: the report's numbers."""
    for (metric, region), mean in cell_means(rows).items():
        yield f"{metric}/{'mean' if region == MEAN_REGION else region}", mean


def cost_metrics(summary: Mapping[str, Any]) -> dict[str, float]:
    """What a finished cell has recorded of its costs."""
    found = {name: summary.get(column) for column, name in _COST_NAMES.items()}
    known = {name: float(value) for name, value in found.items() if value is not None}
    return {name: value for name, value in known.items() if not math.isnan(value)}
