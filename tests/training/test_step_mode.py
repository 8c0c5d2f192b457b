"""Where training steps are recorded, and where that is refused."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from harness.errors import TrainingError
from harness.recording.tape import TapeRecorder
from harness.training.settings import TrainingSettings
from harness.training.step_mode import Recording

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")


def chosen(step, device=GPU, **given):
    settings = TrainingSettings(step=step, **given.pop("settings", {}))
    recording = Recording(given.pop("eager", False), make=lambda _: TapeRecorder())
    return recording.of_steps(settings, device, **given)


@pytest.mark.parametrize("step", ["auto", "recorded"])
def test_one_gpu_records(step):
    assert chosen(step) is not None


@pytest.mark.parametrize(
    "place",
    [{"device": CPU}, {"ranks": 2}, {"eager": True}, {"settings": {"compile": "cuda-graphs"}}],
)
def test_auto_is_eager_elsewhere_and_where_an_attempt_before_was_in_vain(place):
    assert chosen("auto", **place) is None


@pytest.mark.parametrize("place", [{}, {"device": CPU}, {"ranks": 2}])
def test_eager_is_eager_everywhere(place):
    assert chosen("eager", **place) is None


@pytest.mark.parametrize(("place", "words"), [({"device": CPU}, "device `cpu`"), ({"ranks": 4}, "4 GPUs")])
def test_recorded_is_refused_where_it_is_impossible(place, words):
    with pytest.raises(TrainingError, match=words) as error:
        chosen("recorded", **place)
    assert "auto" in error.value.hint


def test_two_ways_to_record_exclude_each_other():
    with pytest.raises(ValidationError, match="both record"):
        TrainingSettings(step="recorded", compile="cuda-graphs")


def test_how_a_step_is_done_names_no_cell_and_stays_with_those_of_before():
    identities = [TrainingSettings(step=step).identity() for step in ("auto", "eager", "recorded")]
    assert identities[0] == identities[1] == identities[2]
    assert TrainingSettings.from_stored({}).step == "eager"
