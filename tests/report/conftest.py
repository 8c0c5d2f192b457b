"""Synthetic studies whose statistics can be worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.report.write import write_report
from harness.results.schema import (
    CASE_COLUMNS,
    CELL_COLUMNS,
    FLOOR_COLUMNS,
    HISTORY_COLUMNS,
    DatasetFacts,
    StudyResults,
)

REGIONS = ("Cortex", "White")

#: Dice by label, one tuple per case: (Cortex, White). HD95 is ten times (1 - Dice).
SCORES: Mapping[str, Sequence[tuple[float, float]]] = {
    "w/o T-CFAF": [(0.60, 0.80), (0.62, 0.84), (0.70, 0.82)],
    "+ CA": [(0.70, 0.90), (0.72, 0.88), (0.74, 0.92)],
    "+ CMA": [(0.66, 0.86), (0.68, 0.90), (0.70, 0.88)],
    "AAHN": [(0.72, 0.90), (0.76, 0.92), (0.80, 0.94)],
}


class StudyBuilder:
    """Collects cells and results row by row."""

    def __init__(self, *, reference: str | None = "AAHN", metrics: tuple[str, ...] = ("dice", "hd95")) -> None:
        self.reference, self.metrics = reference, metrics
        self.labels: list[str] = []
        self.datasets: dict[str, DatasetFacts] = {}
        self.cases: list[dict[str, Any]] = []
        self.cells: list[dict[str, Any]] = []
        self.history: list[dict[str, Any]] = []
        self.floors: list[dict[str, Any]] = []
        self.overlays: dict[str, Path] = {}

    def dataset(self, name: str = "cortex", **changes: Any) -> StudyBuilder:
        facts = DatasetFacts(
            name=name,
            title="Cortex (one person)",
            kind="embedded",
            unit="coronal block of one patient",
            modalities=("t1", "epi"),
            regions=REGIONS,
            notes=("One person: it shows that the instrument works.",),
        )
        self.datasets[name] = replace(facts, **changes)
        return self

    def cell(
        self,
        label: str,
        scores: Sequence[tuple[float, ...]] = (),
        *,
        dataset: str = "cortex",
        leading: str = "t1",
        fold: int = 0,
        seed: int = 0,
        status: str = "done",
        reason: str = "",
        patients: Sequence[str] | None = None,
        cases: Sequence[str] | None = None,
        row_status: str = "scored",
        epochs: int = 0,
    ) -> str:
        """Adds a cell with one tuple of Dice (one number per region) for each case; returns its identity."""
        name = f"{dataset}-{label}-{leading}-{fold}-{seed}"
        if label not in self.labels:
            self.labels.append(label)
        shared = {"study": "ablation_tcfaf", "profile": "demo", "cell": name, "dataset": dataset, "model": "aahn"}
        shared |= {"label": label, "leading": leading, "fold": fold, "seed": seed}
        self.cells.append(
            shared
            | {
                "status": status,
                "reason": reason,
                "parameters": 1_234_567,
                "gflops": 3.21,
                "train_seconds": 104.6,
                "steps": 150,
                "device": "cpu (1 thread)",
                "commit": "0123456789abcdef+dirty",
                "split": "split-hash",
                "data": "data-hash",
                "protocol": "demo",
                "options": "{}",
                "packages": json.dumps({"torch": "2.6.0", "numpy": "2.4.6"}),
                "started": "2025-01-01T00:00:00Z",
                "finished": "2025-01-01T00:02:00Z",
            }
        )
        regions = self.datasets[dataset].regions
        for number, dices in enumerate(scores):
            case = cases[number] if cases else f"f{fold}c{number}"
            patient = patients[number] if patients else "p0"
            for region, dice in zip(regions, dices, strict=True):
                for metric, value in (("dice", dice), ("hd95", 10 * (1 - dice))):
                    row = {"patient": patient, "case": case, "region": region, "metric": metric, "value": value}
                    self.cases.append(shared | row | {"status": row_status, "implementation": f"medpy {metric} 0.5.2"})
        for epoch in range(1, epochs + 1):
            validated = 1 - 0.7 * 0.8**epoch if epoch % 2 == 0 else float("nan")
            row = {"epoch": epoch, "step": 10 * epoch, "loss": 0.8**epoch, "val_dice": validated}
            self.history.append({"cell": name, "lr": 0.01, "seconds": 2.0} | row)
        return name

    def floor(self, name: str, scores: Sequence[tuple[float, ...]], *, dataset: str = "cortex", fold: int = 0) -> None:
        for number, dices in enumerate(scores):
            for region, dice in zip(self.datasets[dataset].regions, dices, strict=True):
                for metric, value in (("dice", dice), ("hd95", 10 * (1 - dice))):
                    row = {
                        "dataset": dataset,
                        "fold": fold,
                        "floor": name,
                        "patient": "p0",
                        "case": f"f{fold}c{number}",
                    }
                    self.floors.append(row | {"region": region, "metric": metric, "value": value, "status": "scored"})

    def overlay(self, cell: str, path: Path, shift: int = 0) -> None:
        """Saves a slice of two nested discs, the prediction moved sideways."""
        rows, columns = np.mgrid[:48, :40]
        distance = np.hypot(rows - 24, columns - 20)
        truth = ((distance < 14).astype(np.uint8) + (distance < 8)).astype(np.uint8)
        image = np.clip(255 - 12 * distance, 0, 255).astype(np.uint8)
        np.savez(
            path,
            images=np.stack([image, image // 2]),
            modalities=np.array(["t1", "epi"]),
            truth=truth,
            prediction=np.roll(truth, shift, axis=1),
            spacing=np.array([1.5, 1.0]),
            labels=np.array(["background", "core", "rim"]),
            case=np.array("f0c0"),
            slice=np.array(7),
        )
        self.overlays[cell] = path

    def build(self) -> StudyResults:
        return StudyResults(
            study="ablation_tcfaf",
            profile="demo",
            question="What do the two halves of T-CFAF contribute?",
            reference=self.reference,
            metrics=self.metrics,
            labels=tuple(self.labels),
            cases=pd.DataFrame(self.cases, columns=list(CASE_COLUMNS)),
            cells=pd.DataFrame(self.cells, columns=list(CELL_COLUMNS)),
            history=pd.DataFrame(self.history, columns=list(HISTORY_COLUMNS)),
            floors=pd.DataFrame(self.floors, columns=list(FLOOR_COLUMNS)),
            datasets=self.datasets,
            overlays=self.overlays,
        )


@pytest.fixture(scope="session")
def new_study() -> type[StudyBuilder]:
    """Begins studies, for fixtures that live longer than one test."""
    return StudyBuilder


@pytest.fixture
def builder() -> StudyBuilder:
    """An empty study on the embedded dataset."""
    return StudyBuilder().dataset()


@pytest.fixture(scope="session")
def ablation(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """Four finished variants, three cases of one patient, a floor, curves and overlays."""
    builder, folder = StudyBuilder().dataset(), tmp_path_factory.mktemp("overlays")
    for number, (label, scores) in enumerate(SCORES.items()):
        cell = builder.cell(label, scores, epochs=6)
        builder.overlay(cell, folder / f"{number}.npz", shift=4 - number)
    builder.floor("mirror copy", [(0.5, 0.7), (0.55, 0.75), (0.6, 0.74)])
    return builder.build()


@pytest.fixture(scope="session")
def every_table() -> StudyResults:
    """A study with every kind of table: two datasets, an ablation, two leading modalities.

    Twenty patients, one network that failed and one that lacks a result.
    """
    random, builder = np.random.default_rng(0), StudyBuilder()
    people = [f"p{number:02d}" for number in range(20)]
    for dataset, regions in (("brats2019", ("WT", "TC", "ET")), ("hecktor21", ("tumor",))):
        builder.dataset(dataset, title=dataset, kind="real", unit="patient", regions=regions)
        hard = random.normal(0.75, 0.08, (20, len(regions)))
        for label, leading, gain in (
            ("AAHN", "t1", 0.08), ("AAHN", "epi", 0.05), ("w/o T-CFAF", "t1", 0.03), ("nnU-Net_v2 & more", "-", 0.02),
        ):  # fmt: skip
            for seed in (0, 1):
                dice = np.clip(hard + gain + random.normal(0, 0.02, hard.shape), 0, 1)
                scores = [tuple(map(float, each)) for each in dice]
                if label.startswith("nn") and seed:
                    scores = scores[:-1]
                builder.cell(label, scores, dataset=dataset, leading=leading, seed=seed, patients=people, epochs=3)
        builder.cell("broken", dataset=dataset, leading="-", status="failed", reason="the loss is not finite")
    results = builder.build()
    switches = results.cells["label"].map({"w/o T-CFAF": '{"tcfaf": "none"}', "AAHN": '{"tcfaf": "full"}'})
    model = results.cells["label"].map({"nnU-Net_v2 & more": "nnunet", "broken": "unetr"}).fillna("aahn")
    return replace(results, cells=results.cells.assign(options=switches.fillna("{}"), model=model))


@pytest.fixture(scope="session")
def report(ablation: StudyResults, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """The whole report of the ablation, written once: its folder and the files named as written."""
    folder = tmp_path_factory.mktemp("report") / "new" / "folder"
    return folder, list(write_report(ablation, folder).files)


def shuffled(results: StudyResults, seed: int) -> StudyResults:
    """The same study with every table's rows in another order."""
    tables = {name: getattr(results, name) for name in ("cases", "cells", "history", "floors")}
    return replace(results, **{name: table.sample(frac=1, random_state=seed) for name, table in tables.items()})


@pytest.fixture
def shuffle() -> Callable[[StudyResults, int], StudyResults]:
    """Shuffles a study's rows."""
    return shuffled
