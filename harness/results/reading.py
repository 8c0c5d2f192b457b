"""Reads studies back from the store, for reports and notebooks."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from harness.results.schema import (
    CASE_COLUMNS,
    CELL_COLUMNS,
    FLOOR_COLUMNS,
    HISTORY_COLUMNS,
    DatasetFacts,
    StudyResults,
)
from harness.results.store import CellFolder, Store, StudyFolder

__all__ = ["load", "load_study"]

_NUMBERS = {key: "float64" for key in HISTORY_COLUMNS if key not in {"cell", "epoch", "step"}}


def load(study: str | None = None, profile: str | None = None, results: Path | str = "results") -> pd.DataFrame:
    """Returns the per-case rows of a study's finished cells.

    Args:
        study: Study name; default: the one run last.
        profile: Profile; default: the one run last.
        results: The results folder.

    Returns:
        One row a cell, case, region and metric; :data:`harness.results.schema.CASE_COLUMNS` says what each column
        means.

    Raises:
        HarnessError: There is no such study, or the folder is of another version.
    """
    return load_study(Store(Path(results)).find_study(study, profile), Store(Path(results))).cases


def load_study(folder: StudyFolder, store: Store) -> StudyResults:
    """Returns all that is known of a study: its rows, its cells whatever became of them, its curves and its floors."""
    manifest = folder.manifest()
    listed = [(entry, store.cell(entry["cell"])) for entry in manifest["cells"]]
    done = [(entry, cell) for entry, cell in listed if cell.status() == "done"]
    datasets = {facts["name"]: _facts(facts) for facts in manifest["datasets"]}
    return StudyResults(
        study=folder.study,
        profile=folder.profile,
        question=manifest["question"],
        reference=manifest["report"]["reference"],
        metrics=tuple(manifest["report"]["metrics"]),
        labels=tuple(manifest["labels"]),
        cases=_table(CASE_COLUMNS, (_cases(folder, entry, cell) for entry, cell in done)),
        cells=pd.DataFrame([_cell_row(folder, entry, cell) for entry, cell in listed], columns=list(CELL_COLUMNS)),
        history=_table(HISTORY_COLUMNS, (_history(cell) for cell in {cell.id: cell for _, cell in listed}.values())),
        floors=_floors(done),
        datasets=datasets,
        overlays={cell.id: cell.result / "overlay.npz" for _, cell in done if (cell.result / "overlay.npz").is_file()},
        manifest=manifest,
    )


def _facts(values: Mapping[str, Any]) -> DatasetFacts:
    """JSON knows no tuples."""
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return DatasetFacts(**fields)


def _table(columns: Mapping[str, str], parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    found = list(parts)
    if not found:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(found, ignore_index=True)[list(columns)]


def _cases(folder: StudyFolder, entry: Mapping[str, Any], cell: CellFolder) -> pd.DataFrame:
    rows = pd.read_parquet(cell.result / "cases.parquet")
    return rows.assign(study=folder.study, profile=folder.profile, label=entry["label"], cell=cell.id)


def _history(cell: CellFolder) -> pd.DataFrame:
    """A cell that failed or still runs shows the epochs it got through."""
    if cell.status() == "done":
        rows = pd.read_parquet(cell.result / "history.parquet")
    else:
        rows = pd.DataFrame(cell.progress().get("history", []), columns=list(HISTORY_COLUMNS)).astype(_NUMBERS)
    return rows.assign(cell=cell.id)


def _floors(done: list[tuple[dict[str, Any], CellFolder]]) -> pd.DataFrame:
    """Floors depend on the data alone, so every cell of a dataset and fold holds the same rows."""
    rows = _table(FLOOR_COLUMNS, (pd.read_parquet(cell.result / "floors.parquet") for _, cell in done))
    return rows.drop_duplicates(["dataset", "fold", "floor", "case", "region", "metric"], ignore_index=True)


def _cell_row(folder: StudyFolder, entry: Mapping[str, Any], cell: CellFolder) -> dict[str, Any]:
    spec, status = cell.spec(), cell.status()
    failure = cell.failure() if status == "failed" else None
    row: dict[str, Any] = {
        **dict.fromkeys(CELL_COLUMNS, ""),
        **dict.fromkeys(("parameters", "gflops", "train_seconds", "steps"), math.nan),
        "study": folder.study,
        "profile": folder.profile,
        "cell": cell.id,
        "label": entry["label"],
        "status": status,
        "reason": failure["reason"] if failure else "",
        **{key: spec[key] for key in ("dataset", "model", "leading", "fold", "seed", "split", "data")},
        "protocol": spec["protocol"]["name"],
        "options": json.dumps(spec["options"], sort_keys=True),
    }
    if status == "done":
        summary = cell.summary()
        row |= {key: summary[key] for key in ("parameters", "gflops", "train_seconds", "steps", "device", "commit")}
        row |= {key: summary[key] for key in ("started", "finished")}
        row["packages"] = json.dumps(summary["packages"], sort_keys=True)
    return row
