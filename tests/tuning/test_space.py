"""What is searched: ranges around a protocol, the same for every network."""

from __future__ import annotations

import math

import optuna
import pytest
from pydantic import ValidationError

from harness.errors import StudyError
from harness.study.protocol import load_protocol
from harness.study.tuning import Range, TuningSettings
from harness.tuning.space import check_space, default_point, draw, overrides, trial_protocol


def test_the_first_trial_is_the_protocol_itself():
    settings, protocol = TuningSettings(), load_protocol("demo")
    drawn = default_point(protocol, settings.space)
    assert drawn is not None
    again = trial_protocol(protocol, settings, drawn)
    changed = {"training": protocol.training.model_copy(update={"validate_every": 1})}
    assert again == protocol.model_copy(update=changed)


def test_a_protocol_outside_the_space_is_not_drawn():
    assert default_point(load_protocol("demo"), {"sampling.foreground": Range(between=(0.5, 0.9))}) is None


@pytest.mark.parametrize(
    "one", [Range(between=(0, 1)), Range(choices=[0.1, 0.2]), Range(choices=[0, 0.15]), Range(factor=(0, 2), most=0.12)]
)
def test_a_protocol_that_one_value_for_many_keys_does_not_give_is_not_drawn(one):
    """The demo's probabilities differ: none of these spaces holds all of them."""
    assert default_point(load_protocol("demo"), {"augmentation.p_*": one}) is None


def test_a_key_that_is_switched_off_is_not_drawn():
    protocol = load_protocol({"base": "demo", "training": {"optimiser": {"clip_norm": None}}})
    assert default_point(protocol, {"training.optimiser.clip_norm": Range(between=(1, 12))}) is None


def test_a_factor_on_many_keys_stops_at_its_limit():
    protocol = load_protocol({"base": "demo", "augmentation": {"p_noise": 0.8}})
    space = {"augmentation.p_*": Range(factor=(0, 2), most=1)}
    changed = overrides(protocol, space, {"augmentation.p_*": 1.5})["augmentation"]
    assert changed["p_noise"] == 1
    assert changed["p_contrast"] == pytest.approx(1.5 * protocol.augmentation.p_contrast)
    assert changed["p_rotation"] == 0


def test_every_draw_lies_within_a_factor_of_ten():
    protocol, settings = load_protocol("demo"), TuningSettings()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    rates = [
        trial_protocol(protocol, settings, draw(study.ask(), settings.space)).training.optimiser.lr for _ in range(50)
    ]
    assert min(rates) >= 1e-3
    assert max(rates) <= 1e-1
    assert max(rates) / min(rates) > 10


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({"training.optimiser.learning": Range(between=(0, 1))}, "not a key of protocol"),
        ({"training.optimiser.name": Range(factor=(0, 1))}, "not a number"),
        ({"sampling.foreground": Range(between=(0, 3))}, "less than or equal to 1"),
        ({"sampling.batch_size": Range(between=(2, 8))}, "valid integer"),
        ({"training.optimiser.name": Range(choices=["sgd", "none"])}, "sgd"),
        ({"sampling.batch_size": Range(choices=[2, 0, 4])}, "greater than or equal to 1"),
        ({"training.optimiser.lr": Range(choices=[0.1, math.inf, 0.01])}, "finite number"),
        ({"training.optimiser.lr": Range(choices=[0.1, "high", 0.01])}, "valid number"),
    ],
)
def test_a_space_that_does_not_fit_is_refused_before_anything_runs(space, says):
    with pytest.raises(StudyError, match=says):
        check_space(load_protocol("demo"), TuningSettings(space=space))


@pytest.mark.parametrize(
    "values",
    [{}, {"between": (0, 1), "factor": (0, 1)}, {"between": (1, 0)}, {"factor": (0, 1), "log": True}, {"choices": [1]}],
)
def test_a_range_is_of_one_kind(values):
    with pytest.raises(ValidationError):
        Range(**values)
