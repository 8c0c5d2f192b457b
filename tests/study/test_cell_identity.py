"""A cell's name: equal for equal numbers, different where anything that affects them differs."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.execution.cell.problem import open_problem
from harness.files import read_json, write_json
from harness.results.records import CellRecord
from harness.study.cell import CellSpec, numeric_packages
from harness.study.expansion import load_study
from harness.study.protocol import Protocol, load_protocol


@cache
def demo() -> Protocol:
    return load_protocol("demo")


def spec(**changes) -> CellSpec:
    values = {
        "dataset": "cortex",
        "dataset_revision": 1,
        "data": "abc",
        "root": Path("/somewhere"),
        "model": "toy",
        "model_revision": 1,
        "options": {"width": 4, "switch": "on"},
        "leading": "t1",
        "fold": 0,
        "split": "s",
        "seed": 0,
        "protocol": demo(),
    }
    return CellSpec(**{**values, **changes})


def test_that_a_network_is_from_its_paper_alone_is_recorded_and_names_no_other_cell():
    plain, marked = spec(), spec(paper_only=True)
    assert marked.id == plain.id
    assert CellRecord.model_validate(marked.to_json()).paper_only
    assert CellSpec.from_json(marked.to_json()).paper_only
    assert "paper_only" not in plain.to_json()
    assert not CellSpec.from_json(plain.to_json()).paper_only


def longer(protocol):
    return protocol.model_copy(update={"training": protocol.training.model_copy(update={"epochs": 11})})


def training(**changes):
    protocol = load_protocol("demo")
    return protocol.model_copy(update={"training": protocol.training.model_copy(update=changes)})


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "other"},
        {"dataset_revision": 2},
        {"data": "abd"},
        {"model": "toy2"},
        {"model_revision": 2},
        {"options": {"width": 5, "switch": "on"}},
        {"leading": "epi"},
        {"leading": "none"},
        {"leading": "-"},
        {"fold": 1},
        {"split": "t"},
        {"seed": 1},
        {"protocol": longer(load_protocol("demo"))},
        {"protocol": training(determinism="fast")},
        {"protocol": training(compile="default")},
        {"protocol": training(precision="bf16")},
        {"packages": {"torch": "2.7.0"}},
        {"packages": {"torch": "2.6.0", "monai": "1.5.0"}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_affects_numbers_makes_another_cell(changes):
    assert spec(**changes).hash != spec().hash
    assert spec(**changes).id != spec().id


def test_words_and_places_do_not():
    protocol = load_protocol("demo")
    workers = protocol.sampling.model_copy(update={"workers": 3})
    renamed = protocol.model_copy(update={"name": "x", "description": "y", "source": "z", "sampling": workers})
    assert spec(root=Path("/elsewhere")).id == spec().id
    assert spec(protocol=renamed).id == spec().id
    assert spec(options={"switch": "on", "width": 4}).id == spec().id


@given(st.text(max_size=20), st.text(max_size=20))
def test_names_are_safe_in_paths(leading, model):
    name = spec(leading=leading, model=model).id
    assert not set(name) & set("/\\:. \0")
    assert Path(name).name == name


def test_a_spec_survives_json(tmp_path):
    planned = spec(root=tmp_path)
    write_json(tmp_path / "cell.json", planned.to_json())
    assert CellSpec.from_json(read_json(tmp_path / "cell.json")) == planned


def test_a_published_spec_finds_the_data_where_this_machine_has_them(small_cortex, monkeypatch):
    monkeypatch.setenv("HARNESS_DATA_CORTEX", str(small_cortex))
    found = CellSpec.from_json({**spec().to_json(), "root": ""})
    assert (found.root, found.id) == (small_cortex, spec().id)


def test_a_spec_changed_by_hand_is_refused():
    values = json.loads(json.dumps(spec().to_json()))
    values["seed"] = 7
    with pytest.raises(ValueError, match="does not match"):
        CellSpec.from_json(values)


def planned(project, write_study, determinism, **changes):
    protocol = {"base": "demo", "training": {"determinism": determinism}}
    return [cell.spec.id for cell in load_study(write_study(protocol=protocol, **changes)).cells]


@pytest.mark.usefixtures("toys")
def test_a_package_version_makes_another_cell_only_where_the_protocol_is_strict(project, write_study, monkeypatch):
    before = {level: planned(project, write_study, level) for level in ("strict", "fast")}
    versions = {**numeric_packages(), "torch": "99.0"}
    monkeypatch.setattr("harness.study.expansion.numeric_packages", lambda: versions)
    assert planned(project, write_study, "strict") != before["strict"]
    assert planned(project, write_study, "fast") == before["fast"]


@pytest.mark.usefixtures("toys")
def test_labels_questions_and_the_report_make_no_other_cell(project, write_study):
    matrix = {"dataset": ["cortex"], "model": [{"name": "toy", "label": "Ours"}]}
    report = {"reference": "Ours", "metrics": ["hd95"]}
    changed = planned(project, write_study, "strict", name="other", question="?", matrix=matrix, report=report)
    assert changed == planned(project, write_study, "strict")


@pytest.mark.usefixtures("toys")
def test_a_strict_cell_is_not_computed_with_other_packages_than_planned(project, write_study):
    (cell,) = load_study(write_study()).cells
    other = replace(cell.spec, packages={**cell.spec.packages, "numpy": "0.1"})
    with pytest.raises(HarnessError, match=r"planned with numpy 0\.1 \(here: ") as error:
        open_problem(other)
    assert "Run the study again" in error.value.hint
    assert open_problem(cell.spec).spec == cell.spec
