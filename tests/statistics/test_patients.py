from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import DataError
from harness.statistics.analysis import analyse
from harness.statistics.patients import MEAN_REGION, build_grid, patient_table


def rows(*entries: tuple[object, ...]) -> pd.DataFrame:
    columns = ["method", "fold", "seed", "patient", "case", "region", "value", "status"]
    return pd.DataFrame([(*each, "scored")[:8] for each in entries], columns=columns)


def test_regions_then_seeds_then_cases_then_patients_by_hand() -> None:
    table = rows(
        ("A", 0, 0, "p0", "c0", "WT", 0.2), ("A", 0, 0, "p0", "c0", "ET", 0.4),  # 0.3
        ("A", 0, 1, "p0", "c0", "WT", 0.6), ("A", 0, 1, "p0", "c0", "ET", 0.4),  # 0.5: case 0.4
        ("A", 0, 0, "p0", "c1", "WT", 0.8), ("A", 0, 0, "p0", "c1", "ET", 0.8),
        ("A", 0, 1, "p0", "c1", "WT", 1.0), ("A", 0, 1, "p0", "c1", "ET", 0.6),  # case 0.8: patient 0.6
        ("A", 1, 0, "p1", "c2", "WT", 0.1), ("A", 1, 0, "p1", "c2", "ET", 0.1),
        ("A", 1, 1, "p1", "c2", "WT", 0.1), ("A", 1, 1, "p1", "c2", "ET", 0.1),
    )  # fmt: skip
    found = patient_table(build_grid(table, "d", "dice"))
    assert found.values["A"].to_dict() == pytest.approx({"p0": 0.6, "p1": 0.1})
    assert found.by_case["A"].to_dict() == pytest.approx({("p0", "c0"): 0.4, ("p0", "c1"): 0.8, ("p1", "c2"): 0.1})
    # Seed 0: p0 (0.3 + 0.8) / 2, seed 1: (0.5 + 0.8) / 2; p1 0.1 in both.
    assert found.by_seed.loc["A"].to_dict() == pytest.approx({0: (0.55 + 0.1) / 2, 1: (0.65 + 0.1) / 2})


def test_a_case_named_alike_in_two_patients_is_two_cases() -> None:
    table = rows(("A", 0, 0, "p0", "scan", "WT", 0.2), ("A", 0, 0, "p1", "scan", "WT", 0.8))
    assert len(patient_table(build_grid(table, "d", "dice")).values) == 2


def test_a_method_that_lacks_a_result_is_shown_apart() -> None:
    table = rows(
        ("A", 0, 0, "p0", "c0", "WT", 0.2), ("A", 0, 0, "p1", "c1", "WT", 0.4), ("B", 0, 0, "p0", "c0", "WT", 0.9)
    )  # fmt: skip
    found = patient_table(build_grid(table, "d", "dice"))
    assert list(found.values) == ["A"]
    assert found.partial["B"].dropna().to_dict() == {"p0": 0.9}
    assert found.excluded == {"B": "B: 1 of 2 results, e.g. none for case c1"}


def test_an_unfinished_method_has_no_value_and_asks_nothing_of_others() -> None:
    table = rows(("A", 0, 0, "p0", "c0", "WT", 0.2), ("B", 0, 1, "p0", "c0", "WT", 0.9))
    found = patient_table(build_grid(table, "d", "dice"), unfinished=["B"])
    assert list(found.values) == ["A"]
    assert list(found.partial) == []


def test_what_is_skipped_for_one_method_is_left_out_for_all_and_counted() -> None:
    table = rows(
        ("A", 0, 0, "p0", "c0", "WT", 1.0), ("A", 0, 0, "p1", "c1", "WT", 373.0, "skipped"),
        ("B", 0, 0, "p0", "c0", "WT", 3.0), ("B", 0, 0, "p1", "c1", "WT", 50.0),
    )  # fmt: skip
    found = patient_table(build_grid(table, "d", "hd95"))
    assert found.values.to_dict() == {"A": {"p0": 1.0}, "B": {"p0": 3.0}}
    assert found.excluded == {}
    assert found.caveats == (
        "left out for every method, because one cannot be computed (policy nan_skip): 1 test of a case",
    )


def test_what_an_unfinished_method_skips_is_left_out_for_nobody() -> None:
    table = rows(("A", 0, 0, "p0", "c0", "WT", 1.0), ("B", 0, 0, "p0", "c0", "WT", 373.0, "skipped"))
    found = patient_table(build_grid(table, "d", "hd95"), unfinished=["B"])
    assert found.values.to_dict() == {"A": {"p0": 1.0}}
    assert found.caveats == ()


def test_a_test_skipped_in_one_region_has_no_mean_over_regions_and_is_counted_once() -> None:
    table = rows(
        ("A", 0, 0, "p0", "c0", "WT", 1.0), ("A", 0, 0, "p0", "c0", "ET", 2.0),
        ("A", 0, 0, "p1", "c1", "WT", 1.0), ("A", 0, 0, "p1", "c1", "ET", 373.0, "skipped"),
    )  # fmt: skip
    found = patient_table(build_grid(table, "d", "hd95"))
    assert found.values.to_dict() == {"A": {"p0": 1.5}}
    assert len(found.caveats) == 1
    assert patient_table(build_grid(table, "d", "hd95"), "WT").values["A"].to_dict() == {"p0": 1.0, "p1": 1.0}


def test_nothing_but_skipped_results_is_refused() -> None:
    table = rows(("A", 0, 0, "p0", "c0", "WT", 373.0, "skipped"))
    with pytest.raises(DataError, match="'hd95'"):
        patient_table(build_grid(table, "d", "hd95"))


def test_an_infinite_value_stops_the_mean() -> None:
    table = rows(("A", 0, 0, "p0", "c0", "WT", np.inf), ("B", 0, 0, "p0", "c0", "WT", 1.0))
    assert "infinite" in patient_table(build_grid(table, "d", "hd95")).excluded["A"]


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([], "no results"),
        ([("A", 0, 0, "p", "c", "WT", np.nan)], "have no value, e.g. case 'c'"),
        ([("A", 0, 0, "p", "c", "WT", 0.5)] * 2, "are repeated"),
        ([("A", 0, 0, "p", "c", MEAN_REGION, 0.5)], "has a region 'Mean'"),
    ],
)
def test_what_cannot_be_is_refused(entries: list[tuple[object, ...]], said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        build_grid(rows(*entries), "d", "dice")
    assert caught.value.hint


def test_an_unknown_region_is_refused() -> None:
    grid = build_grid(rows(("A", 0, 0, "p", "c", "WT", 0.5)), "d", "dice")
    with pytest.raises(DataError, match="no region 'ET'"):
        patient_table(grid, "ET")


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31), categorical=st.booleans())
def test_shuffled_rows_give_the_same_to_the_last_digit(seed: int, categorical: bool) -> None:
    random = np.random.default_rng(5)
    table = rows(
        *(
            (method, patient % 3, run, f"p{patient // 2}", f"c{patient}", region, random.random())
            for method in "ABC"
            for patient in range(24)
            for run in range(2)
            for region in ("WT", "ET")
        )
    )
    other = table.sample(frac=1, random_state=seed)
    if categorical:
        other = other.astype(dict.fromkeys(["method", "patient", "case", "region", "status"], "category"))
    first, second = (
        analyse(build_grid(each, "d", "dice"), higher_is_better=True, references=dict.fromkeys("BC", "A"), resamples=99)
        for each in (table, other)
    )
    assert repr(first) == repr(second)
    pd.testing.assert_frame_equal(first.table, second.table, check_exact=True)
    assert first.comparisons == second.comparisons
