"""Groups of patients: planted differences are found, null ones at no more than the stated rate, few patients told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import permutation_test

from harness.statistics.groups import group_means


def draw(seed: int, sizes: tuple[int, ...] = (12, 12, 12), shift: float = 0.0, methods: int = 2):
    """Returns skewed scores of patients at sites, those of the last site shifted, and the patients' sites."""
    random = np.random.default_rng(seed)
    site_of = {f"{'ABCDE'[site]}{n:02d}": "ABCDE"[site] for site, size in enumerate(sizes) for n in range(size)}
    hard = random.beta(8, 2, len(site_of))
    table = pd.DataFrame({f"m{n}": hard + random.normal(0, 0.02, len(hard)) for n in range(methods)}, list(site_of))
    last = [site == "ABCDE"[len(sizes) - 1] for site in site_of.values()]
    table.loc[last] += shift
    return table, site_of, sorted(set(site_of.values()))


def test_a_planted_site_is_found_and_no_other_in_its_place():
    found = [group_means(*draw(seed, shift=-0.3), resamples=999) for seed in range(40)]
    hits = [all(one.differs and one.difference < 0 for one in draw_ if one.group == "C") for draw_ in found]
    assert np.mean(hits) >= 0.95
    assert not any(one.differs and one.difference < 0 for draw_ in found for one in draw_ if one.group != "C")


def test_a_null_is_found_at_no_more_than_the_stated_rate():
    draws = 200
    wrong = sum(any(one.differs for one in group_means(*draw(seed), resamples=299)) for seed in range(draws))
    assert wrong / draws <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / draws)


def test_the_interval_of_the_difference_covers():
    draws, shift = 200, -0.1
    covered = 0
    for seed in range(draws):
        (found,) = (one for one in group_means(*draw(seed, (15, 20), shift, 1), resamples=9) if one.group == "B")
        covered += found.difference_interval.low <= shift <= found.difference_interval.high
    assert covered / draws >= 0.95 - 2 * np.sqrt(0.05 * 0.95 / draws)


@pytest.mark.parametrize("sizes", [(6, 9), (5, 5), (3, 10)])
def test_p_is_that_of_scipy(sizes):
    table, site_of, groups = draw(3, sizes, -0.1, 1)
    found = group_means(table, site_of, groups)
    mine = table["m0"][[site_of[name] == "B" for name in table.index]]
    others = table["m0"].drop(mine.index)
    expected = permutation_test(
        (mine - table["m0"].mean(), others - table["m0"].mean()),
        lambda x, y, axis: np.abs(x.mean(axis=axis) - y.mean(axis=axis)),
        permutation_type="independent",
        alternative="greater",
        vectorized=True,
        rng=0,
    ).pvalue
    assert found[1].p == pytest.approx(expected, abs=0.02)
    assert found[0].p == found[1].p
    assert found[0].difference == pytest.approx(-found[1].difference)


def test_two_groups_are_one_test_and_holm_counts_groups_and_methods():
    assert all(one.p == one.p_holm for one in group_means(*draw(0, (8, 8), methods=1)))
    found = group_means(*draw(0, methods=2))
    least = min(found, key=lambda one: one.p)
    assert least.p_holm == pytest.approx(min(1, 6 * least.p))


def test_few_patients_cannot_tell_whatever_their_scores():
    table, site_of, groups = draw(0, (3, 3), -5.0, 1)
    found = group_means(table, site_of, groups)
    assert not any(one.differs or one.can_tell for one in found)
    assert all(one.mean_interval is None for one in found)
    assert all(one.can_tell for one in group_means(*draw(0, (6, 6), methods=1)))


def test_one_group_and_one_patient_are_told_as_they_are():
    table, _, _ = draw(0, (4,), methods=1)
    (only,) = group_means(table, dict.fromkeys(table.index, "A"), ["A", "B"])
    assert (only.p, only.n_others, np.isnan(only.difference)) == (None, 0, True)
    found = group_means(*draw(0, (1, 9), methods=1))
    assert found[0].difference_interval is None
    assert found[0].mean == pytest.approx(draw(0, (1, 9), methods=1)[0]["m0"].iloc[0])


def test_equal_scores_differ_nowhere():
    table, site_of, groups = draw(0)
    assert all(one.p == 1 for one in group_means(table * 0 + 0.5, site_of, groups))
