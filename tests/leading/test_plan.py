"""What a race trains: which candidates, which seeds, on whose cases, under which schedule."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.data import DATASETS
from harness.data.patients.by_column import SplitBy
from harness.data.synthetic.generated import generate
from harness.errors import DataError, HarnessError, StudyError
from harness.execution.cell.problem import open_problem
from harness.leading.plan import Request, make_plan
from harness.leading.race import Rule
from harness.study.expansion import load_study
from harness.training.optimiser import learning_rate
from tests.helpers.own_folder import write_own_folder, write_sites

pytestmark = pytest.mark.usefixtures("toys")


def request(**asked):
    return Request(**{"dataset": "cortex", "model": "toy_leading", "protocol": "demo", **asked})


def test_every_modality_runs_with_every_seed_and_none_on_request(project):
    plan = make_plan(request(), project)
    assert plan.candidates == ("t1", "epi")
    assert set(plan.specs) == {(candidate, seed) for candidate in ("t1", "epi") for seed in (0, 1, 2)}
    assert make_plan(request(with_none=True), project).candidates == ("t1", "epi", "none")


def test_all_rungs_share_one_schedule_of_the_full_length(project):
    plan = make_plan(request(epochs=8, rungs=3), project)
    assert plan.rungs == (2, 4, 8)
    settings = {spec.protocol.training for spec in plan.specs.values()}
    (training,) = settings
    assert training.epochs == 8
    steps = training.steps_per_epoch
    assert learning_rate(2 * steps, training) == pytest.approx(training.optimiser.lr * (1 - 2 / 8) ** 0.9)


def test_the_trainings_are_those_of_a_study(project, write_study):
    """So that their identity is that of cells: the same change of anything makes another training."""
    plan = make_plan(request(epochs=10, seeds=1), project)
    protocol = {"base": "demo", "training": {"validate_every": 10}}
    matrix = {"dataset": ["cortex"], "model": ["toy_leading"], "leading": ["all"]}
    cells = load_study(write_study(protocol=protocol, matrix=matrix)).cells
    assert {spec.id for spec in plan.specs.values()} == {cell.spec.id for cell in cells}


def test_another_rule_is_another_race(project):
    rules = [{}, {"rule": Rule(1, 0.05)}, {"rule": Rule(2, 0.1)}]
    others = [{"epochs": 4}, {"seeds": 2}, {"with_none": True}, {"options": {"width": 8}}]
    names = {make_plan(request(**asked), project).name for asked in (*rules, *others)}
    assert len(names) == 7
    assert all(name.startswith("toy_leading".replace("_", "-")) for name in names)


def test_too_few_validation_patients_are_drawn_anew_and_test_patients_stay_closed(project):
    generate(DATASETS.get("brats2023"), project / "brats", 20, 0, 0.07)
    reader = DATASETS.get("brats2023").open(project / "brats")
    own = reader.split(0)
    plan = make_plan(request(dataset="brats2023", root=project / "brats"), project / "lead")
    assert plan.own_split
    assert plan.kind == "generated"
    assert len({reader.patient(case) for case in plan.validation}) == 6
    assert not set(plan.validation) & set(own.test)
    spec = plan.specs["t1c", 0]
    assert spec.splits_file.is_file()
    again = make_plan(request(dataset="brats2023", root=project / "brats"), project / "elsewhere")
    assert again.name == plan.name


@pytest.mark.parametrize("patients", [9, 60])
def test_a_race_on_a_split_by_site_is_that_of_a_study_and_never_sees_the_site_that_is_left_out(
    project, write_study, patients
):
    root = write_own_folder(project / "mine", sites := {"A": 4, "B": patients // 2, "C": patients // 2})
    write_sites(root, sites)
    asked = {"dataset": "mine", "nnunet_raw": root, "by": SplitBy("site", "leave-one-out"), "fold": 0, "seeds": 1}
    plan = make_plan(request(**asked, epochs=10), project)
    split = open_problem(plan.specs["T1", 0]).split
    assert {case[0] for case in split.test} == {"a"}
    assert {case[0] for case in (*split.train, *split.val)} == {"b", "c"}
    assert len(plan.validation) >= 4
    assert plan.own_split == (patients < 60), "a tenth of 60 patients is enough to validate on"
    assert "site" in plan.split_words
    if not plan.own_split:
        protocol = {"base": "demo", "training": {"validate_every": 10}}
        entry = {"name": "mine", "nnunet_raw": str(root), "split": {"by": "site"}}
        matrix = {"dataset": [entry], "model": ["toy_leading"], "leading": ["all"], "fold": [0]}
        cells = load_study(write_study(protocol=protocol, matrix=matrix)).cells
        assert {spec.id for spec in plan.specs.values()} == {cell.spec.id for cell in cells}
    with pytest.raises(StudyError, match="no fold 3"):
        make_plan(request(**{**asked, "fold": 3}), project)
    with pytest.raises(DataError, match="scanner"):
        make_plan(request(**{**asked, "by": SplitBy("scanner", "pairs")}), project)


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"model": "toy"}, StudyError, "no leading modality"),
        ({"model": "toy_leadin"}, HarnessError, "toy_leadin"),
        ({"dataset": "cortx"}, HarnessError, "cortx"),
        ({"protocol": "paperr"}, StudyError, "paperr"),
        ({"fold": 7}, StudyError, "no fold 7"),
        ({"options": {"widht": 3}}, StudyError, "widht"),
        ({"dataset": "../mine", "nnunet_raw": Path("nowhere")}, HarnessError, "not a valid name"),
        ({"dataset": "mine", "nnunet_raw": Path("nowhere")}, DataError, "nowhere"),
    ],
)
def test_what_cannot_be_is_refused(project, asked, error, words):
    with pytest.raises(error, match=words):
        make_plan(request(**asked), project)
