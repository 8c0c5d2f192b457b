"""The test of a cell on generated BraTS cases of the official size: scored after a prediction, or beside the next."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml

from harness.data import Split
from harness.data.datasets.brats2023 import DATASET
from harness.execution.background import Background
from harness.execution.cell.problem import open_problem
from harness.execution.cell.testing import test_cases
from harness.registry import resolve
from harness.results.records import Timing
from harness.study.expansion import load_study

pytestmark = pytest.mark.benchmark
test_cases.__test__ = False

DISTINCT, CASES = 2, 12

#: Seconds that the stand-in for a network takes for a case on one quiet core, or on a GPU.
SECONDS = 0.6


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """Dice, HD95 and the lesion-wise scores on the grid of the files, 1 mm; all cases but two are links."""
    folder = tmp_path_factory.mktemp("brats")
    resolve(DATASET.generator, "generator")(folder / "data", DISTINCT, 0, 1.0)
    distinct = sorted(path for path in (folder / "data").rglob("BraTS-GLI-*") if path.is_dir())[:DISTINCT]
    for number in range(DISTINCT, CASES):
        source = distinct[number % DISTINCT]
        name = f"BraTS-GLI-{9000 + number:05d}-000"
        (source.parent / name).mkdir()
        for file in source.iterdir():
            (source.parent / name / file.name.replace(source.name, name)).hardlink_to(file)
    dataset = {"name": "brats2023", "root": str(folder / "data")}
    study = {"name": "beside", "protocol": "paper_3d", "matrix": {"dataset": [dataset], "model": ["unetr"]}}
    (folder / "beside.yaml").write_text(yaml.safe_dump(study))
    opened = open_problem(load_study(folder / "beside.yaml").cells[0].spec)
    return replace(opened, split=Split((), (), opened.reader.cases()[:CASES]))


def compute(times: int) -> None:
    """Keeps the cores of torch's threads busy."""
    images, weights = torch.ones(1, 16, 32, 64, 64), torch.ones(16, 16, 3, 3, 3)
    with torch.inference_mode():
        for _ in range(times):
            F.conv3d(images, weights, padding=1)


def test_seconds_of_a_test_scored_after_and_beside(problem, tmp_path, request):
    """The label maps that are scored are the truth moved by two voxels, as of a trained network."""
    labels = {name: np.roll(problem.reader.load(name).label, 2, axis=0) for name in problem.split.test}
    before = torch.get_num_threads()
    request.addfinalizer(lambda: torch.set_num_threads(before))
    torch.set_num_threads(1)
    compute(2)
    began = time.process_time()
    compute(4)
    times = max(1, round(SECONDS / ((time.process_time() - began) / 4)))

    def on_a_gpu(name):
        time.sleep(SECONDS)
        return labels[name]

    def on_a_cpu(name):
        compute(times)
        return labels[name]

    print(f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {CASES} cases of 240 x 240 x 155")
    for where, predict, threads, most in (
        ("a GPU (it sleeps)", on_a_gpu, 1, 2),
        ("a CPU, 1 thread", on_a_cpu, 1, 1),
        ("a CPU, 2 threads", on_a_cpu, 2, 1),
    ):
        torch.set_num_threads(threads)
        serial = 0.0
        for count in range(most + 1):
            whole, latency, own = timed(problem, predict, tmp_path / f"{where}{count}", count)
            serial = serial or whole
            print(
                f"  {where:18s} {count} beside: {whole:5.2f} s a case, x {serial / whole:.2f}; "
                f"prediction {latency:.2f} s; {own:.2f} core-s of the cell's process"
            )


def timed(problem, predict, folder: Path, processes) -> tuple[float, float, float]:
    """Seconds per case of the whole test, of its prediction, and of this process; the start of others counts."""
    folder.mkdir()
    began, core = time.perf_counter(), time.process_time()
    test_cases(problem, predict, folder, lambda work: Background(work, processes))
    core = time.process_time() - core
    latency = Timing.read(folder / "testing.json").latency_seconds
    return (time.perf_counter() - began) / CASES, latency, core / CASES
