"""Whole cells whose batches are augmented as on a GPU, by a CPU."""

from __future__ import annotations

from itertools import count

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from harness.errors import TrainingError
from harness.execution.cell.run import run_cell, run_trial
from harness.results.store import Store
from harness.study.expansion import load_study
from harness.training.loop import Interrupted

pytestmark = pytest.mark.usefixtures("toys")


@pytest.fixture
def make_cells(write_study, project):
    """Returns a function that plans a cell and returns a folder for each way to compute it."""

    def make(device, *names):
        protocol = {
            "base": "demo",
            "patch_size": [64, 64],
            "sampling": {"batch_size": 2},
            "augmentation": {"device": device, "p_noise": 1},
            "training": {"epochs": 2, "steps_per_epoch": 3, "validate_every": 2},
        }
        (planned,) = load_study(write_study(protocol=protocol, matrix={"dataset": ["cortex"], "model": ["toy"]})).cells
        found = [Store(project / name).cell(planned.spec.id) for name in names]
        for cell in found:
            cell.write_spec(planned.spec.to_json())
        return planned.spec, *found

    return make


def test_a_cell_that_goes_on_where_there_is_no_gpu_ends_as_it_would_have(make_cells, project):
    spec, whole, parts, by_patch = make_cells("auto", "whole", "parts", "by_patch")
    cache, calls = project / "cache", count(1)
    run_cell(spec, whole, cache, "cpu", augments_on="cpu")
    with pytest.raises(Interrupted):
        run_cell(spec, parts, cache, "cpu", lambda: next(calls) >= 4, augments_on="cpu")
    run_cell(spec, parts, cache, "cpu")
    run_cell(spec, by_patch, cache, "cpu")
    assert [cell.summary().augmentation for cell in (whole, parts, by_patch)] == ["gpu", "gpu", "cpu"]
    weights = [load_file(cell.result / "weights.safetensors") for cell in (whole, parts, by_patch)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])
    scores = [pd.read_parquet(cell.result / "cases.parquet") for cell in (whole, parts)]
    pd.testing.assert_frame_equal(*scores)


def test_a_gpu_is_refused_before_data_are_prepared(make_cells, project):
    spec, cell = make_cells("gpu", "results")
    for run in (run_cell, run_trial):
        with pytest.raises(TrainingError, match="only a CUDA GPU"):
            run(spec, cell, project / "cache", "cpu")
    assert not (project / "cache").exists()
