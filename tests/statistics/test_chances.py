"""How sure a ranking over seeds and patients is."""

from __future__ import annotations

import numpy as np
import pytest

from harness.statistics.chances import Resamples, chances_of_best

SEEDS, PATIENTS = 3, 20


@pytest.fixture
def draws():
    return Resamples(SEEDS, PATIENTS, resamples=4000, seed=1)


def scores(mean, spread=0.05, seed=0):
    return np.random.default_rng(seed).normal(mean, spread, (SEEDS, PATIENTS))


def test_chances_sum_to_one_and_a_clear_best_has_all_of_it(draws):
    found = chances_of_best([{"a": scores(0.5), "b": scores(0.8, seed=1), "c": scores(0.4, seed=2)}], draws)
    assert sum(found.values()) == pytest.approx(1)
    assert found["b"] == 1


def test_equals_share_the_chance(draws):
    random = np.random.default_rng(3)
    base = random.normal(0.7, 0.05, (SEEDS, PATIENTS))
    noise = random.normal(0, 0.02, (SEEDS, PATIENTS))
    noise -= noise.mean()
    found = chances_of_best([{"a": base, "b": base + noise}], draws)
    assert found["a"] == pytest.approx(0.5, abs=0.1)


def test_differences_are_paired_over_patients_and_seeds(draws):
    """Patients and seeds differ far more than methods do, and all alike."""
    base = scores(0.6, spread=0.2) + np.array([[0.1], [0.0], [-0.1]])
    assert chances_of_best([{"a": base + 0.001, "b": base}], draws)["a"] == 1


def test_who_left_early_is_compared_at_the_stage_it_left(draws):
    first = {"a": scores(0.30), "b": scores(0.31, seed=1), "c": scores(0.10, seed=2)}
    second = {"a": scores(0.60, seed=3), "b": scores(0.90, seed=4)}
    found = chances_of_best([first, second], draws)
    assert found == {"a": 0.0, "b": 1.0, "c": 0.0}
    # one that left although it was no worse keeps its chance: longer trainings of others do not count against it
    base = scores(0.3, spread=0.1)
    random = np.random.default_rng(5)
    noise = random.normal(0, 0.05, base.shape)
    noise -= noise.mean()
    found = chances_of_best([{"b": base, "c": base + noise}, {"b": scores(0.9, seed=4)}], draws)
    assert found["c"] == pytest.approx(0.5, abs=0.1)


def test_who_left_is_no_likelier_the_best_than_it_was_of_those_it_left(draws):
    """`c` beats the later winner `a` in many resamples of the first stage, but never `b`, which went on with it."""
    base = scores(0.3, spread=0.1)
    wide = np.random.default_rng(5).normal(0, 0.2, base.shape)
    first = {"a": base + wide - wide.mean(), "b": base + 0.2, "c": base + 0.01}
    alone = chances_of_best([{"a": first["a"], "c": first["c"]}], draws)
    assert alone["c"] > 0.3
    found = chances_of_best([first, {"a": scores(0.9), "b": scores(0.5)}], draws)
    assert found == {"a": 1.0, "b": 0.0, "c": 0.0}


def test_the_spread_of_a_mean_over_few_seeds_is_not_too_small():
    """Drawing n of n seeds would give two thirds of the variance for three of them."""
    values = np.array([[0.0], [1.0], [2.0]]) @ np.ones((1, 1))
    means = Resamples(3, 1, resamples=40_000).means(values)
    assert means.var() == pytest.approx(values.var(ddof=1) / 3, rel=0.05)


def test_one_seed_and_one_patient_have_no_spread():
    low, high = Resamples(1, 1, resamples=100).interval(np.array([[0.4]]))
    assert low == high == 0.4
