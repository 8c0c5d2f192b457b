"""Records of the store with everything they need, for tests that care about some of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.results.manifest import Manifest
from harness.results.records import Summary, Timing
from harness.results.store import CellFolder


def summary(**facts: Any) -> Summary:
    """The facts of a finished cell."""
    needed = {
        "device": "cpu (1 thread)",
        "train_seconds": 60.0,
        "commit": "abc",
        "packages": {},
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:01:00+00:00",
    }
    return Summary(**{**needed, **facts})


def manifest(*cells: str, **facts: Any) -> Manifest:
    """A study of some cells, each with its identity as label."""
    needed = {
        "name": "s",
        "profile": "default",
        "question": "Which?",
        "report": {"reference": None, "metrics": ["dice"]},
        "labels": cells,
        "datasets": [],
        "cells": [{"cell": cell, "label": cell} for cell in cells],
    }
    return Manifest.model_validate({**needed, **facts})


def cell_record(**facts: Any) -> dict[str, Any]:
    """What ``cell.json`` says of a cell."""
    needed = {
        "dataset": "cortex",
        "data": "d",
        "model": "unet",
        "options": {},
        "leading": "-",
        "fold": 0,
        "split": "s",
        "seed": 0,
        "protocol": {"name": "paper", "sampling": {"batch_size": 2}},
    }
    return {**needed, **facts}


def finish_whole(
    cell: CellFolder, dataset: str = "data", regions: Sequence[str] = ("WT",), leading: str = "-", **facts: Any
) -> None:
    """Gives a cell everything that `harness run` leaves, of three patients: Dice and HD95 of 0, 1 and 2.

    Args:
        cell: The cell.
        dataset: Name of its dataset.
        regions: Names of the regions.
        leading: Its leading modality.
        facts: Of the summary.
    """
    model = f"net-{cell.id[-1]}"
    cell.write_spec(cell_record(dataset=dataset, model=model, id=cell.id, protocol={"name": "p"}))
    place = {"dataset": dataset, "model": model, "leading": leading, "fold": 0, "seed": 0}
    rows = pd.concat(
        pd.DataFrame({**place, "patient": list("pqr"), "case": list("pqr"), "region": region, "metric": metric,
                      "value": np.arange(3.0), "status": "scored", "implementation": "x"})
        for metric in ("dice", "hd95") for region in regions
    )  # fmt: skip
    history = {"epoch": [1], "step": [1], "loss": [1.0], "val_dice": [0.5], "lr": [0.1], "seconds": [1.0]}
    masks = [
        {"case": case, "region": region, "status": "scored", "truth_is_empty": False, "shape": [8, 8, 8],
         "spacing": [1.0, 1.0, 1.0]}
        for case in "pqr" for region in regions
    ]  # fmt: skip
    with cell.writing_result() as result:
        rows.to_parquet(result / "cases.parquet", index=False)
        pd.DataFrame(masks).to_parquet(result / "masks.parquet", index=False)
        pd.DataFrame(history).to_parquet(result / "history.parquet", index=False)
        pd.DataFrame(columns=[*rows.columns, "floor"]).to_parquet(result / "floors.parquet", index=False)
        Timing(latency_seconds=1.0).write(result / "testing.json")
        summary(cell=cell.id, **facts).write(result / "summary.json")


def finish(cell: CellFolder, **facts: Any) -> None:
    """Gives a cell a result without tables."""
    if not (cell.path / "cell.json").is_file():
        cell.write_spec(cell_record())
    with cell.writing_result() as result:
        summary(**facts).write(result / "summary.json")
