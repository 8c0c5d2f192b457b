"""The report of ``make gpu``, on invented figures: there is no GPU where the tests run."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from harness.diagnostics.bench import Measured
from harness.files import write_json

PATH = Path(__file__).parents[2] / "scripts/gpu_report.py"


@pytest.fixture(scope="module")
def report():
    spec = importlib.util.spec_from_file_location("gpu_report", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_way_of_a_network_is_set_against_its_eager_step(report, tmp_path):
    eager = Measured("n", "Net", 1, 10.0, 0.1, 0.100, 2000.0, "H", "eager", "none", 350.0)
    recorded = Measured("n", "Net", 1, 10.0, 0.1, 0.025, 2500.0, "H", "recorded", "none")
    facts = {
        "card": "H",
        "driver": "1",
        "torch": "2",
        "cuda": "13",
        "batch": 16,
        "peak_tflops": 100.0,
        "tests": "3 passed",
        "loader_seconds": 0.05,
        "cuda_start_seconds": 2.0,
        "whole": {"slices": {"augment": 0.004, "batch": 0.03}, "volumes": {"augment": 0.015, "batch": 0.2}},
        "demos": {
            "eager": {"status": 0, "seconds": 90.0, "waiting": 0.02, "first_step_seconds": 4.0},
            "recorded": {"status": 0, "seconds": 60.0, "waiting": 0.1, "first_step_seconds": 2.5},
            "earlier": {"status": 0, "seconds": 240.0, "waiting": None, "first_step_seconds": None},
        },
    }
    report.write(tmp_path, facts, [eager, recorded], {"other": "It is too large."})
    rows = json.loads((tmp_path / "gpu.json").read_text())["networks"]
    assert [row["of_eager"] for row in rows] == [1.0, 0.25]
    assert rows[1]["images_per_second"] == pytest.approx(640)
    assert rows[0]["of_peak"] == pytest.approx(10e9 * 16 * 3 / 0.1 / 100e12)
    text = (tmp_path / "gpu.md").read_text()
    assert [row["waiting"] for row in rows] == [0.0, 0.5]
    assert [row["waiting_whole"] for row in rows] == [0.0, pytest.approx(1 / 6)]
    assert "volumes: 15.0 ms of the GPU; with 2 loader processes a batch is there every 200.0 ms" in text
    assert "| Net | recorded | none | 25.0 | 0.25 | 640 | 19.2% | 50% | 17% |" in text
    waited = "the loop waited for data 10.0% of the training"
    assert f"recorded: 60 s, 0.67 of eager, 0.25 of earlier; {waited}; first step after 2.5 s, 1.2 of CUDA" in text
    assert "other is left out" in text


def test_tests_that_fail_are_in_the_report(report):
    done = subprocess.CompletedProcess([], 1, stdout="x\n2 failed, 3 passed in 4 s\n", stderr="")
    assert report.run_tests(lambda *_, **__: done) == {"tests_status": 1, "tests": "2 failed, 3 passed in 4 s"}


def test_the_start_of_cuda_is_measured_in_processes_of_its_own(report):
    times = iter(["0.5", "2.5", "0.7"])
    assert report.cuda_start_seconds(lambda command, **_: subprocess.CompletedProcess(command, 0, next(times))) == 0.7


def test_a_demo_runs_with_steps_done_as_asked_and_a_failure_is_said(report, tmp_path):
    seen = {}

    def run(command, cwd, **_):
        study = Path(command[4])
        values = yaml.safe_load(study.read_text())
        results = Path(command[command.index("--results") + 1])
        seen[results.parent.name] = (command[0], cwd, values["profiles"]["demo"]["protocol"])
        cell = results / "cells/a/result"
        cell.mkdir(parents=True)
        pd.DataFrame({"seconds": [1.0, 3.0], "waiting": [0.5, 0.1]}).to_parquet(cell / "history.parquet")
        write_json(cell / "summary.json", {"first_step_seconds": 3.5})
        return subprocess.CompletedProcess(command, results.parent.name == "earlier")

    earlier = tmp_path / "old"
    (earlier / "studies").mkdir(parents=True)
    (earlier / "studies/ablation_tcfaf.yaml").write_text("profiles: {demo: {protocol: demo}}")
    demos = report.run_demos(earlier, run)
    assert [demos[name]["status"] for name in ("eager", "recorded", "earlier")] == [0, 0, 1]
    assert demos["recorded"]["waiting"] == pytest.approx(0.2)
    assert demos["recorded"]["first_step_seconds"] == 3.5
    assert seen["recorded"][2] == {"base": "demo", "training": {"step": "recorded"}}
    assert seen["earlier"] == (str(earlier / ".venv/bin/python"), earlier, "demo")
    assert "earlier: failed with status" in "\n".join(report.demo_lines(demos, 2.0))
    assert "of earlier" not in "\n".join(report.demo_lines(demos, 2.0)), "a run that failed is no measure"


@pytest.mark.slow
def test_the_making_of_batches_is_timed(report):
    assert 0 < report.loader_seconds(2, processes=1, batches=3) < 60


@pytest.mark.slow
def test_whole_batches_are_timed_on_any_device(report):
    with report.paper_batches("paper", 2, 0.25) as made:
        found = report.whole_batch_seconds(made, torch.device("cpu"), processes=1, batches=3)
    assert all(0 < seconds < 60 for seconds in found.values())


def test_only_what_is_counted_is_timed(report):
    made = iter(range(10))
    assert report.seconds_each(made, 3, 4) >= 0
    assert next(made) == 7


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured(report, tmp_path, capsys):
    assert report.main(["--out", str(tmp_path / "out")]) == 2
    assert "nothing is measured" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
