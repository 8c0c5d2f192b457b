"""Empty regions by another policy, from the stored rows: the values that a test by that policy gives."""

from __future__ import annotations

import itertools
import re
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from harness.cli import main
from harness.errors import HarnessError
from harness.evaluation.policy import empty_policy, image_diagonal
from harness.evaluation.scoring import describe_masks, score_case
from harness.results.empty_cases import MASKS_FILE, masks_of, under_policy
from harness.results.reading import load_results
from harness.results.schema import CELL_COLUMNS, FLOOR_COLUMNS, HISTORY_COLUMNS, StudyResults
from harness.results.store import Store

POLICIES = ("worst", "brats", "nan_skip", "100mm")
METRICS = ("dice", "hd95", "sensitivity", "ravd", "assd", "nsd_2mm", "chaos_ravd", "hd95_brats", "lesion_hd95_2023")
REGIONS = {"WT": (1, 2), "ET": (2,)}
SHAPE, SPACING = (12, 10, 8), (1.0, 1.5, 3.0)
NO_MASKS = masks_of([])


def cube(label: int) -> NDArray[np.uint8]:
    image = np.zeros(SHAPE, np.uint8)
    image[2:6, 2:6, 2:5] = label
    return image


#: Prediction and truth: both there, ET empty in truth, in prediction and in both, all empty, and no prediction at all.
CASES: dict[str, tuple[NDArray[np.uint8] | None, NDArray[np.uint8]]] = {
    "good": (cube(2), np.roll(cube(2), 1, 0)),
    "found too much": (cube(2), cube(1)),
    "found nothing": (cube(1), cube(2)),
    "nothing there": (cube(1), cube(1)),
    "blank": (cube(0), cube(0)),
    "missing": (None, cube(2)),
}


@cache
def as_tested(policy: str, metrics: tuple[str, ...] = METRICS) -> StudyResults:
    """Results as a cell stores them that was tested by a policy; nobody may change them."""
    place = {"study": "s", "profile": "default", "cell": "c", "dataset": "d", "model": "m", "label": "A"}
    place |= {"leading": "-", "fold": 0, "seed": 0}
    rows = [
        {**place, "patient": name, "case": name, **asdict(score)}
        for name, (prediction, truth) in CASES.items()
        for score in score_case(prediction, truth, REGIONS, SPACING, empty_policy(policy), metrics)
    ]
    nothing = {
        key: pd.DataFrame(columns=list(columns))
        for key, columns in (("cells", CELL_COLUMNS), ("history", HISTORY_COLUMNS), ("floors", FLOOR_COLUMNS))
    }
    return StudyResults(
        "s", "default", "", None, metrics, ("A",), pd.DataFrame(rows), datasets={}, overlays={}, **nothing
    )


@cache
def masks() -> pd.DataFrame:
    """What such a cell stores of its masks; nobody may change it."""
    rows: list[dict[str, Any]] = []
    for name, (prediction, truth) in CASES.items():
        for one in describe_masks(truth if prediction is None else prediction, truth, REGIONS, SPACING):
            rows.append({"cell": "c", "dataset": "d", "case": name, **asdict(one)})
    table = pd.DataFrame(rows).rename(columns={"status": "masks"})
    return table.assign(diagonal=image_diagonal(SHAPE, SPACING))


@pytest.mark.parametrize(("before", "after"), itertools.product(POLICIES, POLICIES))
def test_rows_become_what_a_test_by_that_policy_gives(before, after):
    changed = under_policy(as_tested(before), after, masks())
    assert changed.empty == after
    pd.testing.assert_frame_equal(
        changed.cases.astype({"implementation": str}), as_tested(after).cases.astype({"implementation": str})
    )


@pytest.mark.parametrize(("before", "after"), itertools.product(("worst", "nan_skip"), POLICIES))
def test_rows_without_stored_masks_are_enough_where_the_test_set_the_diagonal(before, after):
    metrics = ("dice", "hd95", "sensitivity", "assd")
    changed = under_policy(as_tested(before, metrics), after, NO_MASKS).cases
    expected = as_tested(after, metrics).cases
    assert changed["status"].tolist() == expected["status"].tolist()
    np.testing.assert_allclose(changed["value"], expected["value"])


def test_older_rows_of_brats_take_what_needs_no_diagonal():
    metrics = ("dice", "hd95")
    old = as_tested("brats", metrics)
    for policy in ("nan_skip", "500mm"):
        changed, expected = under_policy(old, policy, NO_MASKS).cases, as_tested(policy, metrics).cases
        assert changed["status"].tolist() == expected["status"].tolist()
        counted = changed["status"] != "skipped"
        if policy != "nan_skip":  # the missing prediction of an older row keeps the penalty, which is no less
            np.testing.assert_allclose(changed["value"][counted], expected["value"][counted])


@pytest.mark.parametrize(
    ("metrics", "policy", "needed"),
    [
        (("dice", "hd95"), "worst", "shape and voxel size of"),
        (("dice", "ravd"), "nan_skip", "whether the true mask is empty"),
    ],
)
def test_what_older_rows_lack_is_named_with_the_remedy(metrics, policy, needed):
    with pytest.raises(HarnessError) as refused:
        under_policy(as_tested("brats", metrics), policy, NO_MASKS)
    assert needed in refused.value.message
    assert f"harness evaluate STUDY --metric {metrics[1]}_{policy}" in refused.value.hint
    assert "tested anew" in refused.value.hint


def test_another_cells_masks_of_the_same_case_are_enough():
    changed = under_policy(as_tested("brats", ("dice", "hd95")), "worst", masks().assign(cell="another"))
    np.testing.assert_allclose(changed.cases["value"], as_tested("worst", ("dice", "hd95")).cases["value"])


def test_results_of_others_follow_the_policy_of_the_report():
    """Their file names no policy, so a diagonal is known only where a cell of ours was tested on the case."""
    metrics = ("dice", "hd95")
    file = as_tested("brats", metrics)
    theirs = replace(file, cases=file.cases[file.cases["case"] != "missing"].assign(implementation="as in theirs.csv"))
    for policy, stored in (("100mm", NO_MASKS), ("nan_skip", NO_MASKS), ("worst", masks())):
        found = under_policy(theirs, policy, stored).cases
        expected = as_tested(policy, metrics).cases[lambda rows: rows["case"] != "missing"]
        assert found["status"].tolist() == expected["status"].tolist()
        counted = (found["status"] != "skipped").to_numpy()
        np.testing.assert_allclose(found["value"][counted], expected["value"][counted])
    with pytest.raises(HarnessError, match="come from a file"):
        under_policy(theirs, "worst", NO_MASKS)


def test_names_that_are_stored_once_stay_so():
    results = as_tested("brats")
    compact = results.cases.astype(dict.fromkeys(("metric", "status", "implementation", "case"), "category"))
    changed = under_policy(as_tested("brats"), "nan_skip", masks()).cases
    found = under_policy(StudyResults(**{**vars(results), "cases": compact}), "nan_skip", masks()).cases
    assert found["status"].tolist() == changed["status"].tolist()
    assert isinstance(found["status"].dtype, pd.CategoricalDtype)


def test_an_unknown_policy_names_the_nearest():
    with pytest.raises(HarnessError, match=r"(?s)nan_skp.*Did you mean 'nan_skip'.*100mm"):
        under_policy(as_tested("worst"), "nan_skp", NO_MASKS)


def test_a_cell_stores_its_masks_and_a_report_names_the_policy(finished_study, project, capsys):
    store = Store(project / "results")
    folder = store.find_study()
    results = load_results(folder, store)
    stored = masks_of(cell for _, cell in store.study_cells(folder))
    key = ["cell", "case", "region"]
    assert set(map(tuple, stored[key].to_numpy())) == set(map(tuple, results.cases[key].astype(str).to_numpy()))
    assert (stored["diagonal"] > 0).all()
    words = ["report", "--format", "markdown", "--no-figures", "--no-mlflow"]
    assert main([*words, "--empty", "nan_skip"]) == 0
    text = (project / "results" / "reports" / "micro" / "default" / "tables.md").read_text()
    assert "empty regions by policy nan\\_skip" in text
    assert re.search(r"; empty: nan\\_skip", text)
    assert main([*words, "--empty", "nan"]) == 2
    assert "no empty-case policy 'nan'" in capsys.readouterr().err
    for cell in (project / "results" / "cells").iterdir():
        (cell / "result" / MASKS_FILE).write_bytes(b"nothing")
    assert main([*words, "--empty", "worst"]) == 2
    assert "retry micro --damaged" in capsys.readouterr().err


def test_a_study_names_the_policy_of_its_report(write_study, toys, project, capsys):
    from harness.execution.study import register
    from harness.study.expansion import load_study

    plain, path = load_study(write_study()), write_study(report={"empty": "100mm"})
    loaded = load_study(path)
    assert [cell.spec.id for cell in loaded.cells] == [cell.spec.id for cell in plain.cells]
    store = Store(project / "results")
    assert load_results(register(loaded, store, path), store).empty == "100mm"
    with pytest.raises(HarnessError, match=r"(?s)micro.yaml:.*brat.*Did you mean 'brats'"):
        load_study(write_study(report={"empty": "brat"}))
