"""A cell's name: equal for equal numbers, different where anything that affects them differs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.files import read_json, write_json
from harness.study.cell import CellSpec
from harness.study.protocol import load_protocol


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
        "protocol": load_protocol("demo"),
    }
    return CellSpec(**{**values, **changes})


def longer(protocol):
    return protocol.model_copy(update={"training": protocol.training.model_copy(update={"epochs": 11})})


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
    write_json(tmp_path / "cell.json", spec().to_json())
    assert CellSpec.from_json(read_json(tmp_path / "cell.json")) == spec()


def test_a_spec_changed_by_hand_is_refused():
    values = json.loads(json.dumps(spec().to_json()))
    values["seed"] = 7
    with pytest.raises(ValueError, match="does not match"):
        CellSpec.from_json(values)
