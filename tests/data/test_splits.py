"""Splits by patient: schemes, files with hashes, and the refusal of what leaks."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import KFold

from harness.cli import main
from harness.data import DATASETS, Split
from harness.data.splits import (
    FOLD_NAMES,
    check_leak,
    choose_splits,
    make_split,
    read_splits,
    standard_split,
    write_splits,
)
from harness.errors import DataError

CORTEX = DATASETS.get("cortex")
APART = dataclasses.replace(CORTEX, split_within_patient=False)


class ByPrefix:
    """A reader whose cases are PATIENT-TIMEPOINT."""

    def patient(self, case):
        return case.partition("-")[0]


def timepoints(patients, each=2):
    return {f"p{number:03d}-{time}": f"p{number:03d}" for number in range(patients) for time in range(each)}


@given(st.integers(5, 60), st.integers(1, 3), st.integers(0, 5))
def test_no_standard_fold_leaks_and_every_case_is_used(patients, each, fold):
    cases = timepoints(patients, each)
    split = standard_split(cases, fold)
    check_leak(split, APART, ByPrefix(), "drawn")
    assert sorted([*split.train, *split.val, *split.test]) == sorted(cases)


def test_fold_0_is_the_draw_of_the_authors_code():
    """nnU-Net v1: RandomState(12345).choice without replacement picks 80 % of the sorted names."""
    cases = {f"p{number:03d}": f"p{number:03d}" for number in range(53)}
    names = np.array(sorted(cases))
    trained = names[np.random.RandomState(12345).choice(len(names), int(len(names) * 0.8), replace=False)]
    assert set(standard_split(cases, 0).test) == set(names) - set(trained)


def test_fold_0_goes_by_the_order_of_the_authors_names():
    grades = {f"p{number:03d}": "LGG" if number % 3 else "HGG" for number in range(53)}
    named = {name: f"{grade}__{name}" for name, grade in grades.items()}
    keys = np.array(sorted(named.values()))
    trained = keys[np.random.RandomState(12345).choice(len(keys), int(len(keys) * 0.8), replace=False)]
    split = standard_split({name: name for name in grades}, 0, named.__getitem__)
    assert {named[name] for name in split.test} == set(keys) - set(trained)
    assert set(split.test) != set(standard_split({name: name for name in grades}, 0).test)
    again = standard_split({name: name for name in grades}, 2, named.__getitem__)
    assert again == standard_split({name: name for name in grades}, 2)


def test_folds_1_to_5_are_nnunets_and_test_every_patient_once():
    cases = {f"p{number:03d}": f"p{number:03d}" for number in range(23)}
    names = np.array(sorted(cases))
    tests = [standard_split(cases, fold).test for fold in range(1, len(FOLD_NAMES))]
    expected = [tuple(names[test]) for _, test in KFold(5, shuffle=True, random_state=12345).split(names)]
    assert tests == expected
    assert sorted(case for test in tests for case in test) == sorted(cases)


def test_an_official_validation_list_is_kept():
    split = make_split(timepoints(6), test={"p000"}, validation={"p003"})
    assert split.val == ("p003-0", "p003-1")
    assert split.test == ("p000-0", "p000-1")


def test_too_few_patients_are_refused():
    with pytest.raises(DataError, match="4 patients cannot be split"):
        standard_split(timepoints(4), 0)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (Split(("a-0",), (), ("a-1",)), "patient a is in training and in test"),
        (Split(("a-0",), ("a-1",), ("b-0",)), "patient a is in training and in validation"),
        (Split(("a-0",), ("b-0",), ("b-1",)), "patient b is in validation and in test"),
        (Split(("a-0", "a-0"), (), ("b-0",)), "training case is listed twice"),
        (Split((), (), ("b-0",)), "no training cases"),
        (Split(("a-0",), ("b-0",), ()), "no test cases"),
    ],
)
def test_a_leak_is_named(split, message):
    with pytest.raises(DataError, match=message):
        check_leak(split, APART, ByPrefix(), "drawn")


def test_parts_of_one_patient_may_be_split_only_where_the_dataset_says_so():
    split = Split(("a-0",), (), ("a-1",))
    check_leak(split, CORTEX, ByPrefix(), "parts")
    with pytest.raises(DataError, match="case a-0 is in training and in test"):
        check_leak(Split(("a-0",), (), ("a-0",)), CORTEX, ByPrefix(), "parts")


def test_a_file_is_read_back_and_a_change_is_noticed(tmp_path):
    path = tmp_path / "splits.json"
    splits = [standard_split(timepoints(10), fold) for fold in range(2)]
    write_splits(path, splits)
    assert read_splits(path) == tuple(splits)
    values = json.loads(path.read_text())
    values["folds"][1]["test"].append(values["folds"][1]["train"].pop())
    path.write_text(json.dumps(values))
    with pytest.raises(DataError, match=r"Fold 1 of .* was changed"):
        read_splits(path)
    del values["folds"][1]["hash"]
    path.write_text(json.dumps(values))
    assert read_splits(path)[1] != splits[1]


@pytest.mark.parametrize("content", ["", "[]", '{"folds": [{"train": []}]}', '{"folds": 3}'])
def test_what_is_no_split_file_is_refused(tmp_path, content):
    path = tmp_path / "splits.json"
    path.write_text(content)
    with pytest.raises(DataError, match="not a valid split file"):
        read_splits(path)


def test_cases_the_folder_lacks_are_named(tmp_path, small_cortex):
    reader = CORTEX.open(small_cortex)
    write_splits(tmp_path / "splits.json", [Split(("left_y0-8",), (), ("nobody",))])
    with pytest.raises(DataError, match="left_y0-8, nobody"):
        choose_splits(CORTEX, reader, tmp_path / "splits.json")


def test_the_verb_writes_what_a_study_reads(project, capsys):
    assert main(["data", "splits", "cortex", "--out", "cortex.json"]) == 0
    assert "left trains" in capsys.readouterr().out
    assert read_splits(project / "cortex.json") == choose_splits(CORTEX, CORTEX.open())
    assert main(["data", "splits", "cortex", "--out", "cortex.json"]) == 2
    assert "--force" in capsys.readouterr().err


@pytest.mark.parametrize("name", DATASETS.names())
def test_no_fold_of_a_registered_dataset_leaks(name, generated):
    """Generated trees are small; their traps (two timepoints of a patient) are those of the official release."""
    dataset = DATASETS.get(name)
    if dataset.home is not None:
        reader = dataset.open(dataset.home)
    else:
        assert dataset.generator, "a dataset that does not ship needs a generator, or it cannot be tested"
        reader = dataset.open(generated(name))
    labelled = set(reader.cases())
    for number, split in enumerate(choose_splits(dataset, reader)):
        check_leak(split, dataset, reader, f"{name}, fold {number}")
        if not dataset.split_within_patient:
            assert {*split.train, *split.val, *split.test} <= labelled
            assert not {reader.patient(case) for case in (*split.train, *split.val)} & {
                reader.patient(case) for case in split.test
            }
