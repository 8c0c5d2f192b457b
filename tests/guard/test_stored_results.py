"""What 0.2.0 stored is read, continued, reported, retried and cleaned with equal numbers; nothing is computed again."""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from guarding import GUARD, ROOT

from harness.cli import main

sys.path.insert(0, str(ROOT / "scripts" / "guard"))
from make_stored_results import LEAD, write_inputs

pytestmark = pytest.mark.usefixtures("toys")

HERE = ["--workers", "1", "--no-mlflow"]
KEYS = ["case", "region", "metric"]


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Unpacks the results folder into the working directory; returns its numbers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    for name in ("MLFLOW_TRACKING_URI", "HARNESS_RESULTS", "HARNESS_CACHE", "HARNESS_DATA_CORTEX"):
        monkeypatch.delenv(name, raising=False)
    with tarfile.open(GUARD / "stored_results.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    write_inputs(tmp_path)
    expected: dict[str, Any] = json.loads(Path("expected.json").read_text())
    return expected


def rows(file: Path) -> list[list[Any]]:
    table = pd.read_parquet(file).sort_values(KEYS)
    return [list(row) for row in table[[*KEYS, "value"]].itertuples(index=False)]


def cells() -> dict[str, list[list[Any]]]:
    return {file.parents[1].name: rows(file) for file in Path("results/cells").glob("*/result/cases.parquet")}


def times() -> dict[Path, int]:
    """When each file of a result, a subset or a rung was written."""
    files = [path for path in Path("results").rglob("*") if path.is_file()]
    kept = [path for path in files if {"result", "subsets", "rungs"} & set(path.parts)]
    return {path: path.stat().st_mtime_ns for path in kept if not path.name.endswith((".lock", ".txt"))}


def states(study: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["status", study]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("study", "counts"),
    [("finished", {"done": 2}), ("interrupted", {"interrupted": 1}), ("failed", {"done": 1, "failed": 1})],
)
def test_states_are_read(study: str, counts: dict[str, int], stored: dict[str, Any], capsys) -> None:
    output = states(study, capsys)
    for state, count in counts.items():
        assert output.count(state) >= count, output


def test_finished_cells_are_reported_and_not_computed_again(stored: dict[str, Any]) -> None:
    before = times()
    assert main(["run", "finished.yaml", *HERE]) == 0
    assert main(["report", "finished", "--format", "all", "--no-figures", "--no-mlflow"]) == 0
    assert {path: written for path, written in times().items() if path in before} == before
    assert cells() == stored["cases"]
    means = pd.read_csv("results/reports/finished/default/csv/means.csv")
    dice = pd.DataFrame(
        [row for cell in stored["cases"].values() for row in cell if row[2] == "dice"], columns=[*KEYS, "value"]
    )
    assert means[means["metric"] == "dice"]["mean"].between(dice["value"].min(), dice["value"].max()).all()


def test_an_interrupted_cell_goes_on_to_the_numbers_of_one_left_alone(stored: dict[str, Any]) -> None:
    (cell,) = stored["interrupted"]
    assert cell not in cells()
    folder = Path("results/cells") / cell
    assert list((folder / "work").glob("*.pt"))
    trained = json.loads((folder / "work" / "progress.json").read_text())["history"]
    assert main(["run", "interrupted.yaml", *HERE]) == 0
    assert cells()[cell] == stored["interrupted"][cell]
    seconds = pd.read_parquet(folder / "result" / "history.parquet")["seconds"].tolist()
    assert len(trained) >= 1
    assert seconds[: len(trained)] == [epoch["seconds"] for epoch in trained], "its first epochs were not trained again"


def test_a_failed_cell_is_tried_again_without_the_study_file(stored: dict[str, Any]) -> None:
    before = times()
    assert not any("toy-once" in name for name in cells())
    Path("toy_once_was_tried").touch()
    Path("failed.yaml").unlink()
    assert main(["retry", "failed", *HERE]) == 0
    assert {path: written for path, written in times().items() if path in before} == before
    assert sum("toy-once" in name for name in cells()) == 1


def test_trials_are_not_computed_again(stored: dict[str, Any]) -> None:
    before = times()
    assert main(["tune", "tuned.yaml", "--cpu", "--no-mlflow"]) == 0
    assert times() == before
    trials = Path("results/tuning").rglob("cells/*/result/summary.json")
    assert {file.parents[1].name: json.loads(file.read_text())["val_dice"] for file in trials} == stored["trials"]


def test_a_race_gives_the_same_answer_and_trains_nothing(stored: dict[str, Any]) -> None:
    before = times()
    assert main(LEAD) == 0
    assert times() == before
    ((place, expected),) = stored["answers"].items()
    answer = json.loads(Path(place).read_text())
    for key in ("answer", "cells", "cannot_tell_from"):
        assert answer[key] == expected[key]


def test_subsets_are_kept_and_the_missing_ones_added(stored: dict[str, Any]) -> None:
    before = times()
    assert main(["missing", "finished", "--label", "wide", "--workers", "1"]) == 0
    assert times() == before
    assert main(["missing", "finished", "--workers", "1"]) == 0
    written = {
        f"{file.parents[2].name}/{file.parent.name}": rows(file)
        for file in Path("results/cells").glob("*/subsets/*/cases.parquet")
    }
    assert {name: written[name] for name in stored["subsets"]} == stored["subsets"]
    assert len(written) == 2 * len(stored["subsets"])


def test_cleaning_keeps_every_result(stored: dict[str, Any]) -> None:
    assert main(["clean", "--failed", "--yes"]) == 0
    assert cells() == stored["cases"]
    assert main(["run", "failed.yaml", *HERE]) in (0, 1)
