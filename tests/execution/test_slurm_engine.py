"""Slurm: what sbatch is given, and a study through submitit's own executors, requeued from its checkpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

import harness.results
from harness.cli import main
from harness.errors import HarnessError
from harness.execution.engines.slurm import SlurmEngine, SlurmJob, batch_script
from harness.execution.engines.slurm_settings import SlurmResources
from harness.execution.workers.attempt import Attempt
from harness.results.store import CellFolder, Store
from harness.study.expansion import load_study

FOLDER = Path("/shared/results/slurm/micro")


def lines(text):
    return {line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")}


def test_the_batch_script_asks_for_what_was_wanted():
    asked = SlurmResources.load(
        None, ["partition=gpu", "time=1-12:00", "gpus=2", "cpus=16", "memory_gb=48", "nice=100"]
    )
    script = batch_script(asked, FOLDER, "micro", cells=40)
    assert lines(script) >= {
        "--job-name=micro",
        "--partition=gpu",
        "--time=2160",
        "--gpus-per-task=2",
        "--cpus-per-task=16",
        "--mem=48GB",
        "--array=0-39%40",
        "--signal=USR2@300",
        "--requeue",
        "--nice=100",
        "--open-mode=append",
    }
    assert f"{sys.executable} -u -m submitit.core._submit {FOLDER}" in script


def test_without_gpus_none_are_asked_for_and_arrays_are_limited():
    script = batch_script(SlurmResources.load(None, ["gpus=0", "parallel=8"]), FOLDER, "micro", cells=5000)
    assert "gpus" not in script
    assert "--array=0-999%8" in lines(script)


def test_a_file_and_single_settings_go_together(tmp_path):
    path = tmp_path / "slurm.yaml"
    path.write_text("partition: gpu\ntime: 90\nsetup: [module load cuda]\nsbatch: {mail-type: END}\n")
    found = SlurmResources.load(path, ["time=02:30:00"])
    assert (found.partition, found.time, found.setup, found.sbatch) == (
        "gpu",
        150,
        ("module load cuda",),
        {"mail-type": "END"},
    )
    assert "module load cuda" in batch_script(found, FOLDER, "micro", 2).splitlines()


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90),
        ("90:00", 90),
        ("12:30", 13),
        ("12:00:00", 720),
        ("2-12", 3600),
        ("1-06:30", 1830),
        ("1-06:30:00  # a day and more", 1830),
        ('"00:45:00"', 45),
    ],
)
def test_times_are_read_as_slurm_reads_them(tmp_path, text, minutes):
    path = tmp_path / "slurm.yaml"
    path.write_text(f"gpus: 1\ntime: {text}\n")
    assert SlurmResources.load(path).time == minutes


@pytest.mark.parametrize(
    ("content", "given", "said"),
    [
        ("partitoin: gpu", (), "unknown setting 'partitoin'"),
        ("- gpu", (), "holds no settings"),
        ("time: soon", (), "Slurm setting time"),
        ("", ("gpus=-1",), "Slurm setting gpus"),
        ("", ("partition",), "KEY=VALUE"),
        ("", ("a b=1",), "KEY=VALUE"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path, content, given, said):
    path = tmp_path / "slurm.yaml"
    path.write_text(content)
    with pytest.raises(HarnessError, match=said):
        SlurmResources.load(path, given)


def test_a_dry_run_prints_the_script_and_runs_nothing(write_study, toys, capsys):
    study = write_study(matrix={"dataset": ["cortex"], "model": ["toy"], "seed": [0, 1, 2]})
    assert main(["run", str(study), "--engine", "slurm", "--sbatch", "partition=gpu", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "#SBATCH --array=0-2%3" in shown
    assert not Path("results").exists()


def test_without_slurm_the_engine_says_so(write_study, toys, capsys, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert main(["run", str(write_study()), "--engine", "slurm", "--no-mlflow"]) == 2
    assert "There is no Slurm here" in capsys.readouterr().err


@pytest.mark.parametrize("engine", ["ray", "slurm"])
def test_an_engine_that_is_not_installed_names_its_extra(write_study, toys, capsys, monkeypatch, engine):
    monkeypatch.setitem(sys.modules, {"ray": "ray", "slurm": "submitit"}[engine], None)
    assert main(["run", str(write_study()), "--engine", engine, "--no-mlflow"]) == 2
    assert f"aahn-harness[{engine}]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--address", "auto"], "--address belongs to --engine ray"),
        (["--sbatch", "partition=gpu"], "--sbatch belongs to --engine slurm"),
        (["--dry-run"], "--dry-run belongs to --engine slurm"),
        (["--detach"], "--detach belongs to --engine slurm"),
        (["--engine", "ray", "--cells-per-gpu", "2"], "--cells-per-gpu belongs to --engine local"),
        (["--engine", "slurm", "--workers", "4"], "does not use --workers"),
        (["--engine", "slurm", "--cpu", "--dry-run"], "does not use --cpu"),
        (["--engine", "slurm", "--gpus-per-cell", "4"], "does not use --gpus-per-cell"),
        (["--cells-per-gpu", "auto", "--gpus-per-cell", "2"], "--cells-per-gpu and --gpus-per-cell contradict"),
        (["--cells-per-gpu", "2", "--workers", "2"], "--cells-per-gpu and --workers contradict"),
        (["--cells-per-gpu", "some"], "neither a number nor auto"),
        (["--timeout", "soon"], "'soon': invalid duration"),
    ],
)
def test_options_that_contradict_the_engine_are_refused(write_study, toys, capsys, options, said):
    assert main(["run", str(write_study()), "--no-mlflow", *options]) == 2
    assert said in capsys.readouterr().err


def test_a_tuning_knows_what_slurm_is_to_be_asked_for(write_study, toys, capsys, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    arguments = ["--engine", "slurm", "--sbatch", "gpus=-1", "--trials", "1", "--no-mlflow"]
    assert main(["tune", str(write_study()), *arguments]) == 2
    assert "Slurm setting gpus" in capsys.readouterr().err


def test_a_thousand_tasks_are_not_looked_at_all_the_time(tmp_path):
    looks = []
    job = SimpleNamespace(done=lambda: looks.append(1))
    task = SlurmJob(Attempt(CellFolder(tmp_path), tmp_path), job, every=60.0)
    assert [task.poll() for _ in range(100)] == [None] * 100
    assert not looks
    task = SlurmJob(Attempt(CellFolder(tmp_path), tmp_path), job)
    task.poll()
    assert looks == [1]


def test_a_task_that_was_lost_names_its_log(tmp_path):
    job = SimpleNamespace(done=lambda: True, exception=lambda: RuntimeError(), state="NODE_FAIL", job_id="7_0")
    job.paths = SimpleNamespace(stdout=tmp_path / "7_0_log.out")
    ending = SlurmJob(Attempt(CellFolder(tmp_path), tmp_path), job).poll()
    assert ending.state == "lost"
    assert "NODE_FAIL" in ending.detail
    assert str(tmp_path / "7_0_log.out") in ending.detail


def numbers(results):
    found = harness.results.load(results=results)
    return found.sort_values(["seed", "case", "region", "metric"]).reset_index(drop=True)


SLOW = {
    "base": "demo",
    "patch_size": [64, 64],
    "sampling": {"batch_size": 2},
    "training": {"epochs": 30, "steps_per_epoch": 4, "validate_every": 30, "refresh_batchnorm": 2},
}


def parent(process):
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def stand_in_for_a_container(monkeypatch):
    """Puts a program on the path that runs what stands behind the image as a child, and passes no signal on."""
    program = Path("programs/apptainer").resolve()
    program.parent.mkdir()
    waits = '"$@" & while :; do wait $!; status=$?; kill -0 $! 2>/dev/null || exit $status; done'
    find = 'until [ "$1" = "$PWD/harness.sif" ]; do shift; done; shift'
    program.write_text(f"#!/bin/sh\ntrap : TERM USR2\necho in the container: $*\n{find}\n{waits}\n")
    program.chmod(0o755)
    Path("harness.sif").touch()
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    return {"image": "harness.sif", "python": sys.executable}


@pytest.mark.slow
@pytest.mark.linux("finds processes in /proc")
@pytest.mark.parametrize("in_container", [False, True])
def test_a_task_near_its_time_limit_writes_a_checkpoint_is_requeued_and_ends_with_the_same_numbers(
    write_study, toys, monkeypatch, in_container
):
    """The signal that Slurm sends before the limit goes to the task of submitit's local executor."""
    study = write_study(protocol=SLOW, matrix={"dataset": ["cortex"], "model": ["toy_slow"]})
    (planned,) = load_study(study).cells
    cell = Store(Path("through")).cell(planned.spec.id)
    cell.write_spec(planned.spec.to_json())
    asked = {"cluster": "local", "gpus": 0, "time": 5}
    if in_container:
        asked["container"] = stand_in_for_a_container(monkeypatch)
    engine = SlurmEngine(SlurmResources(**asked), Path("slurm"), "micro", None, [Path.cwd()])
    (job,) = engine.submit([Attempt(CellFolder(cell.path.resolve()), Path("cache").resolve())])
    deadline = time.monotonic() + 240
    while cell.progress().step < 8:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    task = parent(cell.progress().pid)
    os.kill(parent(task) if in_container else task, signal.SIGUSR2)
    while (ending := job.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert ending.state == "done"
    assert (f"in the container: exec --bind {Path.cwd()}" in cell.log_tail(10_000)) == in_container
    assert "Requeued job" in "".join(path.read_text() for path in Path("slurm").glob("*_log.*"))
    assert cell.summary().attempts == 1, "a time limit of Slurm's is no failure"
    assert main(["run", str(study), "--cpu", "--workers", "1", "--no-mlflow", "--results", "local"]) == 0
    tables = [
        pd.read_parquet(one.result / "cases.parquet") for one in (cell, Store(Path("local")).cell(planned.spec.id))
    ]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


@pytest.mark.slow
@pytest.mark.parametrize("cluster", ["local", "debug"])
def test_a_study_through_submitit_gives_the_numbers_of_the_local_engine(write_study, toys, cluster):
    study = write_study(matrix={"dataset": ["cortex"], "model": ["toy"], "seed": [0, 1]})
    asked = ["--engine", "slurm", "--sbatch", f"cluster={cluster}", "--sbatch", "gpus=0", "--sbatch", "time=5"]
    assert main(["run", str(study), *asked, "--no-mlflow", "--results", "through"]) == 0
    assert main(["run", str(study), "--cpu", "--no-mlflow", "--results", "local"]) == 0
    pd.testing.assert_frame_equal(numbers("through"), numbers("local"), check_exact=True)


@pytest.mark.slow
def test_a_detached_study_is_computed_with_nobody_waiting(write_study, toys, capsys):
    study = write_study(matrix={"dataset": ["cortex"], "model": ["toy", "toy_crashing"]})
    asked = ["--engine", "slurm", "--sbatch", "cluster=local", "--sbatch", "gpus=0", "--sbatch", "time=5"]
    command = [sys.executable, "-m", "harness", "run", str(study), *asked, "--detach"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "Submitted 2 cells" in shown
    assert "harness status micro" in shown
    store = Store(Path("results"))
    cells = [store.cell(path.name) for path in (store.root / "cells").glob("*")]
    deadline = time.monotonic() + 240
    while {cell.status() for cell in cells} != {"done", "failed"}:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert main(["run", str(study), *asked, "--detach"]) == 0
    assert "Submitted 1 cells" in capsys.readouterr().out, "what is done is not submitted again"


@pytest.mark.parametrize("text", ["time: !!int x", "qos: 2026-13-45", "a: &a [*a]", "qos: [", "- 1", "gpus: .inf"])
def test_a_file_of_resources_that_is_no_such_file_is_refused_in_a_line(tmp_path, text):
    (tmp_path / "slurm.yaml").write_text(text)
    with pytest.raises(HarnessError) as error:
        SlurmResources.load(tmp_path / "slurm.yaml")
    assert "\n" not in error.value.message
