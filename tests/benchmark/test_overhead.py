"""What the harness costs beside the training itself: ratios of one run, on a quiet machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import pytest
import torch
import yaml
from torch import nn

from harness.data.batches.batches import stream
from harness.execution.cell.problem import open_problem
from harness.execution.cell.run import run_cell
from harness.execution.cell.training import _build, _load, _trainer
from harness.execution.workers.attempt import Attempt
from harness.execution.workers.process import CPU_ALLOCATOR, Slot, WorkerProcess
from harness.randomness import derive
from harness.results.store import Store
from harness.study.expansion import load_study
from harness.training.determinism import set_determinism
from harness.training.loop import Trainer
from harness.training.loss import SegmentationLoss
from harness.training.optimiser import learning_rate, make_optimiser
from harness.training.ranks import Ranks

pytestmark = [pytest.mark.benchmark, pytest.mark.usefixtures("embedded")]

CPU = torch.device("cpu")


@pytest.fixture
def embedded(tmp_path, monkeypatch):
    """The embedded person as it ships, and an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARNESS_DATA_CORTEX", raising=False)


def plan(matrix, protocol="demo", name="overhead"):
    path = Path(f"{name}.yaml")
    study = {"name": name, "protocol": protocol, "matrix": {"dataset": ["cortex"], **matrix}}
    path.write_text(yaml.safe_dump(study))
    return load_study(path)


class Bare:
    """A training loop as one writes it in a notebook: batches, forward, backward, step, and nothing else."""

    def __init__(self, spec, cache):
        self.problem = open_problem(spec)
        self.data = _load(self.problem, cache, lambda _: None)

    def run(self) -> float:
        protocol, settings = self.problem.spec.protocol, self.problem.spec.protocol.training
        trainer = _trainer(self.problem, _build(self.problem, "init"), self.data, CPU, Folder, None, 1, Ranks())
        network = _build(self.problem, "init").to(memory_format=torch.channels_last)
        loss_of = SegmentationLoss(settings.loss, getattr(network, "deep_supervision_weights", ()))
        optimiser = make_optimiser(network.parameters(), settings.optimiser)
        network.train()
        began = time.perf_counter()
        last = settings.epochs * settings.steps_per_epoch
        for step, batch in enumerate(stream(trainer._batches, 0, last, 0, pin_memory=False)):
            torch.manual_seed(derive(self.problem.spec.seed, "step", step))
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, settings)
            optimiser.zero_grad(set_to_none=True)
            loss = loss_of(network(batch.images.contiguous(memory_format=torch.channels_last)), batch.labels)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), settings.optimiser.clip_norm)
            optimiser.step()
        self.loss = float(loss.detach())
        assert protocol.training.precision == "fp32", "the bare loop knows no other"
        return time.perf_counter() - began


class Folder:
    """The bare loop keeps nothing."""

    work = Path("nowhere")


def test_a_cell_costs_little_more_than_a_bare_loop(tmp_path):
    """Progress files, validation, checkpoints and history of the demo protocol, against the loop alone."""
    training = {"epochs": 4, "validate_every": 4, "refresh_batchnorm": 0}  # demo: 10, validated twice
    protocol = {"base": "demo", "training": training}
    (cell,) = plan({"model": [{"name": "aahn", "preset": "tiny"}]}, protocol).cells
    set_determinism("strict", CPU)
    torch.set_num_threads(1)
    bare = Bare(cell.spec, tmp_path / "cache")
    spent = []
    run = Trainer.run

    def timed(self):
        began = time.perf_counter()
        history = run(self)
        spent.append((time.perf_counter() - began, sum(epoch.seconds for epoch in history)))
        return history

    ratios, steps_alone = [], []
    Trainer.run = timed
    try:
        for number in range(3):
            seconds = bare.run()
            folder = Store(tmp_path / f"results{number}").cell(cell.spec.id)
            folder.write_spec(cell.spec.to_json())
            run_cell(cell.spec, folder, tmp_path / "cache", "cpu")
            whole, steps = spent[-1]
            ratios.append(whole / seconds)
            steps_alone.append(steps / seconds)
            print(f"bare {seconds:.2f} s, cell {whole:.2f} s (steps alone {steps:.2f} s)")
    finally:
        Trainer.run = run
    print(f"cell / bare loop: {median(ratios):.3f} with validation, {median(steps_alone):.3f} without")
    assert median(steps_alone) <= 1.05
    assert median(ratios) <= 1.05


def test_planning_ten_thousand_cells_takes_less_than_two_seconds():
    seeds = list(range(1250))
    models = [{"name": "aahn", "preset": "tiny", "sweep": {"tcfaf": ["none", "ca", "cma", "full"]}}]
    matrix = {"model": models, "leading": ["all"], "seed": seeds}
    plan({**matrix, "seed": [0]})  # imports and the files of the data are not what is measured
    began = time.perf_counter()
    loaded = plan({**matrix, "seed": seeds, "fold": [0]}, name="large")
    seconds = time.perf_counter() - began
    each = seconds / len(loaded.cells)
    print(f"planning {len(loaded.cells):,} cells: {seconds:.2f} s, 10,000: {each * 10_000:.2f} s")
    assert each * 10_000 < 2


#: Makes any process that imports the training loop say when its first step is done, and end.
FIRST_STEP = """
import os, sys
if "HARNESS_BENCHMARK_FIRST_STEP" in os.environ:
    from harness.training.loop import Trainer
    step = Trainer.train_step
    def first(self, batch):
        step(self, batch)
        print("first step", flush=True)
        os._exit(9)
    Trainer.train_step = first
"""


def test_the_first_step_is_done_within_six_seconds_of_the_start(tmp_path, monkeypatch):
    """Imports, data from the cache, network, first batch and step; from nothing, and forked from a server."""
    (cell,) = plan({"model": [{"name": "aahn", "preset": "tiny"}]}).cells
    Bare(cell.spec, tmp_path / "cache")
    folder = Store(tmp_path / "results").cell(cell.spec.id)
    folder.write_spec(cell.spec.to_json())
    (tmp_path / "sitecustomize.py").write_text(FIRST_STEP)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("HARNESS_BENCHMARK_FIRST_STEP", "1")

    def seconds(fork):
        folder.clear_work()
        began = time.perf_counter()
        process = WorkerProcess(Attempt(folder, tmp_path / "cache"), Slot("cpu", None, 1), fork)
        while "first step" not in folder.log_tail():
            assert time.perf_counter() - began < 60, folder.log_tail()
            time.sleep(0.005)
        found = time.perf_counter() - began
        process.wait()
        return found

    ready = seconds(fork=True)  # the fork server itself starts with the first cell
    fresh, forked = ([seconds(fork) for _ in range(3)] for fork in (False, True))
    for name, found in (("from nothing", fresh), ("first of a fork server", [ready]), ("forked", forked)):
        print(f"start to first step, {name}: {', '.join(f'{one:.2f}' for one in found)} s")
    assert median(fresh) < 6
    assert median(forked) < 2


def test_two_workers_on_two_cores_do_the_work_of_nearly_two(tmp_path):
    """The same four cells by one worker and by two, one thread each; from the written plan to the last result."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.fail("this measurement needs two cores")
    protocol = {"base": "demo", "training": {"epochs": 3, "validate_every": 3, "refresh_batchnorm": 0}}
    loaded = plan({"model": [{"name": "aahn", "preset": "tiny"}], "seed": [0, 1, 2, 3]}, protocol)
    Bare(loaded.cells[0].spec, tmp_path / "cache")
    seconds = {}
    for workers in (1, 2):
        command = [sys.executable, "-m", "harness", "run", "overhead.yaml", "--no-mlflow"]
        command += ["--workers", str(workers), "--threads", "1"]
        command += ["--results", str(tmp_path / f"results{workers}"), "--cache", str(tmp_path / "cache")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **CPU_ALLOCATOR})
        cells = tmp_path / f"results{workers}" / "cells"
        planned = max(path.stat().st_mtime for path in cells.glob("*/cell.json"))
        seconds[workers] = max(path.stat().st_mtime for path in cells.glob("*/result/summary.json")) - planned
    gain = seconds[1] / seconds[2]
    summaries = [
        json.loads(path.read_text()) for path in (tmp_path / "results2" / "cells").glob("*/result/summary.json")
    ]
    assert len(summaries) == 4
    print(f"4 cells: {seconds[1]:.1f} s with one worker, {seconds[2]:.1f} s with two: {gain:.2f} times the throughput")
    assert gain >= 1.8
