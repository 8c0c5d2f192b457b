"""Studies from file to tables, through the command line: what is done, skipped, continued, refused and reported."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from forked_worker import Forked, start_harness
from safetensors.torch import load_file

import harness.results
from harness.cli import main
from harness.results.records import Progress
from harness.results.schema import CASE_COLUMNS
from harness.results.store import Store

pytestmark = pytest.mark.usefixtures("toys")

SLOW_PROTOCOL = {
    "base": "demo",
    "patch_size": [64, 64],
    "sampling": {"batch_size": 2},
    "training": {"epochs": 6, "steps_per_epoch": 4, "validate_every": 2, "refresh_batchnorm": 2},
}


#: Long enough that it cannot end while somebody else acts on it.
LONG_PROTOCOL = {**SLOW_PROTOCOL, "training": {**SLOW_PROTOCOL["training"], "epochs": 15, "validate_every": 15}}


def run(*arguments) -> int:
    return main(["run", *map(str, arguments), "--workers", "1", "--no-mlflow"])


def cell_folders() -> list[Path]:
    return sorted(Path("results/cells").iterdir())


def rows() -> pd.DataFrame:
    found = harness.results.load()
    return found.sort_values(list(found.columns)).reset_index(drop=True)


@pytest.mark.parametrize(
    ("models", "labels", "leading"),
    [
        (["toy_leading", "toy"], {"toy_leading", "toy"}, {"t1", "-"}),
        pytest.param(
            [{"name": name, "preset": "tiny"} for name in ("aahn", "unetr", "nnunet")],
            {"AAHN", "UNETR", "nnU-Net"},
            {"t1", "-"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_networks_run_from_file_to_tables(write_study, capsys, models, labels, leading):
    study = write_study(matrix={"dataset": ["cortex"], "model": models})
    assert run(study) == 0
    found = harness.results.load("micro")
    assert list(found.columns) == list(CASE_COLUMNS)
    assert set(found["label"]) == labels
    cases = found["case"].nunique()
    assert len(found) == len(models) * cases * 2 * 2, "models x cases x regions x metrics: no row is missing"
    assert np.isfinite(found["value"]).all()
    assert found.loc[found["metric"] == "dice", "value"].between(0, 1).all()
    assert set(found["leading"]) == leading
    for folder in cell_folders():
        result = folder / "result"
        names = {path.name for path in result.iterdir()}
        assert names >= {"cases.parquet", "history.parquet", "floors.parquet", "summary.json", "weights.safetensors"}
        assert len(list((result / "predictions").glob("*.nii.gz"))) == cases
        assert not list((folder / "work").glob("*.pt")), "checkpoints are dropped once there is a result"
        summary = json.loads((result / "summary.json").read_text())
        assert summary["parameters"] > 0
        assert summary["gflops"] > 0
        assert summary["packages"]["torch"]
    assert "harness report micro" in capsys.readouterr().out

    assert main(["report", "--format", "all"]) == 0
    written = {path.suffix for path in Path("results/reports/micro/default").rglob("*.*")}
    assert written >= {".tex", ".md", ".csv", ".html", ".pdf", ".png"}


def test_a_finished_study_is_not_computed_again(finished_study, capsys):
    before = {path: path.stat().st_mtime_ns for path in Path("results/cells").rglob("*") if "result" in path.parts[3:4]}
    assert before
    assert run(finished_study) == 0
    assert "1 of 1 cells are done already" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_another_seed_is_another_cell_and_equal_seeds_give_equal_numbers(finished_study, write_study):
    first = rows()
    study = write_study(matrix={"dataset": ["cortex"], "model": ["toy"], "seed": [0, 1]})
    assert run(study, "--results", "again", "--cache", "other_cache") == 0
    again = harness.results.load(results="again")
    keys = ["seed", "case", "region", "metric"]
    values = [
        table[table["seed"] == seed].sort_values(keys)["value"].to_numpy()
        for table, seed in ((first, 0), (again, 0), (again, 1))
    ]
    assert np.array_equal(values[0], values[1])
    assert not np.array_equal(values[0], values[2])


def test_a_crash_of_one_cell_never_stops_the_others(write_study, capsys):
    models = ["toy_crashing", "toy_exploding", "toy_dying", "toy"]
    study = write_study(matrix={"dataset": ["cortex"], "model": models})
    assert run(study) == 1
    output = capsys.readouterr().out
    assert "3 of 4 cells failed" in output
    assert "the network fell over" in output
    assert "The training loss of epoch 1 is nan" in output
    assert "killed by SIGKILL" in output
    store = Store(Path("results"))
    states = {
        folder.name.split("_lead")[0].split("_nolead")[0]: store.cell(folder.name).status() for folder in cell_folders()
    }
    assert states == {
        "cortex_toy": "done",
        "cortex_toy-crashing": "failed",
        "cortex_toy-dying": "failed",
        "cortex_toy-exploding": "failed",
    }
    log = next(Path("results/cells").glob("cortex_toy-crashing*/work/log.txt")).read_text()
    assert "Traceback" in log
    assert "Traceback" not in output

    from harness.results.reading import load_results

    failed = load_results(store.find_study("micro"), store).cells.set_index("model").loc["toy_crashing"]
    assert "the network fell over" in failed["reason"]
    assert "RuntimeError: the network fell over" in failed["log"]

    assert main(["status"]) == 0
    assert "the network fell over" in capsys.readouterr().out
    assert main(["report", "--format", "markdown", "--no-figures"]) == 0
    report = Path("results/reports/micro/default").rglob("*.md")
    assert "failed" in "".join(path.read_text() for path in report)


def test_what_does_not_fit_in_gpu_memory_is_trained_in_parts_and_says_so(write_study):
    study = write_study(matrix={"dataset": ["cortex"], "model": ["toy_large"]})
    assert run(study) == 0
    summary = json.loads((cell_folders()[0] / "result/summary.json").read_text())
    assert summary["accumulate"] == 2
    assert [one["kind"] for one in summary["failures"]] == ["cuda_out_of_memory"]
    from harness.results.reading import load_results

    store = Store(Path("results"))
    row = load_results(store.find_study("micro"), store).cells.iloc[0]
    assert (row["accumulate"], row["attempts"]) == (2, 2)


def progress(store: Store) -> Progress:
    folders = list((store.root / "cells").glob("*"))
    return store.cell(folders[0].name).progress() if folders else Progress()


def wait_for_step(store: Store, step: int) -> Progress:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        seen = progress(store)
        if seen.step >= step:
            return seen
        time.sleep(0.02)
    raise AssertionError(f"step {step} was not reached: {progress(store)}")


def start(study: Path, results: str) -> Forked:
    """Runs a study in a process of its own; what it prints goes into `printed.txt`."""
    arguments = ["run", str(study), "--workers", "1", "--no-mlflow", "--results", results]
    return start_harness(arguments, Path("printed.txt").resolve())


@pytest.mark.parametrize("victim", [pytest.param("worker", marks=pytest.mark.slow), "run"])
@pytest.mark.linux("forks processes that have imported torch")
def test_a_study_killed_with_sigkill_ends_with_the_same_numbers(write_study, victim, monkeypatch):
    study = write_study(protocol=SLOW_PROTOCOL, matrix={"dataset": ["cortex"], "model": ["toy_slow"]})
    process = start(study, "killed")
    store = Store(Path("killed"))
    try:
        seen = wait_for_step(store, 9)
        os.kill(seen.pid if victim == "worker" else process.pid, signal.SIGKILL)
        status = process.wait(60)
    finally:
        process.kill()
    assert status == (1 if victim == "worker" else -signal.SIGKILL)
    cell = store.cell(next((store.root / "cells").iterdir()).name)
    assert cell.status() != "done"

    monkeypatch.setenv("TOY_PAUSE", "0")
    assert main(["run", str(study), "--workers", "1", "--no-mlflow", "--results", "killed"]) == 0
    assert main(["run", str(study), "--workers", "1", "--no-mlflow", "--results", "whole"]) == 0
    undisturbed = Store(Path("whole")).cell(cell.id)
    for table in ("cases", "floors"):
        one, other = (pd.read_parquet(folder.result / f"{table}.parquet") for folder in (cell, undisturbed))
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    histories = [
        pd.read_parquet(folder.result / "history.parquet").drop(columns=["seconds", "waiting"])
        for folder in (cell, undisturbed)
    ]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    weights = [load_file(folder.result / "weights.safetensors") for folder in (cell, undisturbed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])


@pytest.mark.linux("forks processes that have imported torch")
def test_ctrl_c_keeps_a_checkpoint_and_says_how_to_go_on(write_study):
    study = write_study(protocol=LONG_PROTOCOL, matrix={"dataset": ["cortex"], "model": ["toy_slow"]})
    process = start(study, "results")
    try:
        wait_for_step(Store(Path("results")), 6)
        os.kill(process.pid, signal.SIGINT)
        status = process.wait(60)
    finally:
        process.kill()
    output = Path("printed.txt").read_text()
    assert status == 130
    assert "Stopping: " in output
    assert "Nothing is lost" in output
    assert "Traceback" not in output
    store = Store(Path("results"))
    cell = store.cell(next((store.root / "cells").iterdir()).name)
    assert cell.status() == "interrupted"
    assert torch.load(cell.work / "last.pt", weights_only=True)["state"]["step"] >= 6


@pytest.mark.linux("forks processes that have imported torch")
def test_two_runs_share_one_study_and_compute_no_cell_twice(write_study, capsys):
    study = write_study(protocol=SLOW_PROTOCOL, matrix={"dataset": ["cortex"], "model": ["toy_slow"], "seed": [0, 1]})
    process = start(study, "results")
    try:
        wait_for_step(Store(Path("results")), 1)
        assert main(["status", "micro"]) == 0
        assert "running" in capsys.readouterr().out
        assert run(study) == 0
        status = process.wait(120)
    finally:
        process.kill()
    assert status == 0
    logs = [(folder / "work/log.txt").read_text() for folder in cell_folders()]
    assert len(logs) == 2
    for folder in cell_folders():
        assert json.loads((folder / "result/summary.json").read_text())["attempts"] == 1
        assert not list((folder / "leases").iterdir())


def test_what_cannot_be_built_is_refused_before_anything_runs(write_study, capsys):
    study = write_study(matrix={"dataset": ["cortex"], "model": ["toy", "toy_unbuildable"]})
    assert run(study) == 2
    error = capsys.readouterr().err
    assert "'toy_unbuildable' on cortex: toy_unbuildable needs patch sides of 7" in error
    assert "63 x 63" in error
    assert not Path("results").exists()


def test_results_of_another_version_are_refused(write_study, capsys):
    Path("results").mkdir()
    Path("results/store.json").write_text('{"format": 99}')
    assert run(write_study()) == 2
    error = capsys.readouterr().err
    assert "have format 99" in error
    assert "--results" in error


@pytest.mark.parametrize("place", ["file/inside", "/sys/harness-results"])
@pytest.mark.linux("/sys takes no folder of a user's")
def test_a_folder_that_cannot_be_written_is_refused(write_study, capsys, place):
    Path("file").write_text("")
    assert run(write_study(), "--results", place) == 2
    error = capsys.readouterr().err
    assert "cannot be written" in error
    assert "--results" in error
    assert "Traceback" not in error


def test_debug_shows_the_traceback(write_study):
    with pytest.raises(Exception, match="Unknown model"):
        main(["run", str(write_study(matrix={"dataset": ["cortex"], "model": ["nothing"]})), "--debug"])


def test_plan_lists_states_sizes_and_times(finished_study, write_study, capsys):
    study = write_study(matrix={"dataset": ["cortex"], "model": ["toy", {"name": "toy", "width": 8, "label": "wide"}]})
    assert main(["plan", str(study), "--results", "none"]) == 0
    before = capsys.readouterr().out
    assert before.count("new") >= 2
    assert not Path("none").exists()
    assert main(["plan", str(study)]) == 0
    some = capsys.readouterr().out
    assert (some.count("done"), some.count("new")) == (1, before.count("new") - 1)
    assert main(["plan", str(write_study())]) == 0
    after = capsys.readouterr().out
    assert after.count("done") == 1
    assert "About 0 s to go" in after


def test_predictions_lie_on_the_grid_of_the_files(finished_study, small_cortex):
    import nibabel as nib

    truth = nib.load(small_cortex / "label.nii.gz")
    prediction = nib.load(next(Path("results/cells").rglob("predictions/right_*.nii.gz")))
    corner = np.linalg.inv(truth.affine) @ prediction.affine @ np.array([0, 0, 0, 1])
    assert np.allclose(corner[:3], np.rint(corner[:3]), atol=1e-4), "voxel centres coincide"
    assert np.allclose(np.abs(prediction.header.get_zooms()), truth.header.get_zooms())
