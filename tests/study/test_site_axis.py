"""A site as an axis of a study, and shares of the training patients: which cells there are, and what is refused."""

from __future__ import annotations

import json

import pytest

from harness.data.patients.by_column import SplitBy
from harness.errors import DataError, HarnessError, StudyError
from harness.execution.cell.problem import open_problem
from harness.execution.costs.data_size import split_of
from harness.execution.missing_modalities import plan_missing
from harness.execution.study import register
from harness.results.store import Store
from harness.study.cell import CellSpec
from harness.study.expansion import load_study
from tests.helpers.own_folder import write_own_folder, write_sites

SITES = {"A": 4, "B": 5, "C": 3}


@pytest.fixture
def own(project, write_study, toys):
    """Returns a function that writes a study on a folder of patients at three sites."""
    root = write_own_folder(project / "mine", SITES, timepoints=2)
    write_sites(root, SITES)

    def write(split=None, model=("toy",), report=None, **axes):
        entry = {"nnunet_raw": "mine", **({"split": split} if split else {})}
        return write_study(
            matrix={"dataset": [entry], "model": list(model), **axes}, **({"report": report} if report else {})
        )

    return write


def test_each_site_is_left_out_in_turn(own):
    cells = load_study(own({"by": "site"})).cells
    assert [cell.spec.fold for cell in cells] == [0, 1, 2]
    for site, cell in zip("abc", cells, strict=True):
        split = open_problem(cell.spec).split
        assert {case[0] for case in split.test} == {site}
        assert site not in {case[0] for case in (*split.train, *split.val)}
        assert split == split_of(cell.spec)
        assert CellSpec.from_json(json.loads(json.dumps(cell.spec.to_json()))) == cell.spec
    assert cells[0].spec.split_by == SplitBy("site", "leave-one-out")


def test_pairs_and_chosen_folds(own):
    (cell,) = load_study(own({"by": "site", "kind": "pairs"}, fold=[1])).cells
    split = open_problem(cell.spec).split
    assert {case[0] for case in split.train} == {"b"}
    assert {case[0] for case in split.test} == {"a", "b", "c"}


def test_a_column_names_no_cell_and_its_values_are_in_no_record(own, project):
    plain = load_study(own()).cells[0].spec
    (project / "mine" / "patients.csv").unlink()
    assert load_study(own()).cells[0].spec.id == plain.id
    columns = {
        f"{site.lower()}{n:02d}": {"site": f"{site}-town"} for site, count in SITES.items() for n in range(count)
    }
    path = project / "mine" / "patients.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | columns))
    cells = load_study(own({"by": "site"})).cells
    assert len(cells) == 3
    assert "town" not in json.dumps([cell.spec.to_json() for cell in cells])


def test_sites_that_changed_since_are_refused_by_a_message_that_names_none(own, project):
    spec = load_study(own({"by": "site"})).cells[0].spec
    write_sites(project / "mine", {"A": 3, "B": 5, "C": 3})
    with pytest.raises(DataError, match="split of mine changed") as error:
        open_problem(spec)
    assert "site" not in error.value.message


@pytest.mark.parametrize(
    ("split", "axes", "message"),
    [
        ({"by": "scanner"}, {}, r"micro\.yaml:\d+: The patients of mine have no column 'scanner'; they have site, age"),
        ({"by": "site"}, {"fold": [3]}, r"mine has 3 folds, so there is no fold 3"),
        ({"by": "age"}, {}, r"too few patients with 'age'"),
        ({"by": "site", "kind": "all"}, {}, r"micro\.yaml:\d+: .*leave-one-out"),
        ({"by": ""}, {}, r"micro\.yaml:\d+: .*by"),
        ({"site": "by"}, {}, r"micro\.yaml:\d+: 'matrix.dataset.0.split.by' is missing"),
    ],
)
def test_what_cannot_be_is_refused_with_the_line(own, split, axes, message):
    with pytest.raises((DataError, StudyError), match=message):
        load_study(own(split, **axes))


def test_a_split_and_a_file_of_folds_are_two_answers(own, write_study):
    entry = {"nnunet_raw": "mine", "split": {"by": "site"}, "splits": "x.json"}
    own()
    with pytest.raises(StudyError, match="one of 'split' and 'splits'"):
        load_study(write_study(matrix={"dataset": [entry], "model": ["toy"]}))


def test_shares_of_the_training_patients_are_an_axis(own):
    plain = load_study(own(seed=[0, 1])).cells
    loaded = load_study(own(seed=[0, 1], train_share=[1, 0.25, 0.5], report={"reference": "toy"}))
    assert loaded.labels == ("toy, 25 % of training patients", "toy, 50 % of training patients", "toy")
    assert [cell.spec.id for cell in loaded.cells if cell.label == "toy"] == [cell.spec.id for cell in plain]
    assert len({cell.spec.id for cell in loaded.cells}) == 6
    assert loaded.study.report.reference == "toy"
    everything = {cell.spec.seed: open_problem(cell.spec).split for cell in loaded.cells if cell.spec.train_share == 1}
    for cell in loaded.cells:
        split, whole = open_problem(cell.spec).split, everything[cell.spec.seed]
        assert (split.val, split.test) == (whole.val, whole.test)
        assert set(split.train) <= set(whole.train)
        assert cell.spec.train_patients == len({case.partition("_")[0] for case in split.train})
        assert split == split_of(cell.spec)
        assert CellSpec.from_json(cell.spec.to_json()) == cell.spec


def test_the_reference_of_a_study_on_a_part_is_trained_on_the_largest_part(own):
    loaded = load_study(own(train_share=0.5, report={"reference": "toy"}))
    assert loaded.study.report.reference == "toy, 50 % of training patients"
    assert loaded.labels == ("toy, 50 % of training patients",)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ([0.1, 0.11, 1], r"micro\.yaml:\d+: .*0\.1 and 0\.11 of the 8 training patients are the same number, 1"),
        ([0], "greater than 0|Allowed"),
        ([1.5], "less than or equal to 1|Allowed"),
        ([True], "true is not a number"),
    ],
)
def test_shares_that_cannot_be_are_refused(own, shares, message):
    with pytest.raises(StudyError, match=message):
        load_study(own(train_share=shares))


def test_a_cell_that_an_earlier_version_planned_is_read(own):
    spec = load_study(own()).cells[0].spec
    values = spec.to_json()
    for added in ("train_share", "train_patients"):
        del values[added]
    assert CellSpec.from_json(values).id == spec.id


def test_sets_of_modalities_are_tested_for_the_largest_share_unless_another_is_named(own, tmp_path):
    path, store = own(train_share=[0.5, 1]), Store(tmp_path / "results")
    store.create()
    folder = register(load_study(path), store, path)
    with pytest.raises(HarnessError, match=r"e\.g\. toy on mine"):  # none has run, and the first that would be is named
        plan_missing(folder, store)
    with pytest.raises(HarnessError, match=r"e\.g\. toy, 50 % of training patients on mine"):
        plan_missing(folder, store, label="toy, 50 % of training patients")
