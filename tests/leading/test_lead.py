"""`harness lead` from the command line: the answer, what is written, what is refused, and what a kill leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml

from harness.cli import main
from harness.results.store import CellFolder

pytestmark = pytest.mark.usefixtures("toys")

COMMAND = ["lead", "cortex", "--model", "toy_leading", "--protocol", "micro", "--seeds", "2", "--cpu"]


@pytest.fixture(autouse=True)
def micro(project):
    """A protocol of the user's own, of a few seconds."""
    protocol = {
        "base": "demo",
        "patch_size": [64, 64],
        "sampling": {"batch_size": 2},
        "training": {"epochs": 4, "steps_per_epoch": 2, "optimiser": {"lr": 0.1}, "refresh_batchnorm": 0},
    }
    (project / "protocols").mkdir()
    (project / "protocols" / "micro.yaml").write_text(yaml.safe_dump(protocol))
    return project


def answer_in(project):
    (path,) = (project / "results" / "lead" / "cortex").glob("*/answer.json")
    return json.loads(path.read_text()), path.parent


def test_a_race_answers_writes_and_is_not_run_twice(project, tracking_database, capsys):
    command = [*COMMAND, "--seeds", "1", "--none", "--rungs", "2", "--keep-probability", "1", "--exhaustive"]
    assert main(command) == 0
    shown = capsys.readouterr().out
    facts, folder = answer_in(project)
    assert [rung["epoch"] for rung in facts["rungs"]] == [2, 4]
    assert set(facts["rungs"][0]["runners"]) == {"t1", "epi", "none"}
    assert len(facts["rungs"][0]["onward"]) == 2
    first = facts["first"]
    assert f"leading: [{first}]" in shown
    assert facts["answer"] in shown
    assert sum(place["chance"] for place in facts["ranking"]) == pytest.approx(1)
    # 3 candidates to epoch 2, two of them on to epoch 4
    assert facts["cost"] | {"seconds": 0, "seconds_of_all": 0} == {
        "epochs": 3 * 2 + 2 * 2,
        "of_all": 3 * 4,
        "of_study": 3 * 4,
        "seconds": 0,
        "seconds_of_all": 0,
        "measured": True,
    }
    assert {place["runner"] for place in facts["exhaustive"]["ranking"]} == {"t1", "epi", "none"}
    scores = pd.read_csv(folder / "scores.csv")
    means = scores.groupby(["leading", "epoch"])["dice"].mean()
    ranking = pd.read_csv(folder / "ranking.csv")
    for row in ranking.itertuples():
        assert row.val_dice == pytest.approx(means[row.leading, row.epochs])
    assert (folder / "race.png").is_file()
    assert first in (folder / "answer.md").read_text()
    assert not list((project / "results/lead/cortex/cells").rglob("*.pt"))

    import mlflow

    (run,) = mlflow.MlflowClient().search_runs([mlflow.get_experiment_by_name("lead_cortex").experiment_id])
    assert run.data.metrics[f"p_best.{first}"] == pytest.approx(facts["ranking"][0]["chance"])

    rungs = {path: path.stat().st_mtime_ns for path in (project / "results/lead").rglob("rungs/*.json")}
    assert main([*command, "--no-mlflow"]) == 0
    assert {path: path.stat().st_mtime_ns for path in (project / "results/lead").rglob("rungs/*.json")} == rungs


def test_a_dataset_with_one_modality_is_refused(project, tmp_path, capsys):
    folder = tmp_path / "one"
    folder.mkdir()
    facts = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "organ": 1},
        "numTraining": 5,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(facts))
    for name in ("imagesTr/a_0000", "labelsTr/a"):
        (folder / name).parent.mkdir()
        nib.save(nib.Nifti1Image(np.zeros((8, 8, 8), np.uint8), np.eye(4)), folder / f"{name}.nii.gz")
    assert main(["lead", "mine", "--nnunet-raw", str(folder), "--model", "toy_leading"]) != 0
    assert "has one modality" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--by", "site", "--splits", "mine.json"], "two ways"),
        (["--by", "site", "--kind", "pair"], "pairs"),
        (["--by", "site"], "parts of one patient"),
    ],
)
def test_a_split_that_cannot_be_is_refused(project, capsys, words, said):
    assert main([*COMMAND, *words]) == 2
    assert said in capsys.readouterr().err


def test_a_model_without_a_leading_modality_is_refused(project, capsys):
    assert main(["lead", "cortex", "--model", "toy"]) != 0
    error = capsys.readouterr().err
    assert "toy has no leading modality" in error
    assert "toy_leading" in error


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.linux("the lease of a killed process ends at once only where /proc is read")
def test_an_interrupted_race_goes_on_from_its_checkpoints_to_the_same_answer(project, how):
    path = project / "protocols" / "micro.yaml"
    slow = yaml.safe_load(path.read_text())
    slow["training"] |= {"epochs": 8, "steps_per_epoch": 40}
    path.write_text(yaml.safe_dump(slow))
    command = [*COMMAND, "--no-mlflow", "--workers", "1", "--rungs", "2", "--none"]
    process = subprocess.Popen([sys.executable, "-m", "harness", *command], stdout=subprocess.PIPE, text=True)
    cells = project / "results/lead/cortex/cells"
    deadline = time.monotonic() + 120
    while not list(cells.glob("*/rungs/*.json")) or not _between_rungs(cells):
        assert process.poll() is None, "it ended before it was interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, how)
    out, _ = process.communicate(timeout=120)
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert "Nothing is lost" in out
    kept = {path: path.read_text() for path in cells.glob("*/rungs/*.json")}
    assert main(command) == 0
    facts, _ = answer_in(project)
    assert all(path.read_text() == text for path, text in kept.items())

    fresh = [*command, "--results", "untouched"]
    assert main(fresh) == 0
    (path,) = (project / "untouched" / "lead" / "cortex").glob("*/answer.json")
    other = json.loads(path.read_text())
    assert other["ranking"] == facts["ranking"]
    assert other["rungs"] == facts["rungs"]


def _between_rungs(cells):
    """Whether a training that has no rung yet has a checkpoint."""
    return any(
        list((path / "work").glob("*.pt")) and not list((path / "rungs").glob("*.json")) for path in cells.glob("*")
    )


def test_a_training_that_falls_over_is_named_and_the_rest_is_kept(project, capsys):
    assert main([*COMMAND, "--no-mlflow", "--option", "switch=crash", "--retries", "0"]) != 0
    error = " ".join(capsys.readouterr().err.split())
    assert "of the rung at epoch 1 failed" in error
    assert "the network fell over" in error
    assert re.search(r"cortex_toy-leading_lead-(t1|epi)_f0_s\d", error)
    (failed, *_) = [cell for cell in (project / "results/lead/cortex/cells").iterdir() if CellFolder(cell).failure()]
    assert CellFolder(failed).status() == "failed"


@pytest.mark.slow
@pytest.mark.parametrize("informative", ["t1c", "t2f"])
def test_the_modality_that_carries_the_signal_by_construction_is_found(project, informative):
    """The network sees the leading modality alone, so nothing else can help it."""
    from harness.data import DATASETS
    from harness.data.synthetic.generated import generate

    generate(DATASETS.get("brats2023"), project / "brats", 10, 0, 0.1, informative)
    path = project / "protocols" / "micro.yaml"
    protocol = yaml.safe_load(path.read_text())
    protocol["sampling"] = {"batch_size": 4, "foreground": 0.6667}
    protocol["training"] |= {"epochs": 4, "steps_per_epoch": 40, "optimiser": {"name": "adamw", "lr": 1.0e-2}}
    path.write_text(yaml.safe_dump(protocol))
    asked = ["--root", str(project / "brats"), "--seeds", "3", "--rungs", "2", "--exhaustive", "--no-mlflow"]
    assert main(["lead", "brats2023", "--model", "toy_leading", "--protocol", "micro", "--cpu", *asked]) == 0
    (path,) = (project / "results" / "lead" / "brats2023").glob("*/answer.json")
    facts = json.loads(path.read_text())
    assert facts["leading"] == informative
    assert facts["exhaustive"]["agrees"]
    assert facts["cost"]["epochs"] < facts["cost"]["of_all"]
