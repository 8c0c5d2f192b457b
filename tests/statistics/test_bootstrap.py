from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import bootstrap

from harness.statistics.bootstrap import (
    LEAST_PATIENTS,
    RESAMPLES,
    bootstrap_means,
    few_patients,
    mean_intervals,
    median_intervals,
)


@pytest.mark.parametrize("patients", [6, 23, 60])
def test_intervals_of_means_are_those_of_scipy(patients: int) -> None:
    # Multiples of 1/1024, so that no mean of few patients ties with another by rounding alone.
    values = np.rint(1024 * np.random.default_rng(3).beta(8, 2, (patients, 3))) / 1024
    for column, found in enumerate(mean_intervals(values)):
        expected = bootstrap(
            (values[:, column],), np.mean, n_resamples=RESAMPLES, method="BCa", rng=np.random.default_rng(0)
        ).confidence_interval
        assert found == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_intervals_of_differences_are_those_of_paired_scipy() -> None:
    values = np.random.default_rng(4).beta(8, 2, (40, 2))
    means = bootstrap_means(values)
    (found,) = mean_intervals(values[:, :1] - values[:, 1:], means=means[:, :1] - means[:, 1:])
    expected = bootstrap(
        (values[:, 0], values[:, 1]),
        lambda first, second, axis: first.mean(axis) - second.mean(axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert found == pytest.approx((expected.low, expected.high), rel=1e-6)


@pytest.mark.parametrize("patients", [9, 10])
def test_intervals_of_medians_are_those_of_scipy_up_to_the_draw(patients: int) -> None:
    # Two draws of the same distribution: order statistics here, whole resamples there.
    values = np.random.default_rng(5).normal(0, 1, (patients, 1))
    (found,) = median_intervals(values, resamples=40_000)
    expected = bootstrap(
        (values[:, 0],), np.median, n_resamples=40_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert found == pytest.approx((expected.low, expected.high), abs=0.12)


def test_the_median_s_distribution_by_enumeration() -> None:
    """All 6 ** 6 resamples of six patients."""
    values = np.arange(6.0)
    medians = np.median(list(itertools.product(values, repeat=6)), axis=1)
    exact = np.quantile(medians, [0.025, 0.975])
    (found,) = median_intervals(values[:, None], resamples=20_000)
    assert found == pytest.approx(tuple(exact))


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert mean_intervals(np.full((8, 1), 0.25)) == [(0.25, 0.25)]


def test_too_few_patients_have_no_interval_and_it_is_said() -> None:
    values = np.random.default_rng(0).random((LEAST_PATIENTS - 1, 2))
    assert mean_intervals(values) == median_intervals(values) == [None, None]
    # The widest interval the data offer covers the median with 1 - 2 ** (1 - n): 93.75 % for 5, 96.9 % for 6.
    assert LEAST_PATIENTS == 6
    assert "no intervals" in few_patients(5)
    assert "cover less" in few_patients(49)
    assert few_patients(50) == ""


def test_resamples_are_the_same_every_time() -> None:
    values = np.random.default_rng(0).random((30, 4))
    assert np.array_equal(bootstrap_means(values), bootstrap_means(values.copy()))
