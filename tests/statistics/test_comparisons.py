from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import scikit_posthocs
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.stats.multitest import multipletests

from harness.statistics.comparisons import (
    cliffs_delta,
    compare,
    directed_p,
    friedman,
    one_sided_p,
    p_better,
    pairwise_p,
)

#: Differences by patient: 5 wins, 1 zero, 2 losses.
HAND = pd.DataFrame(
    {"new": [0.9, 0.8, 0.7, 0.9, 0.6, 0.5, 0.4, 0.8], "old": [0.5, 0.5, 0.5, 0.8, 0.4, 0.5, 0.5, 0.5]},
    index=list("abcdefgh"),
)


def test_effect_sizes_by_hand() -> None:
    (found,) = compare(HAND, {"new": "old"}, higher_is_better=True)
    # Differences 0.4, 0.3, 0.2, 0.1, 0.2, 0, -0.1, 0.3.
    assert found.mean_difference == pytest.approx(1.4 / 8)
    assert found.median_difference == pytest.approx(0.2)
    assert found.p_better == pytest.approx((6 + 0.5) / 8)
    # Pairs won less pairs lost, of all 64.
    pairs = [np.sign(round(a - b, 9)) for a, b in itertools.product(HAND["new"], HAND["old"])]
    assert found.cliffs_delta == pytest.approx(sum(pairs) / 64)
    assert (found.p, found.p_holm) == (None, None)


def test_a_metric_where_lower_is_better_turns_effects_not_differences() -> None:
    (higher,) = compare(HAND, {"new": "old"}, higher_is_better=True)
    (lower,) = compare(HAND, {"new": "old"}, higher_is_better=False)
    assert lower.mean_difference == higher.mean_difference
    assert lower.cliffs_delta == pytest.approx(-higher.cliffs_delta)
    assert lower.p_better == pytest.approx(1 - higher.p_better)


@pytest.mark.parametrize("patients", [9, 30, 60])
def test_tests_and_correction_are_scipy_s_and_statsmodels_(scores: pd.DataFrame, patients: int) -> None:
    table = scores.iloc[:patients]
    one_sided = one_sided_p(table, higher_is_better=True)
    found = compare(table, dict.fromkeys("BCDE", "A"), higher_is_better=True, one_sided=one_sided)
    raw = [stats.wilcoxon(table[name], table["A"], zero_method="pratt").pvalue for name in "BCDE"]
    assert [each.p for each in found] == pytest.approx(raw, rel=1e-9)
    assert [each.p_holm for each in found] == pytest.approx(multipletests(raw, method="holm")[1], rel=1e-9)
    for row, column in itertools.permutations("ABCDE", 2):
        expected = stats.wilcoxon(table[row] - table[column], zero_method="pratt", alternative="greater").pvalue
        assert one_sided.loc[row, column] == pytest.approx(expected, rel=1e-9)


def test_zero_differences_are_ranked_as_pratt_ranks_them() -> None:
    # Without zeros: ranks 4 to 9 with the zeros kept, the losses have 4 and 5. Of the 64 patterns of signs, eight give
    # the losses 9 or less: none, one of 4 5 6 7 8 9, or 4 and 5. Were zeros dropped, there would be five.
    table = pd.DataFrame({"A": [0, 0, 0, -1, -2, 3, 4, 5, 6], "B": [0] * 9}, dtype=float)
    one_sided = one_sided_p(table, higher_is_better=True)
    (found,) = compare(table, {"A": "B"}, higher_is_better=True, one_sided=one_sided)
    assert found.p == pytest.approx(2 * 8 / 64)


@pytest.mark.parametrize("equal", [0, 1, 9, 60])
def test_p_is_never_less_than_five_signs_can_give(equal: int) -> None:
    """However many patients tie: five wins are 1 of 32 patterns. The normal approximation says 0.025."""
    table = pd.DataFrame({"A": [0.0] * equal + [0.1, 0.2, 0.3, 0.4, 0.5], "B": [0.0] * (equal + 5)})
    one_sided = one_sided_p(table, higher_is_better=True)
    assert one_sided.loc["A", "B"] == pytest.approx(1 / 32)
    assert one_sided.loc["B", "A"] == pytest.approx(1)
    assert pairwise_p(one_sided).loc["A", "B"] == pytest.approx(1 / 16)


@settings(max_examples=examples(80), deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_p_is_the_share_of_all_patterns_of_signs(differences: list[int]) -> None:
    ranks = stats.rankdata(np.abs(differences))
    signs = np.array(list(itertools.product((0, 1), repeat=sum(each != 0 for each in differences))))
    sums = signs @ ranks[np.array(differences) != 0]
    observed = ranks[np.array(differences) > 0].sum()
    one_sided = one_sided_p(pd.DataFrame({"A": differences, "B": 0}, dtype=float), higher_is_better=True)
    assert one_sided.loc["A", "B"] == pytest.approx((sums >= observed).mean())
    assert one_sided.loc["B", "A"] == pytest.approx((sums <= observed).mean())


def test_what_differs_by_rounding_alone_is_equal() -> None:
    table = pd.DataFrame({"A": [0.1 + 0.2, 0.5] * 5, "B": [0.3, 0.5] * 5})
    assert (table["A"] != table["B"]).any()
    assert one_sided_p(table, higher_is_better=True).to_numpy().tolist() == [[1, 1], [1, 1]]
    (found,) = compare(table, {"A": "B"}, higher_is_better=True)
    assert (found.p_better, found.cliffs_delta) == (0.5, 0)
    assert friedman(table.assign(C=table["A"])) is None


def test_equal_methods_have_nothing_to_test() -> None:
    table = pd.DataFrame({"A": [0.1, 0.5, 0.9] * 4, "B": [0.1, 0.5, 0.9] * 4})
    assert one_sided_p(table, higher_is_better=True).to_numpy().tolist() == [[1, 1], [1, 1]]


def test_all_pairs_are_scikit_posthocs_where_its_rows_are_in_order(scores: pd.DataFrame) -> None:
    long = scores.melt(var_name="method", value_name="value")
    expected = scikit_posthocs.posthoc_wilcoxon(
        long, val_col="value", group_col="method", zero_method="pratt", p_adjust="holm"
    )
    found = pairwise_p(one_sided_p(scores, higher_is_better=True))
    assert found.loc[expected.index, expected.columns].to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-9)


def test_the_directed_map_covers_all_ordered_pairs(scores: pd.DataFrame) -> None:
    one_sided = one_sided_p(scores, higher_is_better=True)
    pairs = list(itertools.permutations("ABCDE", 2))
    expected = multipletests([one_sided.loc[pair] for pair in pairs], method="holm")[1]
    found = directed_p(one_sided)
    assert [found.loc[pair] for pair in pairs] == pytest.approx(expected)
    assert np.diag(found).tolist() == [1] * 5


def test_friedman_is_scipy_s(scores: pd.DataFrame) -> None:
    found = friedman(scores)
    expected = stats.friedmanchisquare(*(scores[name] for name in scores))
    assert found is not None
    assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert friedman(scores[["A", "B"]]) is None
    assert friedman(pd.DataFrame({name: [0.5, 0.6] for name in "ABC"})) is None


def test_friedman_by_hand() -> None:
    # Ranks (1 lowest) 1 2 3 in every one of four patients: sums 4, 8, 12; chi2 = 12/(4*3*4) * 224 - 3*4*4 = 8.
    table = pd.DataFrame({"A": [0.1, 0.2, 0.3, 0.4], "B": [0.2, 0.3, 0.4, 0.5], "C": [0.3, 0.4, 0.5, 0.6]})
    found = friedman(table)
    assert found is not None
    assert found.statistic == pytest.approx(8)


def test_mean_ranks_and_omnibus_are_autorank_s(scores: pd.DataFrame) -> None:
    autorank = pytest.importorskip("autorank", reason="autorank is not installed: pip install -e '.[dev]'")
    skewed = scores**9  # not normal, so that autorank takes Friedman's test
    expected = autorank.autorank(skewed, alpha=0.05, verbose=False)
    found = friedman(skewed)
    assert expected.omnibus == "friedman"
    assert found is not None
    assert found.p == pytest.approx(expected.pvalue)
    from harness.statistics.rankings import mean_ranks

    ranks = mean_ranks(skewed, higher_is_better=True)
    assert ranks.loc[expected.rankdf.index].to_numpy() == pytest.approx(expected.rankdf["meanrank"].to_numpy(float))


finite = st.floats(0, 1, width=16)


@settings(max_examples=examples(60), deadline=None)
@given(arrays(float, st.integers(1, 12), elements=finite), arrays(float, st.integers(1, 12), elements=finite))
def test_cliffs_delta_is_the_share_of_pairs_won_less_those_lost(first: np.ndarray, second: np.ndarray) -> None:
    signs = np.sign(first[:, None] - second)
    assert cliffs_delta(first, second) == pytest.approx(signs.mean())
    assert cliffs_delta(second, first) == pytest.approx(-signs.mean())


@settings(max_examples=examples(60), deadline=None)
@given(arrays(float, st.integers(1, 12), elements=st.floats(-1, 1, width=16)))
def test_shares_of_wins_and_losses_add_up(advantages: np.ndarray) -> None:
    assert p_better(advantages) + p_better(-advantages) == pytest.approx(1)
