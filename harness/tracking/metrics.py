"""What metrics are called in MLflow: its charts stand in sections named by what comes before the last slash.

``dice/WT``, ``hd95/mean`` (one section a score), ``train/loss``, ``val/dice`` (curves by epoch), ``time/...``,
``size/...`` and ``memory/...`` (costs).
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from harness.evaluation import METRICS
from harness.results.schema import StudyResults
from harness.results.scores import added_mark
from harness.results.store import CellFolder, Store, StudyFolder
from harness.statistics.means import cell_means, means_over_patients
from harness.statistics.patients import MEAN_REGION
from harness.tracking.names import metric_name

#: Counts the epochs that were logged; a view that starts again goes on from it.
EPOCH = "train/epoch"

#: Names beside those of regions.
_OWN = ("mean",)

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
        yield metric_name(metric, "mean") if region == MEAN_REGION else metric_name(metric, region, reserved=_OWN), mean


def cost_metrics(summary: Mapping[str, Any]) -> dict[str, float]:
    """What a finished cell has recorded of its costs."""
    found = {name: summary.get(column) for column, name in _COST_NAMES.items()}
    known = {name: float(value) for name, value in found.items() if value is not None}
    return {name: value for name, value in known.items() if not math.isnan(value)}


def results_mark(store: Store, study: StudyFolder) -> str:
    """Returns a text that changes with the finished cells of a study, as a whole or one of them."""
    found = sorted(f"{label} {cell.id} {_ended(cell)}" for label, cell in store.study_cells(study))
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:16]


def study_metrics(results: StudyResults) -> dict[str, float]:
    """Returns the numbers of a whole study: the mean of each variant as the report has it, and the costs of all cells.

    ``dice/DATASET/VARIANT`` is the mean over regions, ``dice/DATASET/best`` the best of them; a variant with a cell
    that has no result has no mean. ``cells/STATE`` counts cells, ``time/train`` and ``energy/wh`` are sums.
    """
    cells = results.cells.drop_duplicates("cell")
    found = {f"cells/{state}": float(count) for state, count in cells["status"].value_counts().items()}
    for column, name in (("train_seconds", "time/train"), ("energy_wh", "energy/wh")):
        known = pd.to_numeric(cells[column], errors="coerce").dropna()
        if len(known):
            found[name] = float(known.sum())
    for dataset, facts in results.datasets.items():
        rows = results.cases[results.cases["dataset"] == dataset]
        if len(rows):
            found |= _variant_means(results, rows, dataset, facts.regions)
    return found


def _variant_means(results: StudyResults, rows: pd.DataFrame, dataset: str, regions: Sequence[str]) -> dict[str, float]:
    cells = results.cells[results.cells["dataset"] == dataset]
    leads = cells.groupby("label")["leading"].nunique()

    def method(table: pd.DataFrame) -> list[str]:
        pairs = zip(table["label"].astype(str), table["leading"].astype(str), strict=True)
        return [label if leads[label] == 1 else f"{label}, {leading} leads" for label, leading in pairs]

    unfinished = set(cells.assign(method=method(cells)).loc[cells["status"] != "done", "method"])
    found: dict[str, float] = {}
    best: dict[str, float] = {}
    means = means_over_patients(rows.assign(method=method(rows)), regions, unfinished)
    for name, metric, region, mean in means:
        if region != MEAN_REGION:
            continue
        found[metric_name(metric, dataset, name, reserved=("best",))] = mean
        if metric in METRICS.names():
            choose = max if METRICS.get(metric).higher_is_better else min
            best[metric] = choose(best.get(metric, mean), mean)
    return found | {metric_name(metric, dataset, "best"): mean for metric, mean in best.items()}


def _ended(cell: CellFolder) -> str:
    status = cell.status()
    return f"{cell.summary().finished} {added_mark(cell)}" if status == "done" else status
