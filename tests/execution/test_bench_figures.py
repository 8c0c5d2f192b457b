"""What `harness bench` measured on a GPU is what a plan for that GPU counts with, and nothing else is."""

from __future__ import annotations

import pytest

from harness.execution.costs.bench_figures import Benched, figures_of, figures_of_model, keep
from harness.execution.costs.time_estimate import Estimate, estimate, figures_here
from harness.execution.workers.process import Slot
from harness.results.store import Store
from harness.segmenters import SEGMENTERS, Task
from harness.segmenters.size import Size
from harness.study.expansion import load_study, make_task
from harness.training.settings import TrainingSettings

UNETR = SEGMENTERS.get("unetr")
TINY = UNETR.parse_options({"preset": "tiny"})
TASK = Task(("a", "b"), None, 3, (32, 32))


@pytest.fixture(autouse=True)
def user_folder(monkeypatch, tmp_path_factory):
    folder = tmp_path_factory.mktemp("user")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "aahn-harness/bench"


def settings(step, **changes):
    return TrainingSettings(step=step, **changes)


def test_a_step_is_found_by_network_input_and_way(user_folder):
    for step, compiled, seconds in (("eager", "none", 0.4), ("recorded", "none", 0.1), ("recorded", "default", 0.05)):
        keep("NVIDIA H200", Benched.of(UNETR, TASK, TINY, 16, step, compiled), seconds)
    keep("NVIDIA A100-SXM4-80GB", Benched.of(UNETR, TASK, TINY, 16, "eager", "none"), 0.7)
    here = figures_of("NVIDIA H200")
    assert (here.device, here.path) == ("NVIDIA H200", user_folder / "NVIDIA-H200.json")
    assert figures_of_model("h200") == here
    assert figures_of_model("h100") is None
    led = Task(("x", "y"), 1, 3, (32, 32))  # names and the leading modality change no time
    found = [here.step_seconds(UNETR, led, TINY, 16, settings(step)) for step in ("eager", "auto", "recorded")]
    assert found == [0.4, 0.1, 0.1]
    assert here.step_seconds(UNETR, TASK, TINY, 16, settings("auto", compile="default")) == 0.05
    unlike = [
        (TASK, TINY, 8, {}),
        (Task(("a", "b"), None, 4, (32, 32)), TINY, 16, {}),
        (Task(("a", "b"), None, 3, (64, 64)), TINY, 16, {}),
        (TASK, UNETR.parse_options({}), 16, {}),
        (TASK, TINY, 16, {"precision": "fp32"}),
        (TASK, TINY, 16, {"channels_last": False}),
        (TASK, TINY, 16, {"compile": "cuda-graphs"}),
    ]
    for task, options, batch, changes in unlike:
        assert here.step_seconds(UNETR, task, options, batch, settings("auto", **changes)) is None


@pytest.mark.parametrize("content", ["", "[]", '{"device": "NVIDIA H200"}', '{"device": "x", "step_seconds": [1]}'])
def test_a_damaged_file_counts_as_nothing_and_is_replaced(user_folder, content):
    what = Benched.of(UNETR, TASK, TINY, 16, "eager", "none")
    keep("NVIDIA H200", what, 0.4)
    (user_folder / "NVIDIA-H200.json").write_text(content)
    assert figures_of("NVIDIA H200") is None
    keep("NVIDIA H200", what, 0.3)
    assert figures_of("NVIDIA H200").seconds == {what.key: 0.3}


def test_a_home_that_cannot_be_written_keeps_nothing(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep("NVIDIA H200", Benched.of(UNETR, TASK, TINY, 16, "eager", "none"), 0.4)
    assert figures_of("NVIDIA H200") is None


@pytest.mark.usefixtures("toys")
def test_an_estimate_counts_with_measured_steps(write_study, project):
    training = {"epochs": 2, "steps_per_epoch": 2, "precision": "auto"}
    loaded = load_study(write_study(protocol={"base": "demo", "patch_size": [64, 64], "training": training}))
    (cell,) = loaded.cells
    toy, protocol = SEGMENTERS.get("toy"), cell.spec.protocol
    task = make_task(cell.spec.facts(), cell.spec.leading, protocol)
    step = Benched.of(toy, task, toy.parse_options({}), protocol.sampling.batch_size, "eager", "none")
    keep("NVIDIA H200", step, 0.25)
    sizes = {(cell.label, cell.spec.dataset): Size(1, 1.0)}
    slot, store = Slot("cpu", None, 1), Store(project / "results")
    found = estimate(loaded, sizes, store, slot, figures_of("NVIDIA H200"))
    assert found[cell.spec.id] == Estimate(4 * 0.25, estimated=True, benched=True)
    assert figures_here(slot) is None
    assert not estimate(loaded, sizes, store, slot)[cell.spec.id].benched
