"""A study is tuned: equal trials, validation only, taken up again after SIGKILL, and a protocol that studies name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import optuna
import pandas as pd
import pytest
import yaml
from optuna.trial import TrialState

from harness.cli import main
from harness.data.datasets.cortex import DATASET
from harness.execution.cell.run import run_trial
from harness.results.store import CellFolder
from harness.statistics.comparability import reasons_not_comparable
from harness.study.cell import CellSpec
from harness.study.expansion import load_study

pytestmark = pytest.mark.usefixtures("toys")

SPACE = {"training.optimiser.lr": {"factor": [0.1, 10], "log": True}, "sampling.foreground": {"between": [0.1, 0.9]}}
TUNING = {"trials": 2, "pruner": "none", "space": SPACE}


def trials_of(project, profile="default"):
    url = f"sqlite:///{project / 'results' / 'tuning' / 'micro' / profile / 'trials.db'}"
    names = optuna.study.get_all_study_names(url)
    return {name.split("/")[2]: optuna.load_study(study_name=name, storage=url) for name in names}


def cells_of(project):
    return [CellFolder(path) for path in (project / "results/tuning/micro/default/cells").iterdir()]


def test_each_network_gets_equal_trials_and_a_protocol_that_a_study_names(project, write_study, tracking_database):
    models = {"dataset": ["cortex"], "model": ["toy", "toy_group"]}
    study = write_study(matrix=models, tuning=TUNING)
    assert main(["tune", str(study), "--cpu", "--no-mlflow", "--trials", "1"]) == 0
    first = {name: [trial.datetime_complete for trial in one.trials] for name, one in trials_of(project).items()}
    assert main(["tune", str(study), "--cpu"]) == 0  # adds only the trials that are missing
    found = trials_of(project)
    assert {name: [one.trials[0].datetime_complete] for name, one in found.items()} == first
    assert {name: [trial.state for trial in one.trials] for name, one in found.items()} == {
        "toy": [TrialState.COMPLETE] * 2,
        "toy_group": [TrialState.COMPLETE] * 2,
    }
    # the first trial is the protocol itself
    assert found["toy"].trials[0].params == {"training.optimiser.lr": 1.0, "sampling.foreground": 0.3333}
    # nothing but validation was written
    assert {file.name for cell in cells_of(project) for file in cell.result.iterdir()} == {
        "summary.json",
        "checksums.json",
    }

    written = yaml.safe_load((project / "protocols" / "tuned_micro.yaml").read_text())
    assert written["tuning"]["trials"] == 2
    assert written["tuning"]["found"]["toy"]["cortex"]["complete"] == 2
    best = found["toy"].best_trial
    assert written["per_model"]["toy"]["cortex"]["training"]["optimiser"]["lr"] == pytest.approx(
        0.01 * best.params["training.optimiser.lr"]
    )
    pictures = project / "results/tuning/micro/default/pictures"
    assert (pictures / "toy_cortex_history.png").is_file()
    assert len(pd.read_csv(pictures.parent / "trials.csv")) == 4

    import mlflow

    (run,) = mlflow.MlflowClient().search_runs(
        [mlflow.get_experiment_by_name("micro").experiment_id], "tags.`harness.tuning` = 'default'"
    )
    assert run.info.run_name == "tuning micro (default)"
    assert run.data.metrics["val_dice.toy.cortex"] == pytest.approx(best.value)

    models["model"] = ["toy", "toy_group", "toy_slow"]
    loaded = load_study(write_study(protocol="tuned_micro", matrix=models))
    protocols = {cell.label: cell.spec.protocol for cell in loaded.cells}
    assert protocols["toy"].sampling.foreground == pytest.approx(best.params["sampling.foreground"])
    assert protocols["toy"].training.epochs == 2
    assert protocols["toy_slow"].sampling.foreground == 0.3333
    assert protocols["toy"].name == protocols["toy_group"].name == "tuned_micro, tuned by 2 trials"
    rows = [{"method": label, "protocol": one.name} for label, one in protocols.items()]
    assert reasons_not_comparable(pd.DataFrame(rows[:2])) == []
    assert "different training protocols" in reasons_not_comparable(pd.DataFrame(rows))[0]


@pytest.fixture
def closed_tests(project, monkeypatch):
    """Opening a test case of the embedded person is an error; returns the file that names what was opened."""
    from harness.data.datasets.cortex.reader import CortexReader

    load = CortexReader.load
    opened = project / "opened.txt"  # a file: cases are prepared in processes of their own
    opened.touch()

    def guarded(reader, name):
        assert name not in reader.split(0).test, f"test case {name} was opened"
        with opened.open("a") as file:
            file.write(f"{name}\n")
        return load(reader, name)

    monkeypatch.setattr(CortexReader, "load", guarded)
    return opened


def test_a_trial_never_opens_a_test_case(project, write_study, closed_tests):
    spec = load_study(write_study()).cells[0].spec
    folder = CellFolder(project / "trial" / spec.id)
    folder.write_spec(spec.to_json())
    run_trial(spec, folder, project / "cache", "cpu")
    split = DATASET.open(spec.root).split(0)
    assert set(closed_tests.read_text().split()) == {*split.train, *split.val}
    assert 0 <= folder.trial_summary().val_dice <= 1
    assert [row.epoch for row in folder.trial_summary().history] == [1, 2]


def test_the_guard_of_the_test_above_bites(project, write_study, closed_tests):
    from harness.execution.cell.run import run_cell

    spec = load_study(write_study()).cells[0].spec
    folder = CellFolder(project / "cell" / spec.id)
    folder.write_spec(spec.to_json())
    with pytest.raises(AssertionError, match="was opened"):
        run_cell(spec, folder, project / "cache", "cpu")


@pytest.mark.slow
@pytest.mark.linux("the lease of a killed process ends at once only where /proc is read")
def test_a_trial_that_was_killed_with_its_conductor_is_taken_up_from_its_checkpoint(project, write_study):
    slow = {
        "base": "demo",
        "patch_size": [64, 64],
        "sampling": {"batch_size": 2},
        "training": {"epochs": 12, "steps_per_epoch": 8, "refresh_batchnorm": 2},
    }
    study = write_study(protocol=slow, matrix={"dataset": ["cortex"], "model": ["toy_slow"]}, tuning=TUNING)
    command = [sys.executable, "-m", "harness", "tune", str(study), "--cpu", "--no-mlflow", "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    folder = project / "results/tuning/micro/default/cells"
    while not list(folder.glob("*/work/*.pt")):
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (killed,) = trials_of(project)["toy_slow"].trials
    assert killed.state == TrialState.RUNNING

    assert main(["tune", str(study), "--cpu", "--no-mlflow", "--workers", "1"]) == 0
    trials = trials_of(project)["toy_slow"].trials
    assert [trial.state for trial in trials] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    assert trials[1].user_attrs["instead_of"] == 0
    assert trials[1].params == killed.params
    assert trials[1].user_attrs["cell"] == killed.user_attrs["cell"]  # the same folder, so the same checkpoint
    written = yaml.safe_load((project / "protocols" / "tuned_micro.yaml").read_text())
    assert written["tuning"]["found"]["toy_slow"]["cortex"] | {"val_dice": 0} == {
        "val_dice": 0,
        "complete": 2,
        "pruned": 0,
        "fail": 0,
    }


@pytest.mark.slow
def test_a_network_that_falls_over_spends_its_trials_and_is_named(project, write_study, capsys):
    study = write_study(matrix={"dataset": ["cortex"], "model": ["toy_crashing"]}, tuning={**TUNING, "trials": 1})
    assert main(["tune", str(study), "--cpu", "--no-mlflow"]) == 2
    assert "No trial of toy_crashing on cortex was completed" in capsys.readouterr().err
    (trial,) = trials_of(project)["toy_crashing"].trials
    assert trial.state == TrialState.FAIL
    assert "the network fell over" in trial.user_attrs["failure"]


def test_a_protocol_written_by_hand_is_not_written_over(project, write_study, capsys):
    (project / "protocols").mkdir()
    own = project / "protocols" / "tuned_micro.yaml"
    own.write_text("base: demo\n")
    assert main(["tune", str(write_study(tuning=TUNING)), "--cpu", "--no-mlflow"]) != 0
    assert "was not written by `harness tune`" in capsys.readouterr().err
    assert own.read_text() == "base: demo\n"


def test_specs_of_trials_read_back(project, write_study):
    loaded = load_study(write_study(tuning=TUNING))
    spec = loaded.cells[0].spec
    assert CellSpec.from_json(spec.to_json()).id == spec.id
