"""Whole cells in which all is recorded that can be, by a list of operators on a CPU: the numbers of eager ones."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
import torch
from forked_worker import server, work
from safetensors.torch import load_file

from harness.errors import RecordingError
from harness.execution.cell.missing_modalities import evaluate_subsets
from harness.execution.cell.run import run_cell, run_rung, run_trial
from harness.execution.workers.exit_status import FAILED
from harness.recording.tape import TapeRecorder
from harness.results.store import Store
from harness.results.subsets import CellSubsets
from harness.study.expansion import load_study
from harness.training.step_mode import Recording

pytestmark = pytest.mark.usefixtures("toys")

CPU = torch.device("cpu")


class Recorders:
    """Makes recorders for a CPU, and keeps them."""

    class Counting(TapeRecorder):
        captures = 0

        def capture(self, work):
            self.captures += 1
            return super().capture(work)

    def __init__(self):
        self.made = []

    def make(self, device):
        self.made.append(self.Counting())
        return self.made[-1]

    @property
    def recording(self):
        return Recording(make=self.make, device_type="cpu")

    @property
    def captures(self):
        """Of the training step, of windows of cases, of patches."""
        return [one.captures for one in self.made]


@pytest.fixture
def make_cells(write_study, project):
    """Returns a function that plans a cell and returns a folder for each way to compute it."""

    def make(*names, model="toy", step="auto", **training):
        training = {"epochs": 3, "steps_per_epoch": 2, "validate_every": 1, "refresh_batchnorm": 2, **training}
        protocol = {"base": "demo", "patch_size": [64, 64], "inference": {"batch_size": 2}}
        protocol["sampling"] = {"batch_size": 2, "cases": "training"}
        study = write_study(
            protocol={**protocol, "training": {**training, "step": step}},
            matrix={"dataset": ["cortex"], "model": [model]},
        )
        (planned,) = load_study(study).cells
        found = [Store(project / name).cell(planned.spec.id) for name in names]
        for cell in found:
            cell.write_spec(planned.spec.to_json())
        return planned.spec, *found

    return make


def test_a_cell_and_its_subsets_are_those_of_eager_work(make_cells, project):
    spec, eager, recorded = make_cells("eager", "recorded")
    recorders, cache = Recorders(), project / "cache"
    run_cell(spec, eager, cache, "cpu")
    run_cell(spec, recorded, cache, "cpu", recording=recorders.recording)
    assert (eager.summary().step, recorded.summary().step) == ("eager", "recorded")
    assert all(0 < one.first_step_seconds < one.attempt_seconds for one in (eager.summary(), recorded.summary()))
    assert recorders.captures == [1, 1, 0]
    weights, theirs = (load_file(cell.result / "weights.safetensors") for cell in (eager, recorded))
    assert all(torch.equal(weights[name], theirs[name]) for name in weights)
    assert_close(*(pd.read_parquet(cell.result / "cases.parquet") for cell in (eager, recorded)))

    recorders = Recorders()
    evaluate_subsets(eager, [("t1",), ("epi",)], None, cache, CPU)
    evaluate_subsets(recorded, [("t1",), ("epi",)], None, cache, CPU, recording=recorders.recording)
    assert recorders.captures == [1], "one for all subsets"
    for (_, mine), (_, other) in zip(*(CellSubsets(cell).results() for cell in (eager, recorded)), strict=True):
        assert_close(pd.read_parquet(mine), pd.read_parquet(other))


def assert_close(one, other):
    """Up to the rounding of padded batches."""
    assert len(one)
    pd.testing.assert_frame_equal(one, other, rtol=1e-3)


def test_a_trial_and_a_rung_with_patches_are_those_of_eager_work(make_cells, project):
    spec, *cells = make_cells("eager", "recorded", validate_on="patches", validation_batches=3)
    recorders, cache = Recorders(), project / "cache"
    for cell, recording in zip(cells, (Recording(), recorders.recording), strict=True):
        run_rung(spec, cell, cache, 2, "cpu", recording=recording)
    rungs = [cell.rung(2) for cell in cells]
    assert rungs[0].scores == rungs[1].scores
    assert recorders.captures == [1, 1, 1]
    recorders.made.clear()
    for cell, recording in zip(cells, (Recording(), recorders.recording), strict=True):
        run_trial(spec, cell, cache, "cpu", recording=recording)
    trials = [cell.trial_summary() for cell in cells]
    assert trials[0] == trials[1]
    assert recorders.captures[1:] == [1, 1]


def test_a_network_that_reads_the_host_is_refused_before_training_and_goes_on_eager(make_cells, project):
    spec, cell = make_cells("results", model="toy_reading")
    with pytest.raises(RecordingError, match="reads a value back"):
        run_cell(spec, cell, project / "cache", "cpu", recording=Recorders().recording)
    assert cell.progress().step == 0
    run_cell(spec, cell, project / "cache", "cpu", recording=Recording(eager=True, device_type="cpu"))
    assert cell.summary().step == "eager"


@pytest.mark.linux("forks a process that has imported torch")
@pytest.mark.parametrize(
    ("place", "words"),
    [
        (["--device", "cpu"], "only a CUDA GPU records"),
        (["--device", "cuda:0", "--ranks", "2"], "2 GPUs train the cell"),
    ],
)
def test_recorded_where_that_is_impossible_is_refused_before_data_are_prepared(make_cells, project, place, words):
    _, cell = make_cells("results", step="recorded")
    process = server().Process(target=work, args=([str(cell.path), "--cache", "cache", *place], dict(os.environ)))
    process.start()
    process.join(120)
    assert process.exitcode == FAILED
    failure = cell.failure()
    assert words in failure.reason
    assert "training.step: auto" in failure.hint
    assert failure.kind == "refused"
    assert not Path("cache").exists()


def test_subsets_of_a_recorded_cell_need_no_gpu(make_cells, project):
    spec, cell = make_cells("results", step="recorded")
    run_cell(spec, cell, project / "cache", "cpu", recording=Recorders().recording)
    evaluate_subsets(cell, [("t1",)], None, project / "cache", CPU)
    assert len(list(CellSubsets(cell).results())) == 1
