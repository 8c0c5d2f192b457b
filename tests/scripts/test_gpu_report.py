"""The report of ``make gpu``, on invented figures: there is no GPU where the tests run."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path

import pytest
import torch

from harness.diagnostics.bench import Measured

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
    }
    report.write(tmp_path, facts, [eager, recorded], {"other": "It is too large."})
    rows = json.loads((tmp_path / "gpu.json").read_text())["networks"]
    assert [row["of_eager"] for row in rows] == [1.0, 0.25]
    assert rows[1]["images_per_second"] == pytest.approx(640)
    assert rows[0]["of_peak"] == pytest.approx(10e9 * 16 * 3 / 0.1 / 100e12)
    text = (tmp_path / "gpu.md").read_text()
    assert "| Net | recorded | none | 25.0 | 0.25 | 640 |" in text
    assert "other is left out" in text


def test_tests_that_fail_are_in_the_report(report):
    done = subprocess.CompletedProcess([], 1, stdout="x\n2 failed, 3 passed in 4 s\n", stderr="")
    assert report.run_tests(lambda *_, **__: done) == {"tests_status": 1, "tests": "2 failed, 3 passed in 4 s"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured(report, tmp_path, capsys):
    assert report.main(["--out", str(tmp_path / "out")]) == 2
    assert "nothing is measured" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
