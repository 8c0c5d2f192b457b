from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, replace

import pandas as pd
import pytest
from analysed import analysed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import DataError, HarnessError
from harness.report.analysis.analysis import StudyAnalysis, analyse_study
from harness.report.analysis.variants import Variant, variants_of
from harness.report.tables.ranked import rank_marks
from harness.report.tables.table import Column
from harness.results.schema import StudyResults
from harness.statistics.analysis import Summary
from harness.statistics.comparisons import Comparison
from harness.statistics.patients import MEAN_REGION


def summary(results: StudyResults, label: str, region: str, leading: str = "t1", metric: str = "dice") -> Summary:
    found = analysed(results).views["cortex"].summary(Variant(label, leading), metric, region)
    assert found is not None
    return found


def comparison(results: StudyResults, name: str, region: str) -> Comparison:
    (found,) = [
        each for each in analysed(results).views["cortex"].analyses["dice", region].comparisons if each.method == name
    ]
    return found


def marks(results: StudyResults, region: str = "White", metric: str = "dice") -> dict[str, str]:
    study = analysed(results)
    view = study.views["cortex"]
    found = rank_marks(study, view, Column("", "", metric, region), view.variants)
    return {view.names[variant]: mark for variant, mark in found.items()}


def test_statistics_match_hand_computed_values(ablation: StudyResults) -> None:
    found = summary(ablation, "w/o T-CFAF", "Cortex")
    # 0.60, 0.62, 0.70: mean 0.64, squared deviations 0.0016 + 0.0004 + 0.0036 = 0.0056, over n - 1.
    assert found.mean == pytest.approx(0.64)
    assert found.sd == pytest.approx(0.0028**0.5)
    assert (found.q1, found.median, found.q3) == pytest.approx((0.61, 0.62, 0.66))
    assert (found.n_cases, found.n_patients, found.n_results, found.n_missing, found.n_empty) == (3, 1, 3, 0, 0)
    assert found.mean_interval is None


def test_mean_region_is_taken_within_each_case(ablation: StudyResults) -> None:
    found = summary(ablation, "w/o T-CFAF", MEAN_REGION)
    # Per case 0.70, 0.73, 0.76: the SD is that of these, not of the six values pooled.
    assert (found.mean, found.sd) == pytest.approx((0.73, 0.03))


def test_cases_of_a_patient_are_averaged_before_patients(builder) -> None:
    builder.cell("A", [(0.2, 0.5), (0.4, 0.5), (0.9, 0.5)], patients=["p0", "p0", "p1"])
    found = summary(builder.build(), "A", "Cortex")
    # Patients 0.3 and 0.9; were cases the unit, the mean would be 0.5.
    assert (found.mean, found.sd) == pytest.approx((0.6, 0.18**0.5))
    assert (found.n_patients, found.n_cases) == (2, 3)


def test_seeds_are_averaged_before_cases(builder) -> None:
    for seed, first in enumerate((0.2, 0.4, 0.6)):
        builder.cell("AAHN", [(first, 0.5), (0.8, 0.5)], seed=seed, patients=["p0", "p1"])
    found = summary(builder.build(), "AAHN", "Cortex")
    # Patients 0.4 and 0.8; were seeds pooled, n would be six. Seeds' means 0.5, 0.6, 0.7.
    assert (found.mean, found.sd, found.seed_sd) == pytest.approx((0.6, 0.08**0.5, 0.1))
    assert (found.n_cases, found.n_results, found.n_seeds) == (2, 6, 3)


def test_folds_are_pooled_as_cases(builder) -> None:
    builder.cell("AAHN", [(0.2, 0.5)], fold=0)
    builder.cell("AAHN", [(0.4, 0.5), (0.9, 0.5)], fold=1)
    found = summary(builder.build(), "AAHN", "Cortex")
    assert (found.mean, found.n_cases) == (pytest.approx(0.5), 3)


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
    view = analyse_study(builder.build()).views["cortex"]
    assert view.status[Variant("A", "t1")] == expected
    for analysis in view.analyses.values():
        assert "A" not in analysis.summaries
        assert "A" in analysis.excluded
        assert set(analysis.table) == {"B", "C"}


def test_a_failed_cell_outranks_a_running_one(builder) -> None:
    builder.cell("A", seed=0, status="running")
    builder.cell("A", seed=1, status="failed")
    builder.cell("B", [(0.5, 0.5)])
    assert analyse_study(builder.build()).views["cortex"].status[Variant("A", "t1")] == "failed"


def test_what_a_failed_variant_has_is_not_asked_of_the_others(builder) -> None:
    builder.cell("A", [(0.9, 0.9)], seed=1)
    builder.cell("A", seed=0, status="failed")
    builder.cell("B", [(0.5, 0.5)], seed=0)
    assert summary(builder.build(), "B", "Cortex").complete


@pytest.mark.parametrize("cut", ["case", "seed"])
def test_fewer_results_are_flagged_and_never_ranked(builder, cut: str) -> None:
    for label, dice in (("A", 0.9), ("B", 0.5), ("C", 0.6)):
        for seed in (0, 1):
            if cut == "seed" and label == "A" and seed == 1:
                continue
            builder.cell(label, [(dice, dice)] * (1 if cut == "case" and label == "A" else 2), seed=seed)
    results = builder.build()
    found = summary(results, "A", "Cortex")
    assert not found.complete
    assert (found.n_results, found.n_expected) == (2, 4)
    assert marks(results) == {"B": "second", "C": "best"}


def test_other_cases_in_equal_number_are_not_comparable(builder) -> None:
    builder.cell("A", [(0.9, 0.9)] * 2, cases=["c0", "c1"])
    builder.cell("B", [(0.5, 0.5)] * 2, cases=["c1", "c2"])
    assert marks(builder.build()) == {}


def test_a_region_without_results_is_left_out_of_the_mean_and_said(builder) -> None:
    builder.cell("A", [(0.4, 0.8), (0.6, 0.8)])
    results = builder.build()
    view = analyse_study(replace(results, cases=results.cases[results.cases["region"] == "Cortex"])).views["cortex"]
    analysis = view.analyses["dice", MEAN_REGION]
    assert analysis.summaries["A"].mean == pytest.approx(0.5)
    assert any("White" in caveat and "the mean is over Cortex" in caveat for caveat in analysis.caveats)


def test_marks_follow_the_direction_of_the_metric(ablation: StudyResults) -> None:
    for metric in ("dice", "hd95"):
        found = marks(ablation, "Cortex", metric)
        assert {name: mark for name, mark in found.items() if mark} == {"AAHN": "best", "+ CA": "second"}


def test_means_equal_in_print_share_a_mark(builder) -> None:
    for label, dice in (("A", 0.80004), ("B", 0.79996), ("C", 0.7), ("D", 0.7), ("E", 0.6)):
        builder.cell(label, [(dice, dice)] * 2)
    assert marks(builder.build()) == {"A": "best", "B": "best", "C": "second", "D": "second", "E": ""}


def test_one_ranked_variant_has_no_best(builder) -> None:
    builder.cell("A", [(0.9, 0.9)])
    builder.cell("B", status="failed")
    assert marks(builder.build()) == {}


def test_missing_and_empty_results_are_counted_and_shown_apart(builder) -> None:
    builder.cell("A", [(0.0, 0.0), (0.6, 0.6)], seed=0, row_status="missing")
    builder.cell("A", [(0.5, 0.5), (0.7, 0.7)], seed=1)
    found = summary(builder.build(), "A", MEAN_REGION)
    assert (found.n_missing, found.n_empty) == (2, 0)
    assert (found.mean, found.mean_scored) == pytest.approx((0.45, 0.6))


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**31))
def test_row_order_changes_nothing(ablation: StudyResults, shuffle: Callable[..., StudyResults], seed: int) -> None:
    assert said(analyse_study(shuffle(ablation, seed))) == said(analysed(ablation))


def said(study: StudyAnalysis) -> str:
    """Everything study, to the last digit: a report may not depend on the order in which cells finished."""
    view = study.views["cortex"]
    summaries = [
        {name: asdict(each) for name, each in analysis.summaries.items()} for analysis in view.analyses.values()
    ]
    comparisons = [analysis.comparisons for analysis in view.analyses.values()]
    return repr((view.data, view.names, view.floors, summaries, comparisons))


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
    # -0.12, -0.14, -0.10
    assert comparison(ablation, "w/o T-CFAF", "Cortex").mean_difference == pytest.approx(-0.12)


def test_differences_pair_seeds_after_averaging(builder) -> None:
    for seed, offset in enumerate((-0.1, 0.1)):
        builder.cell("AAHN", [(0.5 + offset, 0.5)], seed=seed)
        builder.cell("B", [(0.6 - offset, 0.5)], seed=seed)
    found = comparison(builder.build(), "B", "Cortex")
    assert found.mean_difference == pytest.approx(0.1)
    # Seeds' means differ by 0.2, so their SD is above the difference.
    assert found.within_seeds


def test_no_difference_to_a_failed_reference(builder) -> None:
    builder.cell("AAHN", [(0.5, 0.5)], seed=0)
    builder.cell("AAHN", seed=1, status="failed")
    for label in ("B", "C"):
        builder.cell(label, [(0.6, 0.6)], seed=0)
    analysis = analyse_study(builder.build()).views["cortex"].analyses["dice", "Cortex"]
    assert analysis.comparisons == ()
    assert any("the reference, AAHN" in refusal for refusal in analysis.refusals)


def test_differences_keep_the_leading_modality(builder) -> None:
    for leading, dice in (("t1", 0.8), ("epi", 0.6)):
        builder.cell("AAHN", [(dice, dice)], leading=leading)
        builder.cell("B", [(dice - 0.1, dice)], leading=leading)
    for leading in ("t1", "epi"):
        found = comparison(builder.build(), f"B, {leading} leading", "Cortex")
        assert (found.reference, found.mean_difference) == (f"AAHN, {leading} leading", pytest.approx(-0.1))


def test_no_reference_no_differences(ablation: StudyResults) -> None:
    view = analyse_study(replace(ablation, reference=None)).views["cortex"]
    assert not any(analysis.comparisons for analysis in view.analyses.values())


def test_floors_stand_on_the_tested_cases(builder) -> None:
    builder.cell("A", [(0.9, 0.9)] * 2, fold=0)
    builder.floor("copy", [(0.4, 0.6), (0.6, 0.8)], fold=0)
    builder.floor("copy", [(0.0, 0.0)], fold=1)
    floors = analyse_study(builder.build()).views["cortex"].floors
    found = floors["copy", "dice", "Cortex"]
    assert (found.mean, found.n_cases) == (pytest.approx(0.5), 2)
    assert floors["copy", "dice", MEAN_REGION].mean == pytest.approx(0.6)


@pytest.mark.parametrize(("patients", "sentence"), [(1, "1 patient"), (2, "2 patients"), (5, "5 patients")])
def test_few_patients_refuse_significance(builder, patients: int, sentence: str) -> None:
    for label in ("A", "B"):
        people = [f"p{i % patients}" for i in range(patients * 3)]
        builder.cell(label, [(0.5, 0.5)] * patients * 3, patients=people)
    refusal = analyse_study(builder.build()).views["cortex"].data.refusal
    assert refusal is not None
    assert refusal.startswith(f"{sentence}: no significance test")


def test_enough_patients_refuse_nothing(builder) -> None:
    for label in ("A", "AAHN"):
        builder.cell(label, [(0.5, 0.5)] * 9, patients=[f"p{i}" for i in range(9)])
    assert analyse_study(builder.build()).views["cortex"].data.refusal is None


def test_a_metric_without_results_has_no_analysis(ablation: StudyResults) -> None:
    view = analyse_study(replace(ablation, cases=ablation.cases[ablation.cases["metric"] == "dice"])).views["cortex"]
    assert {metric for metric, _ in view.analyses} == {"dice"}
    assert view.summary(Variant("AAHN", "t1"), "hd95", MEAN_REGION) is None


def test_an_absent_value_is_an_error(ablation: StudyResults) -> None:
    cases = ablation.cases.copy()
    cases.loc[0, "value"] = math.nan
    with pytest.raises(DataError, match="have no value"):
        analyse_study(replace(ablation, cases=cases))


def test_a_row_twice_is_an_error(ablation: StudyResults) -> None:
    with pytest.raises(DataError, match="are repeated"):
        analyse_study(replace(ablation, cases=pd.concat([ablation.cases, ablation.cases.iloc[:1]])))


def test_results_of_a_stranger_are_an_error(ablation: StudyResults) -> None:
    with pytest.raises(HarnessError, match="do not belong"):
        analyse_study(replace(ablation, cells=ablation.cells.iloc[1:]))


def test_an_unknown_metric_is_an_error(ablation: StudyResults) -> None:
    with pytest.raises(HarnessError, match="Unknown metric"):
        analyse_study(replace(ablation, metrics=("dice", "hd59")))
