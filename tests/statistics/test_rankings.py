from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from harness.statistics.bootstrap import bootstrap_means
from harness.statistics.comparisons import directed_p, one_sided_p
from harness.statistics.rankings import AGGREGATE, RANK, TEST, rank
from harness.statistics.stability import stability


def test_mean_and_mean_rank_can_disagree_by_hand() -> None:
    # B wins on four patients of five by little, A on one by much.
    table = pd.DataFrame({"A": [0.5, 0.5, 0.5, 0.5, 1.0], "B": [0.55, 0.55, 0.55, 0.55, 0.2], "C": [0.1] * 5})
    found = rank(table, higher_is_better=True, directed=None)
    assert found.ranks[AGGREGATE].to_dict() == {"A": 1, "B": 2, "C": 3}
    assert found.ranks[RANK].to_dict() == {"A": 2, "B": 1, "C": 3}
    assert found.mean_ranks.to_dict() == pytest.approx({"A": 1.8, "B": 1.2, "C": 3.0})
    # Of three pairs two agree and one does not: (2 - 1) / 3.
    assert found.taus == {(AGGREGATE, RANK): pytest.approx(1 / 3)}
    assert TEST not in found.ranks


def test_lower_can_be_better_and_ties_share() -> None:
    table = pd.DataFrame({"A": [3.0, 3.0], "B": [1.0, 1.0], "C": [1.0, 1.0]})
    found = rank(table, higher_is_better=False, directed=None)
    assert found.ranks[AGGREGATE].to_dict() == {"A": 3, "B": 1.5, "C": 1.5}


def test_wins_are_counted_where_tested(scores: pd.DataFrame) -> None:
    directed = directed_p(one_sided_p(scores, higher_is_better=True))
    found = rank(scores, higher_is_better=True, directed=directed)
    wins = (directed < 0.05).sum(axis=1)
    assert found.ranks[TEST].to_dict() == wins.rank(ascending=False).to_dict()
    for pair, tau in found.taus.items():
        assert tau == pytest.approx(kendalltau(found.ranks[pair[0]], found.ranks[pair[1]]).statistic)


def test_stability_by_counting_resamples(scores: pd.DataFrame) -> None:
    resamples = 100
    means = bootstrap_means(scores.to_numpy(), resamples=resamples)
    found = stability(scores, higher_is_better=True, means=means)
    random = np.random.default_rng(0)
    counts = pd.DataFrame(0, index=scores.columns, columns=range(1, 6))
    taus = []
    whole = scores.mean().rank(ascending=False)
    for _ in range(resamples):
        ranks = scores.iloc[random.integers(0, len(scores), len(scores))].mean().rank(ascending=False, method="min")
        for name, place in ranks.items():
            counts.loc[name, int(place)] += 1
        taus.append(kendalltau(ranks, whole).statistic)
    pd.testing.assert_frame_equal(found.counts, counts, check_dtype=False)
    assert found.taus == pytest.approx(tuple(np.quantile(taus, [0.025, 0.5, 0.975])))
    assert found.first.to_dict() == pytest.approx((counts[1] / resamples).to_dict())


def test_equal_methods_share_every_rank() -> None:
    column = np.random.default_rng(0).random(20)
    found = stability(pd.DataFrame({"A": column, "B": column, "C": column - 1}), higher_is_better=True)
    assert found.first.to_dict() == {"A": 1, "B": 1, "C": 0}
    assert found.full.to_dict() == {"A": 1, "B": 1, "C": 3}


def test_methods_that_differ_by_rounding_alone_share_every_rank() -> None:
    table = pd.DataFrame({"A": [0.1 + 0.2, 0.5, 0.7] * 3, "B": [0.3, 0.5, 0.7] * 3, "C": [0.1, 0.2, 0.3] * 3})
    assert (table["A"] != table["B"]).any()
    found = rank(table, higher_is_better=True, directed=None)
    assert found.ranks.loc["A"].tolist() == found.ranks.loc["B"].tolist() == [1.5, 1.5]
    assert stability(table, higher_is_better=True).first[["A", "B"]].tolist() == [1, 1]
