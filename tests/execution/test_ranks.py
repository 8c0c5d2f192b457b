"""Several processes that train one cell: the curve of one process, one checkpoint, one result."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from harness.errors import TrainingError
from harness.execution.cell import run_cell
from harness.results.store import Store
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


def test_two_processes_give_the_loss_curve_and_the_weights_of_one(cell, project):
    spec, folder = cell
    found = {}
    for ranks in (1, 2):
        made = folder(f"results{ranks}")
        run_cell(spec, made, project / "cache", "cpu", ranks=ranks)
        found[ranks] = pd.read_parquet(made.result / "history.parquet"), load_file(made.result / "weights.safetensors")
        assert made.summary()["ranks"] == ranks
    (history, weights), (together, shared) = found[1], found[2]
    assert together["loss"].to_numpy() == pytest.approx(history["loss"].to_numpy(), rel=1e-5)
    assert together["val_dice"].to_numpy() == pytest.approx(history["val_dice"].to_numpy(), abs=1e-3, nan_ok=True)
    for name, value in weights.items():
        torch.testing.assert_close(shared[name], value, rtol=1e-3, atol=1e-5)
    assert history["loss"].iloc[-1] < history["loss"].iloc[0], "a curve that moves"


@pytest.mark.slow
def test_processes_that_are_stopped_continue_together_from_one_checkpoint(cell, project):
    spec, folder = cell
    whole, parts = folder("whole"), folder("parts")
    run_cell(spec, whole, project / "cache", "cpu", ranks=2)
    calls = iter(range(100))
    with pytest.raises(Interrupted):
        run_cell(spec, parts, project / "cache", "cpu", lambda: next(calls) >= 4, ranks=2)
    run_cell(spec, parts, project / "cache", "cpu", ranks=2)
    one, other = (load_file(made.result / "weights.safetensors") for made in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_batchnorm_is_refused_on_a_cpu(tmp_path):
    with join(0, 1, CPU, tmp_path / "meeting") as ranks:
        with pytest.raises(TrainingError, match="BatchNorm") as error:
            ranks.prepare(nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)))
        assert "SyncBatchNorm for GPUs only" in error.value.hint
        assert isinstance(ranks.prepare(nn.Sequential(nn.InstanceNorm2d(1))), nn.Sequential)


def test_the_parts_of_a_batch_are_the_batch():
    parts = []
    for rank in range(3):
        ranks = Ranks()
        ranks.rank, ranks.size = rank, 3
        parts += ranks.part(6)
    assert parts == list(range(6))


def test_a_batch_that_cannot_be_divided_is_refused():
    ranks = Ranks()
    ranks.size = 4
    with pytest.raises(TrainingError, match="batch of 6 cannot be divided equally among 4"):
        ranks.part(6)
