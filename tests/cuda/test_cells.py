"""Whole cells with recorded steps, through the command line; on a CPU, where nothing is recorded, with eager ones."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
import torch

from harness.cli import main
from harness.results.store import Store

pytestmark = pytest.mark.usefixtures("toys")


@pytest.fixture(params=[pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.cuda)])
def place(request):
    """Where the cells run: on the GPU if there is one."""
    if request.param == "cpu" and torch.cuda.is_available():
        pytest.skip("the GPU's variant says more")
    return request.param


def protocol(step):
    return {
        "base": "demo",
        "patch_size": [64, 64],
        "sampling": {"batch_size": 2},
        "training": {"epochs": 3, "steps_per_epoch": 4, "validate_every": 1, "refresh_batchnorm": 2, "step": step},
    }


def run(write_study, model, *arguments, step="auto", seeds=(0,)):
    """Runs a study; returns its status and its cells."""
    matrix = {"dataset": ["cortex"], "model": [model], "seed": list(seeds)}
    study = write_study(protocol=protocol(step), matrix=matrix)
    status = main(["run", str(study), "--no-mlflow", *arguments])
    return status, list(Store(Path("results")).cells())


def test_what_does_not_fit_is_trained_in_parts_and_recorded(write_study, place):
    """On a GPU memory really runs out: the network wants 1.2 of the card for the whole batch."""
    status, (cell,) = run(write_study, "toy_large", "--workers", "1")
    assert status == 0
    summary = cell.summary()
    assert (summary.accumulate, [one.kind for one in summary.failures]) == (2, ["cuda_out_of_memory"])
    assert summary.step == {"cuda": "recorded", "cpu": "eager"}[place]
    if place == "cuda":
        card = torch.cuda.get_device_properties(0).total_memory / 1e6
        assert 0.6 * card <= summary.reserved_memory_mb <= card


def test_cells_share_a_gpu_by_the_memory_that_one_of_them_took(write_study, place):
    sharing = {"cuda": ["--cells-per-gpu", "auto"], "cpu": ["--workers", "2"]}[place]
    status, cells = run(write_study, "toy", *sharing, seeds=(0, 1, 2))
    assert status == 0
    summaries = [cell.summary() for cell in cells]
    assert len(summaries) == 3
    assert any(a.started < b.finished and b.started < a.finished for a, b in combinations(summaries, 2)), (
        "two at a time"
    )
    if place == "cuda":
        assert {one.step for one in summaries} == {"recorded"}
        assert all(0 < one.peak_memory_mb <= one.reserved_memory_mb for one in summaries)


def test_a_network_that_reads_the_host_goes_on_eager_in_a_new_attempt(write_study, place):
    status, (cell,) = run(write_study, "toy_reading")
    assert status == 0
    summary = cell.summary()
    assert summary.step == "eager"
    assert [one.kind for one in summary.failures] == (["not_recorded"] if place == "cuda" else [])
    assert all("reads a value back" in one.reason for one in summary.failures)


@pytest.mark.cuda
def test_a_network_that_reads_the_host_fails_where_recording_is_asked_for(write_study):
    status, (cell,) = run(write_study, "toy_reading", step="recorded")
    assert status == 1
    assert cell.failure().kind == "not_recorded"
    assert cell.progress().step == 0
