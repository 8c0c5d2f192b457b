from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon

from harness.errors import DataError
from harness.statistics.analysis import Analysis, across_datasets, analyse
from harness.statistics.comparability import reasons_not_comparable
from harness.statistics.patients import build_grid
from harness.statistics.sample_size import least_p, patients_needed, refusal


def analysis(table: pd.DataFrame, *, dataset: str = "d", seeds: int = 1, **changes: object) -> Analysis:
    rows = table.melt(ignore_index=False, var_name="method", value_name="value").rename_axis("patient").reset_index()
    rows = pd.concat([rows.assign(seed=seed) for seed in range(seeds)])
    rows = rows.assign(fold=0, region="WT", case=rows["patient"], status="scored")
    references = dict.fromkeys([name for name in table if name != "A"], "A")
    options = {"higher_is_better": True, "references": references} | changes
    return analyse(build_grid(rows, dataset, "dice"), "WT", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("tests", "needed"), [(1, 6), (10, 9), (55, 12)])
def test_the_least_p_is_the_test_s_own(tests: int, needed: int) -> None:
    assert patients_needed(tests) == needed
    for patients in (needed - 1, needed):
        p = wilcoxon(np.arange(1.0, patients + 1)).pvalue
        assert least_p(patients, tests) == pytest.approx(min(1, tests * p))
    assert refusal(needed, tests) is None
    reason = refusal(needed - 1, tests)
    assert reason is not None
    assert f"{needed} patients are needed" in reason


def test_one_patient_gets_numbers_and_no_claim() -> None:
    found = analysis(pd.DataFrame({"A": [0.5], "B": [0.6]}, index=["p"]))
    assert found.comparisons[0].mean_difference == pytest.approx(0.1)
    assert found.comparisons[0].p is found.comparisons[0].mean_interval is found.omnibus is found.pairwise is None
    assert found.ranking is found.stability is found.directed is None
    assert any(reason.startswith("1 patient: no significance test") for reason in found.refusals)
    assert "1 patient: no ranking" in found.refusals
    assert found.untested is not None


def test_tests_against_the_reference_need_fewer_patients_than_all_pairs(scores: pd.DataFrame) -> None:
    found = analysis(scores.iloc[:8])
    assert found.comparisons[0].p is not None
    assert found.pairwise is None
    assert [reason.split(".")[0] for reason in found.refusals] == ["8 patients: no significance test"]
    assert found.ranking is not None
    assert "test then rank" not in found.ranking.ranks


def test_enough_patients_get_everything(scores: pd.DataFrame) -> None:
    found = analysis(scores)
    assert found.refusals == ()
    assert found.caveats == ()
    assert len(found.comparisons) == 4
    assert all(each is not None for each in (found.omnibus, found.pairwise, found.directed, found.ranking))


def test_methods_under_unlike_conditions_are_described_not_compared(scores: pd.DataFrame) -> None:
    refused = analysis(scores, unlike=["different splits: a (A); b (B)"])
    assert refused.comparisons == ()
    assert refused.ranking is refused.stability is refused.pairwise is None
    assert refused.refusals == ("not ranked, different splits: a (A); b (B)",)
    assert refused.summaries["A"].mean == pytest.approx(scores["A"].mean())
    mixed = analysis(scores, unlike=["different splits: a (A); b (B)"], allow_mixed=True)
    assert mixed.ranking is not None
    assert "different splits: a (A); b (B)" in mixed.caveats


def test_a_gap_within_the_seeds_is_said() -> None:
    rows = [
        {"method": method, "fold": 0, "seed": seed, "patient": f"p{number}", "case": f"p{number}", "region": "WT",
         "value": 0.5 + gap + 0.05 * seed, "status": "scored"}
        for method, gap in (("A", 0.0), ("B", 0.02), ("C", 0.3))
        for seed in range(3)
        for number in range(9)
    ]  # fmt: skip
    found = analyse(
        build_grid(pd.DataFrame(rows), "d", "dice"), "WT", higher_is_better=True, references={"B": "A", "C": "A"}
    )
    assert found.summaries["A"].seed_sd == pytest.approx(0.05)
    assert {each.method: each.within_seeds for each in found.comparisons} == {"B": True, "C": False}


def test_an_unknown_reference_is_an_error(scores: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="no method 'Z'") as caught:
        analysis(scores, references={"B": "Z"})
    assert "A, B" in caught.value.hint


def test_across_datasets_ranks_are_shown_and_not_tested(scores: pd.DataFrame) -> None:
    found = across_datasets([analysis(scores, dataset="x"), analysis(scores[list("DCBA")], dataset="y")])
    # E is not on y: ranks are among the four that both have.
    assert found.ranks.index.tolist() == list("ABCD")
    assert found.mean_ranks.to_dict() == {"A": 1, "B": 2, "C": 3, "D": 4}
    assert found.refusal is not None
    assert "2 datasets: no significance test" in found.refusal


def test_six_datasets_cannot_carry_ten_tests() -> None:
    assert least_p(6, 10) == pytest.approx(0.3125)


def cells(**changes: list[str]) -> pd.DataFrame:
    same = {"protocol": ["paper"] * 2, "data": ["d"] * 2, "split": ["s"] * 2, "start": ["scratch"] * 2}
    return pd.DataFrame({"method": ["A", "B"], "fold": [0, 0]} | same | changes)


def test_like_conditions_are_comparable() -> None:
    assert reasons_not_comparable(cells()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"protocol": ["paper", "long"]}, "different training protocols: long (B); paper (A)"),
        (
            {"budget": ["9 steps of 8", "99 steps of 8"]},
            "different training budgets: 9 steps of 8 (A); 99 steps of 8 (B)",
        ),
        ({"split": ["s", "t"]}, "different splits: s (A); t (B)"),
        ({"data": ["d", "e"]}, "different data files: d (A); e (B)"),
        ({"start": ["scratch", "pretrained:1"]}, "different starting weights: pretrained (B); scratch (A)"),
        ({"start": ["imported:1", "pretrained:1"]}, "different starting weights: imported (A); pretrained (B)"),
    ],
)
def test_unlike_conditions_are_named_with_their_methods(changes: dict[str, list[str]], said: str) -> None:
    assert reasons_not_comparable(cells(**changes)) == [said]
    assert reasons_not_comparable(cells(**changes).iloc[::-1]) == [said]


def test_folds_have_splits_of_their_own() -> None:
    assert reasons_not_comparable(cells(fold=[0, 1], split=["s", "t"])) == []  # type: ignore[arg-type]
    assert reasons_not_comparable(cells(start=["imported:1", "imported:2"])) == []
