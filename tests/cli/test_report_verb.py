"""``harness report``: several studies as one, results of another group, and what may not be ranked together."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from stored import manifest

from harness.cli import main
from harness.files import write_json
from harness.results.store import Store

PATIENTS = [f"p{number:02d}" for number in range(12)]


def write_cell(store: Store, label: str, gain: float, *, protocol: str = "paper", split: str = "s") -> dict[str, str]:
    """A finished cell of twelve patients, as `harness run` leaves it."""
    random = np.random.default_rng(3)
    cell = store.cell(f"data_{label}_{protocol}_{split}")
    spec = {"dataset": "data", "model": label.lower(), "leading": "-", "fold": 0, "seed": 0, "split": split,
            "data": "d", "protocol": {"name": protocol}, "options": {}}  # fmt: skip
    cell.write_spec(spec)
    dice = np.clip(0.7 + gain + random.normal(0, 0.02, len(PATIENTS)), 0, 1)
    rows = pd.DataFrame({
        **{key: spec[key] for key in ("dataset", "model", "leading", "fold", "seed")}, "patient": PATIENTS,
        "case": PATIENTS, "region": "WT", "metric": "dice", "value": dice, "status": "scored", "implementation": "x",
    })  # fmt: skip
    with cell.writing_result() as result:
        rows.to_parquet(result / "cases.parquet")
        pd.DataFrame(
            {"epoch": [1], "step": [1], "loss": [1.0], "val_dice": [0.5], "lr": [0.1], "seconds": [1.0]}
        ).to_parquet(result / "history.parquet")
        pd.DataFrame().to_parquet(result / "floors.parquet")
        summary = {"parameters": 1e6, "gflops": 1.0, "train_seconds": 60.0, "steps": 1, "device": "cpu", "commit": "c",
                   "packages": {}, "started": "2026-01-01T00:00:00", "finished": "2026-01-01T00:01:00"}  # fmt: skip
        write_json(result / "summary.json", summary)
    return {"cell": cell.id, "label": label}


def write_study(store: Store, name: str, cells: list[dict[str, str]]) -> None:
    store.create()
    facts = {"name": "data", "title": "Data", "kind": "generated", "unit": "patient", "modalities": ["a"],
             "regions": ["WT"], "notes": []}  # fmt: skip
    store.study(name, "default").write_manifest(
        manifest(
            name=name,
            datasets=[facts],
            cells=cells,
            labels=[cell["label"] for cell in cells],
            report={"reference": cells[0]["label"], "metrics": ["dice"]},
        )
    )


@pytest.fixture
def store(project: Path) -> Store:
    store = Store(Path("results"))
    write_study(store, "ours", [write_cell(store, "A", 0.05), write_cell(store, "B", 0.0)])
    return store


def test_studies_under_one_protocol_are_one_report(store: Store, capsys) -> None:
    write_study(store, "more", [write_cell(store, "C", 0.1)])
    assert main(["report", "ours", "more", "--format", "markdown", "--no-figures"]) == 0
    text = Path("results/reports/ours+more/default/tables.md").read_text()
    assert "C has the highest Dice" in text
    assert "Holm" in text


def test_other_budgets_or_splits_are_not_ranked_unless_asked(store: Store, capsys) -> None:
    write_study(store, "more", [write_cell(store, "C", 0.1, protocol="long", split="t")])
    assert main(["report", "ours", "more", "--format", "markdown", "--out", "refused", "--no-figures"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "different training protocols: long (C); paper (A, B)" in said
    assert "different splits" in said
    refused = Path("refused/tables.md").read_text()
    assert "no answer" in refused
    assert "**0." not in refused

    assert main(["report", "ours", "more", "--allow-mixed", "--out", "mixed", "--no-figures"]) == 0
    mixed = Path("mixed/tables.md").read_text()
    assert "C has the highest Dice" in mixed
    tables = mixed.split("\n## ")[1:]
    assert ["Mixed on request" in table for table in tables] == [True] + [False] * (len(tables) - 1), (
        "once, above all ranks"
    )
    for path in (*Path("mixed").glob("latex/means*.tex"), Path("mixed/report.html"), Path("mixed/csv/means.csv")):
        assert "Mixed on request" in path.read_text(), path


def test_results_of_another_group_stand_beside_ours_and_are_ranked_only_on_request(store: Store, capsys) -> None:
    rows = pd.DataFrame({
        "method": "theirs", "label": "Theirs", "dataset": "data", "patient": PATIENTS, "case": PATIENTS,
        "region": "WT", "metric": "dice", "value": 0.99,
    })  # fmt: skip
    rows.to_csv("theirs.csv", index=False)
    assert main(["report", "ours", "--with", "theirs.csv", "--format", "markdown", "--out", "out", "--no-figures"]) == 0
    text = Path("out/tables.md").read_text()
    assert "Theirs" in text
    assert "0.990" in text
    assert re.search(r"not ranked .*--allow-mixed", text)
    beside = ["report", "ours", "--with", "theirs.csv", "--no-figures"]
    assert main([*beside, "--allow-mixed", "--format", "markdown", "--out", "out"]) == 0
    assert "Theirs has the highest Dice" in Path("out/tables.md").read_text()


def test_a_wrong_file_of_another_group_is_refused_with_its_row(store: Store, capsys) -> None:
    Path("theirs.csv").write_text("method,label,dataset,patient,case,region,metric,value\nx,X,data,p,p,WT,dice,80\n")
    assert main(["report", "ours", "--with", "theirs.csv"]) == 2
    error = capsys.readouterr().err
    assert "theirs.csv, row 2" in error
    assert "what to do" in error


def test_pretrained_and_scratch_starts_are_not_mixed_silently(store: Store) -> None:
    from dataclasses import replace

    from harness.report.analysis.analysis import analyse_study
    from harness.results.reading import load_results

    study = load_results(store.find_study("ours"), store)
    mixed = replace(study, cells=study.cells.assign(start=["scratch", "pretrained:1234"]))
    assert analyse_study(mixed).comparability.reasons["data"] == (
        "different starting weights: pretrained (B); scratch (A)",
    )
    alike = replace(study, cells=study.cells.assign(start="scratch"))
    assert analyse_study(alike).comparability.reasons["data"] == ()
