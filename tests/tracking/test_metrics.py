"""The numbers MLflow shows are the report's, and what has no mean there has none here."""

from __future__ import annotations

import pandas as pd

from harness.tracking.metrics import epoch_metrics, score_metrics


def test_a_metric_of_which_nothing_counts_is_left_out_and_the_others_stand() -> None:
    rows = pd.DataFrame(
        [
            ("p0", "WT", "dice", 0.5, "scored"), ("p0", "ET", "dice", 0.7, "scored"),
            ("p0", "WT", "hd95", 2.0, "scored"), ("p0", "ET", "hd95", 373.1, "skipped"),
        ],
        columns=["patient", "region", "metric", "value", "status"],
    ).assign(case="c0", fold=0, seed=0)  # fmt: skip
    assert dict(score_metrics(rows)) == {"dice/mean": 0.6, "dice/ET": 0.7, "dice/WT": 0.5, "hd95/WT": 2.0}


def test_the_clock_of_a_curve_counts_trained_seconds() -> None:
    history = [
        {"epoch": 1, "loss": 0.5, "seconds": 2.0},
        {"epoch": 2, "loss": 0.4, "seconds": float("nan")},
        {"epoch": 3, "loss": 0.3, "seconds": 3.0},
    ]
    found = [(epoch, trained) for name, _, epoch, trained in epoch_metrics(history, after=1) if name == "train/loss"]
    assert found == [(2, 2.0), (3, 5.0)]
