"""Small files of the forms in which others write results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

LABELS: Mapping[str, Any] = {"background": 0, "edema": 1, "core": 2}

#: Voxels of true, predicted and shared masks of one label.
Counts = tuple[int, int, int]


def dice(counts: Counts) -> float:
    true, predicted, shared = counts
    return 2 * shared / (true + predicted) if true + predicted else float("nan")


def drawn(cases: Sequence[str], gain: float = 0.0, labels: Sequence[str] = ("1", "2"), seed: int = 0) -> dict:
    """Counts of every case and label; better by ``gain`` for the same seed."""
    random = np.random.default_rng(seed)
    found = {}
    for case in cases:
        share = np.clip(random.normal(0.75, 0.1, len(labels)) + gain, 0.05, 0.99)
        found[case] = {label: (1000, 1000, int(1000 * one)) for label, one in zip(labels, share, strict=True)}
    return found


def means_of(cases: Mapping[str, Mapping[str, Counts]]) -> dict[str, float]:
    labels = next(iter(cases.values()))
    return {label: float(np.nanmean([dice(one[label]) for one in cases.values()])) for label in labels}


def version_2(cases: Mapping[str, Mapping[str, Counts]], folder: str = "Dataset009_Small") -> dict[str, Any]:
    """The content that nnU-Net 2 writes."""
    entries = [
        {
            "metrics": {
                label: {
                    "Dice": dice(one), "IoU": 0.5, "TP": one[2], "FP": one[1] - one[2], "FN": one[0] - one[2], "TN": 1,
                    "n_pred": one[1], "n_ref": one[0],
                }
                for label, one in labels.items()
            },
            "prediction_file": f"/results/{folder}/validation/{case}.nii.gz",
            "reference_file": f"/raw/{folder}/gt_segmentations/{case}.nii.gz",
        }
        for case, labels in cases.items()
    ]  # fmt: skip
    means = {label: {"Dice": mean} for label, mean in means_of(cases).items()}
    foreground = {"Dice": float(np.mean([one["Dice"] for one in means.values()]))}
    return {"metric_per_case": entries, "mean": means, "foreground_mean": foreground}


def version_1(cases: Mapping[str, Mapping[str, Counts]]) -> dict[str, Any]:
    """The content that nnU-Net 1 writes; it scores the background, too."""

    def scores(one: Counts) -> dict[str, float]:
        return {"Dice": dice(one), "Jaccard": 0.5, "Total Positives Reference": one[0], "Total Positives Test": one[1]}

    entries = [
        {"0": scores((9, 9, 9)), **{label: scores(one) for label, one in labels.items()},
         "reference": f"labelsTr/{case}.nii.gz", "test": f"validation_raw/{case}.nii.gz"}
        for case, labels in cases.items()
    ]  # fmt: skip
    means = {"0": {"Dice": 1.0}} | {label: {"Dice": mean} for label, mean in means_of(cases).items()}
    return {"author": "Fabian", "results": {"all": entries, "mean": means}, "task": "Task009_Small"}


def write_json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_model(
    folder: Path, cases: Sequence[str], gain: float = 0.0, *, folds: int = 5, labels: Mapping[str, Any] | None = LABELS
) -> Path:
    """Writes a model of nnU-Net 2 with its folds; ``dataset.json`` beside it where labels have names."""
    every = drawn(cases, gain)
    for fold in range(folds):
        mine = {case: every[case] for case in cases[fold::folds]}
        write_json(folder / f"fold_{fold}" / "validation" / "summary.json", version_2(mine))
    if labels is not None:
        write_json(
            folder / "dataset.json", {"name": "Small", "labels": labels, "channel_names": {"0": "T1", "1": "T2"}}
        )
    return folder
