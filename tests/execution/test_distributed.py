"""Several processes that train one cell: the curve of one process, one checkpoint, one result."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from forked_worker import Forked, report_collectives, server, start_rank
from safetensors.torch import load_file
from torch import nn

from harness.errors import TrainingError
from harness.execution.cell.run import run_cell
from harness.execution.workers import distributed
from harness.execution.workers.attempt import Attempt
from harness.execution.workers.distributed import launch_ranks
from harness.execution.workers.failures import RankFailedError, explain
from harness.execution.workers.process import Slot, WorkerProcess
from harness.results.store import CellFolder, Store
from harness.study.expansion import load_study
from harness.training.loop import Interrupted
from harness.training.ranks import Ranks, join

CPU = torch.device("cpu")

PROTOCOL = {
    "base": "demo",
    "patch_size": [32, 32],
    "sampling": {"batch_size": 4},
    "training": {"epochs": 3, "steps_per_epoch": 3, "validate_every": 2, "refresh_batchnorm": 0},
}


@pytest.fixture
def cell(project, toys, write_study):
    (planned,) = load_study(
        write_study(protocol=PROTOCOL, matrix={"dataset": ["cortex"], "model": ["toy_group"]})
    ).cells

    def folder(name):
        made = Store(project / name).cell(planned.spec.id)
        made.write_spec(planned.spec.to_json())
        return made

    return planned.spec, folder


def together_on(cell, project, ranks=2, accumulate=1):
    """As the worker joins the processes of a cell."""
    return partial(launch_ranks, ranks, cell, project / "cache", CPU, accumulate)


@pytest.mark.parametrize("accumulate", [pytest.param(1, marks=pytest.mark.slow), 2])
@pytest.mark.linux("forks processes that have imported torch")
def test_two_processes_give_the_loss_curve_and_the_weights_of_one(cell, project, monkeypatch, accumulate):
    """Also where each batch is cut into parts for want of GPU memory: the parts, too, are those of one process."""
    if accumulate > 1:  # the slow one starts it from nothing
        monkeypatch.setattr(distributed, "start_rank", start_rank)
    spec, folder = cell
    found = {}
    for ranks in (1, 2):
        made = folder(f"{ranks}")
        join_ranks = together_on(made, project, ranks, accumulate)
        run_cell(spec, made, project / "cache", "cpu", join_ranks=join_ranks, accumulate=accumulate)
        found[ranks] = pd.read_parquet(made.result / "history.parquet"), load_file(made.result / "weights.safetensors")
        assert (made.summary().ranks, made.summary().accumulate) == (ranks, accumulate)
    (history, weights), (together, shared) = found[1], found[2]
    assert together["loss"].to_numpy() == pytest.approx(history["loss"].to_numpy(), rel=1e-5)
    assert together["val_dice"].to_numpy() == pytest.approx(history["val_dice"].to_numpy(), abs=1e-3, nan_ok=True)
    for name, value in weights.items():
        torch.testing.assert_close(shared[name], value, rtol=1e-3, atol=1e-5)
    assert history["loss"].iloc[-1] < history["loss"].iloc[0], "a curve that moves"


@pytest.mark.slow
@pytest.mark.linux("forks processes that have imported torch")
def test_processes_that_are_stopped_continue_together_from_one_checkpoint(cell, project):
    spec, folder = cell
    whole, parts = folder("whole"), folder("parts")
    run_cell(spec, whole, project / "cache", "cpu", join_ranks=together_on(whole, project))
    calls = iter(range(100))
    with pytest.raises(Interrupted):
        run_cell(spec, parts, project / "cache", "cpu", lambda: next(calls) >= 4, together_on(parts, project))
    run_cell(spec, parts, project / "cache", "cpu", join_ranks=together_on(parts, project))
    one, other = (load_file(made.result / "weights.safetensors") for made in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_batchnorm_is_refused_on_a_cpu(tmp_path):
    with join(0, 1, CPU, tmp_path / "rendezvous") as ranks:
        with pytest.raises(TrainingError, match="BatchNorm") as error:
            ranks.prepare(nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)))
        assert "SyncBatchNorm for GPUs only" in error.value.hint
        assert isinstance(ranks.prepare(nn.Sequential(nn.InstanceNorm2d(1))), nn.Sequential)


def parts_of(batch_size, size):
    """The positions that each of several processes works on."""
    found = []
    for rank in range(size):
        ranks = Ranks()
        ranks.rank, ranks.size = rank, size
        found.append(list(ranks.local_batch_indices(batch_size)))
    return found


def test_the_parts_of_a_batch_are_the_batch():
    assert sorted(position for part in parts_of(6, 3) for position in part) == list(range(6))


@pytest.mark.parametrize(("batch", "size", "accumulate"), [(4, 2, 2), (12, 2, 3), (12, 3, 2), (8, 4, 2), (8, 2, 1)])
def test_parts_cut_smaller_are_together_the_parts_of_one_process(batch, size, accumulate):
    """Batch Dice sees the same images at a time, whoever computes them."""
    whole = torch.arange(batch).chunk(accumulate)
    cut = [torch.tensor(part).chunk(accumulate) for part in parts_of(batch, size)]
    together = [torch.cat(parts).sort().values for parts in zip(*cut, strict=True)]
    assert all(torch.equal(one, other) for one, other in zip(whole, together, strict=True))


def test_a_batch_that_cannot_be_divided_is_refused():
    ranks = Ranks()
    ranks.size = 4
    with pytest.raises(TrainingError, match=r"batch of 6 .* 4"):
        ranks.local_batch_indices(6)


@pytest.mark.linux("forks processes that have imported torch")
def test_a_process_that_dies_at_the_start_is_noticed_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "start_rank", lambda _: Forked(server().Process(target=sys.exit, args=(1,))))
    with pytest.raises(RankFailedError) as error, launch_ranks(2, CellFolder(tmp_path), tmp_path, CPU, 1):
        raise AssertionError("there is nobody to train with")
    assert re.search("Process 2 of the 2 .* status 1", error.value.reason.text)
    assert explain(error.value, tmp_path).kind == "exception"


def test_a_stop_while_others_start_is_heard(tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "start_rank", lambda _: subprocess.Popen(["sleep", "60"]))
    with pytest.raises(Interrupted), launch_ranks(2, CellFolder(tmp_path), tmp_path, CPU, 1, lambda: True):
        raise AssertionError("training has begun")


@pytest.mark.linux("forks processes that have imported torch")
def test_one_process_that_wants_to_stop_stops_all(tmp_path):
    """Slurm signals every process of a task; each hears it at a moment of its own."""

    ours, theirs = multiprocessing.Pipe()
    other = server().Process(target=report_collectives, args=(1, tmp_path / "rendezvous", theirs))
    other.start()
    with join(0, 2, CPU, tmp_path / "rendezvous") as ranks:
        heard = [ranks.any(False), ranks.any(False), ranks.broadcast(7.0)]
    assert heard == ours.recv() == [False, True, 7.0]
    other.join()


LONG = {**PROTOCOL, "training": {**PROTOCOL["training"], "epochs": 4000, "validate_every": 4000}}


@pytest.fixture
def joint(project, toys, write_study):
    """A long training by two processes: its folder, its process, and the number of the second process."""
    study = write_study(protocol=LONG, matrix={"dataset": ["cortex"], "model": ["toy_group"]})
    (planned,) = load_study(study).cells
    made = Store(project / "results").cell(planned.spec.id)
    made.write_spec(planned.spec.to_json())
    process = WorkerProcess(Attempt(made, project / "cache"), Slot("cpu", None, 1, ranks=2), fork=True)
    deadline = time.monotonic() + 120
    while made.progress().step < 5:
        assert process.poll() is None, made.log_tail()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    worker = made.progress().pid
    yield made, process, children(worker)
    process.kill()
    process.wait()


def children(parent):
    """The processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.linux("finds processes in /proc")
def test_what_slurm_sends_before_the_limit_stops_all_with_one_checkpoint(joint):
    cell, process, (other,) = joint
    os.kill(other, signal.SIGUSR2)
    assert process.wait().state == "stopped"
    assert cell.status() == "interrupted", "the first process has written a checkpoint"
    assert cell.failure() is None
    state = torch.load(cell.work / "last.pt", weights_only=True)["state"]
    assert state["step"] >= 5


@pytest.mark.slow
@pytest.mark.linux("finds processes in /proc")
def test_a_process_that_is_killed_midway_is_a_failure_within_seconds(joint):
    cell, process, (other,) = joint
    began = time.monotonic()
    os.kill(other, signal.SIGKILL)
    assert process.wait().state == "failed"
    assert time.monotonic() - began < 30
    failure = cell.failure()
    assert failure.kind == "killed"
    assert "Process 2 of the 2" in failure.reason
