"""Power of the signed-rank test, and what is planned with it, against simulated studies with planted differences."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats

from harness.statistics.bootstrap import mean_intervals
from harness.statistics.comparisons import one_sided_p
from harness.statistics.power import (
    MOST_PATIENTS,
    POWER,
    chances_of,
    least_difference,
    normal_differences,
    patients_for,
    power_of,
)
from harness.statistics.sample_size import ALPHA

_PLACES = (np.arange(20001) + 0.5) / 20001

#: Shapes of patients' differences: symmetric, with wild patients, skewed, and with patients on whom methods are equal.
SHAPES: dict[str, NDArray[np.float64]] = {
    "normal": normal_differences(1.0, 20001),
    "wild": stats.t(3).ppf(_PLACES),
    "skewed": stats.gumbel_r().ppf(_PLACES) - stats.gumbel_r().median(),
    "ties": np.concatenate([stats.norm().ppf(_PLACES), np.zeros(3500)]),
}


def share_significant(differences: NDArray[np.float64], patients: int, studies: int, seed: int = 0) -> float:
    """In how many simulated studies the two-sided test is significant."""
    drawn = np.random.default_rng(seed).choice(differences, (patients, studies))
    if patients > 50:  # what one_sided_p computes then, for all studies at once
        return float((stats.wilcoxon(drawn, zero_method="pratt", axis=0).pvalue < ALPHA).mean())
    tables = (pd.DataFrame({"a": drawn[:, number], "b": 0.0}) for number in range(studies))
    sides = (one_sided_p(table, higher_is_better=True).to_numpy() for table in tables)
    return float(np.mean([2 * min(side[0, 1], side[1, 0]) < ALPHA for side in sides]))


def planted(shape: str, difference: float) -> NDArray[np.float64]:
    values = SHAPES[shape]
    return np.where(values == 0, 0, values + difference)


def test_chances_are_those_of_all_pairs_and_triples() -> None:
    values = np.array([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0])
    sign = (np.sign(values[:, None] + values) + 1) / 2
    others = ~np.eye(6, dtype=bool)
    triples = [sign[i, j] * sign[i, k] for i in range(6) for j in range(6) for k in range(6) if len({i, j, k}) == 3]
    found = chances_of(values)
    assert found.one == pytest.approx(3.5 / 6)
    assert found.two == pytest.approx(sign[others].mean())
    assert found.three == pytest.approx(np.mean(triples))


def test_without_a_difference_the_test_shows_its_level() -> None:
    assert power_of(chances_of(SHAPES["normal"]), 100) == pytest.approx(ALPHA, abs=0.003)
    assert patients_for(chances_of(SHAPES["normal"])) is None


def test_more_patients_show_more_and_a_larger_difference_takes_fewer() -> None:
    chances = chances_of(planted("skewed", 0.3))
    powers = [power_of(chances, count) for count in (5, 6, 20, 100, 1000, MOST_PATIENTS)]
    assert powers[0] == 0
    assert powers == sorted(powers)
    needed = [patients_for(chances_of(planted("skewed", gain))) or 0 for gain in (0.1, 0.2, 0.4)]
    assert needed == sorted(needed, reverse=True)
    for count, gain in zip(needed, (0.1, 0.2, 0.4), strict=True):
        chances = chances_of(planted("skewed", gain))
        assert power_of(chances, count) >= POWER > power_of(chances, count - 1)


def test_of_normal_differences_the_numbers_are_those_of_the_textbook() -> None:
    # Noether (1987): n = (z + z)^2 / (3 (p - 1/2)^2); for small differences pi / 3 times those of the t test.
    of_t = ((stats.norm.ppf(0.975) + stats.norm.ppf(POWER)) / 0.2) ** 2
    assert patients_for(chances_of(planted("normal", 0.2))) == pytest.approx(of_t * np.pi / 3, rel=0.02)
    assert least_difference(SHAPES["normal"], 200) == pytest.approx(0.2 * np.sqrt(of_t * np.pi / 3 / 200), rel=0.02)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_the_least_difference_goes_with_the_scale_not_with_the_place(scale: float) -> None:
    drawn = np.random.default_rng(0).choice(SHAPES["wild"], 80)
    least = least_difference(drawn)
    assert least is not None
    assert least_difference(scale * drawn + 7 * scale) == pytest.approx(scale * least, rel=1e-4)


def test_what_shows_nothing_is_said_to() -> None:
    assert least_difference(np.full(30, 0.2)) is None
    assert least_difference(np.arange(5.0)) is None
    assert patients_for(chances_of(np.zeros(30))) is None


def test_a_planted_difference_is_shown_as_often_as_foretold() -> None:
    differences = planted("wild", 0.4)
    assert share_significant(differences, 60, 1000) == pytest.approx(power_of(chances_of(differences), 60), abs=0.04)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("patients", "difference"), [(30, 0.6), (60, 0.4), (100, 0.25), (400, 0.12)])
def test_power_is_right_within_two_per_cent(shape: str, patients: int, difference: float) -> None:
    differences = planted(shape, difference)
    foretold = power_of(chances_of(differences), patients)
    studies = 4000 if patients < 50 else 20_000  # within 1.6 and 0.7 % of what infinitely many would give
    assert share_significant(differences, patients, studies) == pytest.approx(foretold, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_the_least_difference_and_the_patients_give_the_power_that_is_said(shape: str) -> None:
    values = SHAPES[shape][::10]
    values = values - np.median((values[:, None] + values) / 2)  # where the test sees nothing
    least = least_difference(values, 80)
    assert least is not None
    assert share_significant(values + least, 80, 20_000) == pytest.approx(POWER, abs=0.02)
    differences = planted(shape, 0.35)
    needed = patients_for(chances_of(differences))
    assert needed is not None
    assert share_significant(differences, needed, 4000) == pytest.approx(POWER, abs=0.02)


@pytest.mark.slow
def test_intervals_of_planted_differences_cover_what_they_say() -> None:
    random = np.random.default_rng(0)
    population = planted("skewed", 0.2)
    covered = []
    for _ in range(1500):
        interval = mean_intervals(random.choice(population, (150, 1)))[0]
        assert interval is not None
        covered.append(interval.low <= population.mean() <= interval.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


@pytest.mark.slow
def test_what_a_study_foretells_of_its_like_is_right_on_average() -> None:
    """From 200 patients of one study, not from the whole population: the least difference scatters around the true."""
    random = np.random.default_rng(1)
    population = SHAPES["wild"]
    found = [least_difference(random.choice(population, 200)) for _ in range(200)]
    assert np.mean(found) == pytest.approx(least_difference(population, 200), rel=0.03)
