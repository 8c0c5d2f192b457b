"""The interval of a difference of two means: by scipy's reference, and by how often it misses a true difference."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_ind_from_stats

from harness.statistics.two_means import chance_of_cases, chance_of_trainings, interval_of_difference, largest_sd

REPLICATIONS = 1000


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_without_seeds_it_is_welchs_interval(level):
    """Its end lies at 0 where Welch's test gives p = 1 - level."""
    low, high = interval_of_difference(0.05, [chance_of_cases(0.12, 19), chance_of_cases(0.2, 67)], level)
    half = (high - low) / 2
    assert (low + high) / 2 == pytest.approx(0.05)
    assert ttest_ind_from_stats(half, 0.12, 19, 0, 0.2, 67, equal_var=False).pvalue == pytest.approx(1 - level)


def test_three_seeds_say_little_of_how_trainings_differ():
    """Student's t with two degrees of freedom: 4.303."""
    assert interval_of_difference(0, [chance_of_trainings(0.01, 3)]).high == pytest.approx(
        4.3027 * 0.01 * (4 / 3) ** 0.5, rel=1e-4
    )


def test_without_chance_it_has_no_width():
    assert interval_of_difference(0.1, [chance_of_cases(0, 9), chance_of_cases(0, 9)]) == (0.1, 0.1)


def dice(random, shape):
    """Most cases good, one in sixteen missed."""
    return random.beta(12, 2, shape) * (random.random(shape) > 0.06)


def distance(random, shape):
    return random.lognormal(1, 0.8, shape)


@pytest.mark.parametrize("law", [dice, distance])
@pytest.mark.parametrize("cases", [19, 67])
@pytest.mark.parametrize(("seeds", "spread"), [(1, 0), (3, 1)])
def test_of_perfect_replications_about_one_in_twenty_is_called_different(law, cases, seeds, spread):
    """Same method, other cases, other trainings.

    A training moves each case by half of the SD over cases, and all of them together by ``spread`` standard errors.
    """
    random = np.random.default_rng(0)
    hard = law(random, (REPLICATIONS, 2, 1, cases))
    noise = random.normal(0, 0.5 * hard.std(), (REPLICATIONS, 2, seeds, cases))
    moved = random.normal(0, spread * hard.std() / np.sqrt(cases), (REPLICATIONS, 2, seeds, 1))
    different, outside_ours = 0, 0
    for ours, (theirs, *_) in hard + noise + moved:
        values, by_seed = ours.mean(axis=0), ours.mean(axis=1)
        difference = values.mean() - theirs.mean()
        chances = [chance_of_cases(each.std(ddof=1), cases) for each in (values, theirs)]
        if seeds > 1:
            chances.append(chance_of_trainings(by_seed.std(ddof=1), seeds))
        low, high = interval_of_difference(difference, chances)
        different += not low <= 0 <= high
        outside_ours += abs(difference) > 1.96 * values.std(ddof=1) / np.sqrt(cases)
    print(f"{law.__name__}, {cases} cases, {seeds} seeds: {different} and {outside_ours} of {REPLICATIONS}")
    assert 0.02 < different / REPLICATIONS < 0.07
    assert outside_ours / REPLICATIONS > 0.14  # the rule of 0.2.0: is their mean in our interval?


def test_a_real_difference_is_called_one():
    low, _ = interval_of_difference(
        0.1, [chance_of_cases(0.1, 67), chance_of_cases(0.1, 67), chance_of_trainings(0.005, 3)]
    )
    assert low > 0


@pytest.mark.parametrize(("mean", "cases"), [(0.921, 4), (0.5, 3), (0.25, 4), (0.0, 5), (1.0, 5)])
def test_no_values_with_that_mean_spread_further(mean, cases):
    bound = largest_sd(mean, cases)
    random = np.random.default_rng(0)
    values = random.beta(0.3, 0.3, (20_000, cases))
    near = values[np.abs(values.mean(axis=1) - mean) < 0.005]
    assert all(near.std(axis=1, ddof=1) < bound + 0.02)
    ones = int(cases * mean)
    extreme = np.array([1.0] * ones + [cases * mean - ones] + [0.0] * cases)[:cases]
    assert extreme.mean() == pytest.approx(mean)
    assert extreme.std(ddof=1) == pytest.approx(bound)
