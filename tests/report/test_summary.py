from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.report.refusal import refusal
from harness.report.summary import MEAN_REGION, differences, floor_summary, per_case, summarise
from harness.report.variants import variants_of
from harness.results.schema import StudyResults


def pick(table: pd.DataFrame, **wanted: str) -> pd.Series:
    for column, value in wanted.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_statistics_match_hand_computed_values(ablation: StudyResults) -> None:
    row = pick(summarise(ablation), label="w/o T-CFAF", region="Cortex", metric="dice")
    # 0.60, 0.62, 0.70: mean 0.64, squared deviations 0.0016 + 0.0004 + 0.0036 = 0.0056, over n - 1.
    assert row["mean"] == pytest.approx(0.64)
    assert row["sd"] == pytest.approx(0.0028**0.5)
    assert row["median"] == pytest.approx(0.62)
    assert (row["q1"], row["q3"], row["iqr"]) == pytest.approx((0.61, 0.66, 0.05))
    assert (row["n"], row["n_patients"], row["n_runs"], row["n_missing"], row["n_empty"]) == (3, 1, 3, 0, 0)


def test_mean_region_is_taken_within_each_case(ablation: StudyResults) -> None:
    row = pick(summarise(ablation), label="w/o T-CFAF", region=MEAN_REGION, metric="dice")
    # Per case 0.70, 0.73, 0.76: the SD is that of these, not of the six values pooled.
    assert row["mean"] == pytest.approx(0.73)
    assert row["sd"] == pytest.approx(0.03)


def test_seeds_are_averaged_before_cases(builder) -> None:
    for seed, first in enumerate((0.2, 0.4, 0.6)):
        builder.cell("AAHN", [(first, 0.5), (0.8, 0.5)], seed=seed)
    row = pick(summarise(builder.build()), region="Cortex", metric="dice")
    assert row["mean"] == pytest.approx(0.6)
    # Cases 0.4 and 0.8; were seeds pooled, n would be six.
    assert row["sd"] == pytest.approx(0.08**0.5)
    assert (row["n"], row["n_runs"]) == (2, 6)


def test_folds_are_pooled_as_cases(builder) -> None:
    builder.cell("AAHN", [(0.2, 0.5)], fold=0)
    builder.cell("AAHN", [(0.4, 0.5), (0.9, 0.5)], fold=1)
    row = pick(summarise(builder.build()), region="Cortex", metric="dice")
    assert (row["mean"], row["n"]) == (pytest.approx(0.5), 3)


@pytest.mark.parametrize(
    ("status", "expected"),
    [("failed", "failed"), ("running", "incomplete"), ("new", "incomplete"), ("interrupted", "incomplete")],
)
def test_a_variant_with_an_unfinished_cell_gets_no_mean(builder, status: str, expected: str) -> None:
    builder.cell("A", [(0.9, 0.9)] * 2, seed=0)
    builder.cell("A", [], seed=1, status=status)
    for label in ("B", "C"):
        for seed in (0, 1):
            builder.cell(label, [(0.5, 0.5)] * 2, seed=seed)
    table = summarise(builder.build())
    broken = table[table["label"] == "A"]
    assert set(broken["status"]) == {expected}
    assert broken["mean"].isna().all()
    assert (broken["n"] == 0).all()
    assert set(broken["mark"]) == {""}
    assert table.loc[table["label"] != "A", "comparable"].all()


def test_a_failed_cell_outranks_a_running_one(builder) -> None:
    builder.cell("A", seed=0, status="running")
    builder.cell("A", seed=1, status="failed")
    builder.cell("B", [(0.5, 0.5)])
    assert set(summarise(builder.build()).query("label == 'A'")["status"]) == {"failed"}


@pytest.mark.parametrize("cut", ["case", "seed"])
def test_fewer_results_are_flagged_and_never_ranked(builder, cut: str) -> None:
    for label, dice in (("A", 0.9), ("B", 0.5), ("C", 0.6)):
        for seed in (0, 1):
            if cut == "seed" and label == "A" and seed == 1:
                continue
            builder.cell(label, [(dice, dice)] * (1 if cut == "case" and label == "A" else 2), seed=seed)
    table = summarise(builder.build())
    row = pick(table, label="A", region="Cortex", metric="dice")
    assert row["status"] == "complete"
    assert not row["comparable"]
    assert (row["n_runs"], row["n_expected"], row["mark"]) == (2, 4, "")
    assert pick(table, label="C", region="Cortex", metric="dice")["mark"] == "best"


def test_other_cases_in_equal_number_are_not_comparable(builder) -> None:
    builder.cell("A", [(0.9, 0.9)] * 2, cases=["c0", "c1"])
    builder.cell("B", [(0.5, 0.5)] * 2, cases=["c1", "c2"])
    table = summarise(builder.build())
    assert not table["comparable"].any()
    assert set(table["mark"]) == {""}


def test_a_case_without_one_region_has_no_mean_over_regions(builder) -> None:
    builder.cell("A", [(0.4, 0.8), (0.6, 0.8)])
    results = builder.build()
    cut = results.cases[~((results.cases["case"] == "f0c0") & (results.cases["region"] == "White"))]
    table = summarise(replace(results, cases=cut))
    row = pick(table, region=MEAN_REGION, metric="dice")
    assert (row["mean"], row["n"], row["comparable"]) == (pytest.approx(0.7), 1, False)
    assert pick(table, region="Cortex", metric="dice")["comparable"]


def test_marks_follow_the_direction_of_the_metric(ablation: StudyResults) -> None:
    table = summarise(ablation)
    for metric in ("dice", "hd95"):
        assert pick(table, label="AAHN", region="Cortex", metric=metric)["mark"] == "best"
        assert pick(table, label="+ CA", region="Cortex", metric=metric)["mark"] == "second"
        assert pick(table, label="+ CMA", region="Cortex", metric=metric)["mark"] == ""


def test_means_equal_in_print_share_a_mark(builder) -> None:
    for label, dice in (("A", 0.80004), ("B", 0.79996), ("C", 0.7), ("D", 0.7), ("E", 0.6)):
        builder.cell(label, [(dice, dice)] * 2)
    table = summarise(builder.build())
    marks = {label: pick(table, label=label, region="White", metric="dice")["mark"] for label in "ABCDE"}
    assert marks == {"A": "best", "B": "best", "C": "second", "D": "second", "E": ""}


def test_one_ranked_variant_has_no_best(builder) -> None:
    builder.cell("A", [(0.9, 0.9)])
    builder.cell("B", status="failed")
    assert set(summarise(builder.build())["mark"]) == {""}


def test_missing_and_empty_results_are_counted(builder) -> None:
    builder.cell("A", [(0.0, 0.0)], seed=0, row_status="missing")
    builder.cell("A", [(1.0, 1.0)], seed=1, row_status="empty_both")
    table = summarise(builder.build())
    row = pick(table, region=MEAN_REGION, metric="dice")
    assert (row["mean"], row["n"], row["n_missing"], row["n_empty"]) == (0.5, 1, 1, 1)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**31))
def test_row_order_changes_nothing(ablation: StudyResults, shuffle: Callable[..., StudyResults], seed: int) -> None:
    mixed = shuffle(ablation, seed)
    for compute in (per_case, summarise, differences, floor_summary):
        # Exactly: even the last digit may not depend on the order in which cells finished.
        pd.testing.assert_frame_equal(compute(mixed), compute(ablation), check_exact=True)


def test_variants_come_in_study_and_channel_order(builder) -> None:
    for label in ("Z", "A"):
        for leading in ("epi", "t1"):
            builder.cell(label, [(0.5, 0.5)], leading=leading)
    assert [tuple(each) for each in variants_of(builder.build(), "cortex")] == [
        ("Z", "t1"),
        ("Z", "epi"),
        ("A", "t1"),
        ("A", "epi"),
    ]


def test_differences_are_paired_by_case_not_by_row(ablation: StudyResults) -> None:
    row = pick(differences(ablation), label="w/o T-CFAF", region="Cortex", metric="dice")
    # -0.12, -0.14, -0.10
    assert (row["mean"], row["sd"], row["n"]) == (pytest.approx(-0.12), pytest.approx(0.02), 3)
    assert "AAHN" not in set(differences(ablation)["label"])


def test_differences_pair_seeds_after_averaging(builder) -> None:
    for seed, offset in enumerate((-0.1, 0.1)):
        builder.cell("AAHN", [(0.5 + offset, 0.5)], seed=seed)
        builder.cell("B", [(0.6 - offset, 0.5)], seed=seed)
    row = pick(differences(builder.build()), label="B", region="Cortex", metric="dice")
    assert (row["mean"], row["n"]) == (pytest.approx(0.1), 1)


def test_no_difference_to_a_failed_reference(builder) -> None:
    builder.cell("AAHN", [(0.5, 0.5)], seed=0)
    builder.cell("AAHN", seed=1, status="failed")
    builder.cell("B", [(0.6, 0.6)], seed=0)
    table = differences(builder.build())
    assert set(table["status"]) == {"failed"}
    assert table["mean"].isna().all()


def test_differences_keep_the_leading_modality(builder) -> None:
    for leading, dice in (("t1", 0.8), ("epi", 0.6)):
        builder.cell("AAHN", [(dice, dice)], leading=leading)
        builder.cell("B", [(dice - 0.1, dice)], leading=leading)
    table = differences(builder.build())
    for leading in ("t1", "epi"):
        row = pick(table, leading=leading, region="Cortex", metric="dice")
        assert (row["reference_leading"], row["mean"]) == (leading, pytest.approx(-0.1))


def test_no_reference_no_differences(ablation: StudyResults) -> None:
    assert differences(replace(ablation, reference=None)).empty


def test_floors_stand_on_the_tested_cases(builder) -> None:
    builder.cell("A", [(0.9, 0.9)] * 2, fold=0)
    builder.floor("copy", [(0.4, 0.6), (0.6, 0.8)], fold=0)
    builder.floor("copy", [(0.0, 0.0)], fold=1)
    table = floor_summary(builder.build())
    row = pick(table, region="Cortex", metric="dice")
    assert (row["mean"], row["n"], row["comparable"]) == (pytest.approx(0.5), 2, True)
    assert pick(table, region=MEAN_REGION, metric="dice")["mean"] == pytest.approx(0.6)


@pytest.mark.parametrize(("patients", "sentence"), [(1, "1 patient"), (2, "2 patients"), (8, "8 patients")])
def test_few_patients_refuse_significance(builder, patients: int, sentence: str) -> None:
    builder.cell("A", [(0.5, 0.5)] * patients * 3, patients=[f"p{i % patients}" for i in range(patients * 3)])
    assert refusal(builder.build()) == f"{sentence}: no significance test"


def test_nine_patients_refuse_nothing(builder) -> None:
    builder.cell("A", [(0.5, 0.5)] * 9, patients=[f"p{i}" for i in range(9)])
    assert refusal(builder.build()) is None


def test_refusal_names_the_dataset_among_several(builder) -> None:
    builder.dataset("other", title="Other", kind="generated")
    builder.cell("A", [(0.5, 0.5)])
    builder.cell("A", [(0.5, 0.5)] * 9, patients=[f"p{i}" for i in range(9)], dataset="other")
    assert refusal(builder.build()) == "Cortex (one person), 1 patient: no significance test"


def test_an_absent_value_is_an_error(ablation: StudyResults) -> None:
    cases = ablation.cases.copy()
    cases.loc[0, "value"] = float("nan")
    with pytest.raises(HarnessError, match="has no value"):
        summarise(replace(ablation, cases=cases))


def test_a_row_twice_is_an_error(ablation: StudyResults) -> None:
    with pytest.raises(HarnessError, match="two results"):
        summarise(replace(ablation, cases=pd.concat([ablation.cases, ablation.cases.iloc[:1]])))


def test_results_of_a_stranger_are_an_error(ablation: StudyResults) -> None:
    with pytest.raises(HarnessError, match="do not belong"):
        summarise(replace(ablation, cells=ablation.cells.iloc[1:]))


def test_an_unknown_metric_is_an_error(ablation: StudyResults) -> None:
    with pytest.raises(HarnessError, match="no style"):
        summarise(replace(ablation, metrics=("dice", "hd59")))
