"""Folds of the user's own in a study: whose they are, what they change, and what is refused."""

from __future__ import annotations

import dataclasses

import pytest

from harness.data import DATASETS, Split
from harness.data.splits import choose_splits, write_splits
from harness.errors import DataError, StudyError
from harness.execution.cell.problem import open_problem
from harness.study.cell import CellSpec
from harness.study.expansion import load_study


@pytest.fixture
def own(project, write_study, toys):
    """Returns a function that writes a study on these folds."""

    def write(splits, **axes):
        write_splits(project / "own.json", splits)
        return write_study(matrix={"dataset": [{"name": "cortex", "splits": "own.json"}], "model": ["toy"], **axes})

    return write


def folds():
    dataset = DATASETS.get("cortex")
    return choose_splits(dataset, dataset.open())


def test_the_files_folds_replace_the_datasets(own):
    first, second = folds()
    third = Split(first.train[:1], first.val, first.test[:2])
    cells = load_study(own([second, first, third], fold=[0, 2])).cells
    assert [cell.spec.split for cell in cells] == [second.hash, third.hash]
    assert open_problem(cells[1].spec).split == third
    assert not open_problem(cells[1].spec).own_split


def test_the_content_is_the_identity_not_the_file(own, write_study):
    named = load_study(own(folds())).cells[0].spec
    plain = load_study(write_study()).cells[0].spec
    assert named.id == plain.id
    assert CellSpec.from_json(named.to_json()) == named
    assert open_problem(named).own_split


def test_a_file_that_changed_since_is_refused(own, project):
    first, second = folds()
    spec = load_study(own([first])).cells[0].spec
    write_splits(project / "own.json", [second])
    with pytest.raises(DataError, match="split of cortex changed"):
        open_problem(spec)


def test_a_fold_the_file_lacks_is_refused(own):
    with pytest.raises(StudyError, match=r"cortex has 1 .* no fold 1"):
        load_study(own(folds()[:1], fold=[1]))


def test_a_case_on_two_sides_is_refused_with_the_line(own):
    first = folds()[0]
    leak = Split(first.train, first.val, (*first.test, first.train[0]))
    with pytest.raises(DataError, match=r"micro\.yaml:\d+: .*fold 0 leaks: case"):
        load_study(own([leak]))


def test_a_patient_on_two_sides_is_refused_unless_the_dataset_declares_it(write_study, monkeypatch, toys):
    apart = dataclasses.replace(DATASETS.get("cortex"), split_within_patient=False)
    monkeypatch.setattr(DATASETS, "get", lambda _: apart)
    with pytest.raises(DataError, match="patient S1 is in training and in validation"):
        load_study(write_study())
