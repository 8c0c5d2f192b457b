"""SIGKILL at random times: the tables in the end are those of an undisturbed run, and nothing is computed twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from forked_worker import server, work
from safetensors.torch import load_file

from harness.cli import main
from harness.execution.cell.run import run_cell
from harness.execution.workers import worker
from harness.results.store import Store
from harness.study.expansion import load_study
from harness.training.loop import Interrupted, Trainer

pytestmark = [pytest.mark.usefixtures("toys"), pytest.mark.linux("forks processes that have imported torch")]


def protocol(epochs, step="eager"):
    training = {"epochs": epochs, "steps_per_epoch": 4, "validate_every": 5, "refresh_batchnorm": 2, "step": step}
    return {
        "base": "demo",
        "patch_size": [64, 64],
        "sampling": {"batch_size": 2},
        "training": training,
    }


def assert_same_result(one, other):
    for table in ("cases", "floors"):
        tables = [pd.read_parquet(cell.result / f"{table}.parquet") for cell in (one, other)]
        pd.testing.assert_frame_equal(*tables, check_exact=True)
    histories = [pd.read_parquet(cell.result / "history.parquet") for cell in (one, other)]
    clocks = ["seconds", "waiting"]
    pd.testing.assert_frame_equal(*(table.drop(columns=clocks) for table in histories), check_exact=True)
    first, second = (load_file(cell.result / "weights.safetensors") for cell in (one, other))
    assert all(torch.equal(first[name], second[name]) for name in second)


def start_worker(cell, cache, *more, device="cpu"):
    """Starts the worker of a cell in a process that has everything imported already."""
    arguments = [str(cell.path), "--cache", str(cache), "--device", device, "--threads", "1", *more]
    process = server().Process(target=work, args=(arguments, dict(os.environ)))
    process.start()
    return process


def run_worker(cell, cache, *more, device="cpu"):
    """Returns the exit status of a worker that nobody disturbs."""
    process = start_worker(cell, cache, *more, device=device)
    process.join(120)
    return process.exitcode


def wait_for_steps(process, cell, beyond=0):
    """Waits until the worker has written more steps than that; returns the first number that it wrote."""
    first, seen = None, cell.progress()
    deadline = time.monotonic() + 120
    while seen.pid != process.pid or seen.step <= beyond:
        if seen.pid == process.pid and seen.step:
            first = first or seen.step
        assert process.is_alive(), f"it ended with {process.exitcode}"
        assert time.monotonic() < deadline, "it trains nothing"
        time.sleep(0.01)
        seen = cell.progress()
    return first or seen.step


def steps_kept(cell):
    return torch.load(cell.work / "last.pt", weights_only=True)["state"]["step"]


@pytest.mark.parametrize(
    ("device", "step", "epochs"),
    [
        ("cpu", "eager", 12),
        # Replayed, the network does not take its time: there are many steps instead.
        pytest.param("cuda:0", "recorded", 400, marks=pytest.mark.cuda),
    ],
)
def test_a_cell_killed_three_times_at_random_gives_the_numbers_of_one_left_alone(
    write_study, project, monkeypatch, device, step, epochs
):
    (planned,) = load_study(
        write_study(protocol=protocol(epochs, step), matrix={"dataset": ["cortex"], "model": ["toy_slow"]})
    ).cells
    cells = [Store(project / name).cell(planned.spec.id) for name in ("whole", "killed")]
    for cell in cells:
        cell.write_spec(planned.spec.to_json())
    chance = random.Random(7)
    kept = 0
    for _ in range(3):
        process = start_worker(cells[1], project / "cache", device=device)
        try:
            assert wait_for_steps(process, cells[1], kept) >= kept, "what was done before a kill is not done again"
            time.sleep(chance.uniform(0, 0.3))
        finally:
            process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert cells[1].status() == "interrupted", "a dead worker holds nothing"
        assert kept < steps_kept(cells[1]) < epochs * 4
        kept = steps_kept(cells[1])
    monkeypatch.setenv("TOY_PAUSE", "0")
    assert [run_worker(cell, project / "cache", device=device) for cell in cells] == [worker.DONE, worker.DONE]
    assert_same_result(*cells)
    assert [cell.summary().step for cell in cells] == [step, step]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_worker_that_is_asked_to_stop_leaves_a_checkpoint(write_study, project, number):
    """SIGUSR2 is what Slurm sends before the time limit."""
    (planned,) = load_study(
        write_study(protocol=protocol(99), matrix={"dataset": ["cortex"], "model": ["toy_slow"]})
    ).cells
    cell = Store(project / "results").cell(planned.spec.id)
    cell.write_spec(planned.spec.to_json())
    process = start_worker(cell, project / "cache")
    try:
        seen = wait_for_steps(process, cell)
        os.kill(process.pid, number)
        process.join(60)
    finally:
        process.kill()
    assert process.exitcode == worker.STOPPED
    assert cell.status() == "interrupted"
    assert steps_kept(cell) >= seen
    assert cell.failure() is None


def test_a_worker_whose_starter_died_before_it_could_look_stops(write_study, project):
    (planned,) = load_study(write_study(protocol=protocol(99))).cells
    cell = Store(project / "results").cell(planned.spec.id)
    cell.write_spec(planned.spec.to_json())
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert run_worker(cell, project / "cache", "--parent", str(gone.pid)) == worker.STOPPED
    assert cell.status() == "interrupted"
    assert cell.progress().step <= 1


def test_a_cell_that_is_stopped_while_it_is_tested_goes_on_with_testing(write_study, project, monkeypatch):
    (planned,) = load_study(write_study(protocol=protocol(2))).cells
    cell = Store(project / "results").cell(planned.spec.id)
    cell.write_spec(planned.spec.to_json())

    def compute():
        run_cell(planned.spec, cell, project / "cache", "cpu", lambda: cell.progress().phase == "testing")

    with pytest.raises(Interrupted):
        compute()
    assert cell.status() == "interrupted"
    assert not list(cell.path.glob(".*.tmp"))
    monkeypatch.setattr(Trainer, "train_step", lambda *_: pytest.fail("the training is over"), raising=True)
    run_cell(planned.spec, cell, project / "cache", "cpu")
    assert cell.status() == "done"


@pytest.mark.slow
def test_a_study_killed_twenty_times_ends_with_the_tables_of_one_left_alone(write_study):
    study = write_study(
        protocol=protocol(60), matrix={"dataset": ["cortex"], "model": ["toy_slow", "toy"], "seed": [0, 1]}
    )
    store, chance, kills = Store(Path("killed")), random.Random(20), 0
    finished = {}

    def note_finished():
        for path in (store.root / "cells").glob("*/result/summary.json"):
            finished.setdefault(path, path.stat().st_mtime_ns)

    while kills < 20:
        process = start(study)
        try:
            pids = wait_for_work(store, process)
            time.sleep(chance.uniform(0, 1.2))
            if chance.random() < 0.5:
                kills += kill(chance.choice(pids))
                time.sleep(chance.uniform(0, 1.2))
            kills += kill(process.pid)
        finally:
            process.kill()
            process.wait()
        note_finished()
    assert main(["run", str(study), "--workers", "2", "--cpu", "--no-mlflow", "--results", "killed"]) == 0
    assert main(["run", str(study), "--workers", "2", "--cpu", "--no-mlflow", "--results", "whole"]) == 0
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, "no finished cell was computed twice"
    cells = [path.name for path in (store.root / "cells").iterdir()]
    assert len(cells) == 4
    for name in cells:
        assert_same_result(store.cell(name), Store(Path("whole")).cell(name))


def start(study):
    command = [sys.executable, "-m", "harness", "run", str(study), "--workers", "2", "--cpu", "--no-mlflow"]
    return subprocess.Popen([*command, "--results", "killed"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for_work(store, process):
    """Returns the processes of workers that train."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        cells = [store.cell(path.name) for path in (store.root / "cells").glob("*")]
        owners = [cell.owner() for cell in cells]
        pids = [owner.pid for owner in owners if owner is not None]
        if pids:
            return pids
        assert process.poll() is None, "the study ended before it was killed often enough"
        time.sleep(0.05)
    raise AssertionError("no worker began")


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return 1
