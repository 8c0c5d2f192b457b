"""Non-inferiority: its level at the margin for symmetric and skewed losses, its bound, and the patients it takes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from harness.statistics.comparisons import holm
from harness.statistics.noninferiority import lower_bounds, noninferiority_p, patients_for_noninferiority
from harness.statistics.power import POWER

MARGIN = 0.02
Draw = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]

#: Differences with mean 0 and SD 1: alike to both sides, and a few patients who lose much.
SHAPES: dict[str, Draw] = {
    "normal": lambda random, size: random.normal(0, 1, size),
    "a few lose much": lambda random, size: 1 - random.exponential(1, size),
    "one in ten loses all": lambda random, size: (
        np.where(random.random(size) < 0.1, -0.9, 0.1) / 0.3 + random.normal(0, 0.1, size)
    ),
}


def at_the_margin(shape: str, patients: int, studies: int, sets: int = 1) -> NDArray[np.float64]:
    """Patients x (studies * sets) differences whose true mean is minus the margin."""
    drawn = SHAPES[shape](np.random.default_rng(3), (patients, studies * sets))
    return np.asarray(0.05 * drawn - MARGIN)


@pytest.mark.parametrize(("shape", "patients"), [("normal", 12), ("normal", 60), ("a few lose much", 60)])
def test_at_the_margin_it_is_claimed_as_often_as_the_level_says(shape: str, patients: int) -> None:
    p = noninferiority_p(at_the_margin(shape, patients, 10_000), MARGIN)
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.015)


def test_rare_heavy_losses_are_not_overlooked_where_patients_are_many_enough_to_show_them() -> None:
    drawn = at_the_margin("one in ten loses all", 60, 4000)
    assert (noninferiority_p(drawn, MARGIN) < 0.05).mean() <= 0.05
    signed_rank = stats.wilcoxon(drawn[:, :400] + MARGIN, alternative="greater", axis=0).pvalue
    assert (signed_rank < 0.05).mean() > 0.5  # why it is not the test of this claim


@pytest.mark.parametrize(("shape", "patients"), [("normal", 20), ("normal", 60), ("a few lose much", 100)])
def test_of_many_sets_at_the_margin_hardly_ever_one_is_claimed(shape: str, patients: int) -> None:
    """Fourteen independent sets, as of four modalities, all exactly at the margin: the hardest case for Holm."""
    p = noninferiority_p(at_the_margin(shape, patients, 2000, 14), MARGIN).reshape(2000, 14)
    claimed = [bool((holm(row) < 0.05).any()) for row in p]
    assert np.mean(claimed) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 2000)  # the rate, and what 2000 studies leave open


@pytest.mark.parametrize("shape", list(SHAPES))
def test_the_bound_is_the_margin_at_which_p_is_the_level(shape: str) -> None:
    drawn = at_the_margin(shape, 30, 50)
    bounds = lower_bounds(drawn, 0.05)
    for column, bound in enumerate(bounds):
        assert noninferiority_p(drawn[:, [column]], -bound)[0] == pytest.approx(0.05, abs=1e-6)


def test_equal_patients_show_it_as_well_as_their_number_can() -> None:
    same = np.zeros((10, 2)) + np.array([-0.01, -0.03])
    assert noninferiority_p(same, MARGIN) == pytest.approx([2.0**-10, 1.0])
    assert lower_bounds(same) == pytest.approx([-0.01, -0.03])


def test_so_many_patients_as_foretold_show_it_in_as_many_studies() -> None:
    observed = np.random.default_rng(0).normal(-0.005, 0.05, 40)
    needed = patients_for_noninferiority(observed, MARGIN)
    assert needed is not None
    drawn = np.random.default_rng(1).normal(observed.mean(), observed.std(ddof=1), (needed, 4000))
    assert (noninferiority_p(drawn, MARGIN) < 0.05).mean() == pytest.approx(POWER, abs=0.03)


def test_no_number_of_patients_shows_a_loss_of_the_margin() -> None:
    assert patients_for_noninferiority(np.array([-0.03, -0.02, -0.02]), MARGIN) is None
    assert patients_for_noninferiority(np.full(5, -0.01), MARGIN) == 5
