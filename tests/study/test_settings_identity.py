"""What names a cell: a setting that is added, or that changes no number, renames nothing."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field
from torch import nn

from harness.execution.cell.problem import open_problem
from harness.segmenters import SEGMENTERS, Options, Task
from harness.settings import CHANGES_NO_NUMBER, Added, Settings
from harness.study.cell import CellSpec
from harness.study.expansion import load_study
from harness.study.protocol import Protocol, load_protocol
from harness.study.tuning import TuningSettings
from harness.training.settings import TrainingSettings


class Inner(Settings):
    size: int = 1


class LaterInner(Inner):
    window: Annotated[tuple[int, ...], Added("0.3", was=(1, 1)), Field(min_length=2)] = (1, 1)
    workers: Annotated[int | None, CHANGES_NO_NUMBER] = Field(None, ge=0)


class Outer(Settings):
    width: int = Field(4, ge=1)
    inner: Inner = Inner()
    several: tuple[Inner, ...] = (Inner(),)
    named: dict[str, Inner] = Field({"a": Inner()})


class LaterOuter(Outer):
    """The same one version later: the default of ``depth`` is not what was done before."""

    inner: LaterInner = LaterInner()
    several: tuple[LaterInner, ...] = (LaterInner(),)
    named: dict[str, LaterInner] = Field({"a": LaterInner()})
    depth: Annotated[int, Added("0.3", was=2)] = Field(3, ge=1)
    group: Annotated[LaterInner, Added("0.3", was=LaterInner(size=7))] = LaterInner(size=7)


OLD = {"depth": 2}


def test_a_setting_that_is_added_stays_out_at_its_old_meaning_and_is_in_at_any_other_value():
    assert LaterOuter(**OLD).identity() == Outer().identity()
    assert LaterOuter().identity() == {**Outer().identity(), "depth": 3}
    for changed in ({"inner": {"window": [1, 2]}}, {"several": [{"window": [2, 1]}]}, {"named": {"a": {"size": 2}}}):
        assert LaterOuter(**OLD, **changed).identity() != Outer().identity()


def test_a_group_that_is_added_stays_out_as_a_whole_whatever_its_unnumbered_settings():
    assert LaterOuter(**OLD, group={"size": 7, "workers": 3}).identity() == Outer().identity()
    assert LaterOuter(**OLD, group={"size": 8}).identity() == {**Outer().identity(), "group": {"size": 8}}


@pytest.mark.parametrize("workers", [None, 0, 5])
def test_a_setting_that_changes_no_number_is_never_in(workers):
    given = {"workers": workers}
    later = LaterOuter(**OLD, inner=given, several=[given], named={"a": given})
    assert later.identity() == Outer().identity()


def test_what_is_stored_is_complete_and_an_earlier_versions_is_read_at_its_old_meaning():
    stored = json.loads(LaterOuter(depth=5, inner={"workers": 2}).model_dump_json())
    assert (stored["depth"], stored["inner"]["workers"], stored["inner"]["window"]) == (5, 2, [1, 1])
    assert LaterOuter.from_stored(stored) == LaterOuter(depth=5, inner={"workers": 2})
    assert LaterOuter.from_stored(Outer().model_dump(mode="json")).depth == 2
    assert LaterOuter.model_validate({}).depth == 3


class LaterTraining(TrainingSettings):
    ramp: Annotated[int, Added("0.3", was=0)] = 1
    chatty: Annotated[bool, CHANGES_NO_NUMBER] = True


class LaterProtocol(Protocol):
    training: LaterTraining = LaterTraining()


class ToyOptions(Options):
    width: int = 4
    switch: str = "on"


class LaterToyOptions(ToyOptions):
    depth: Annotated[int, Added("0.3", was=2)] = 3
    chatty: Annotated[bool, CHANGES_NO_NUMBER] = False


@pytest.fixture
def cells_of(project, write_study, toys, monkeypatch):
    """Returns a function from a class of options and a model's entry to the specs of a study."""
    real = SEGMENTERS.get

    def load(options, **entry):
        toy = replace(real("toy"), options=options)
        monkeypatch.setattr(SEGMENTERS, "get", lambda _: toy)
        study = write_study(matrix={"dataset": ["cortex"], "model": [{"name": "toy", "label": "A", **entry}]})
        return load_study(study).cells[0].spec

    return load


def test_a_cell_keeps_its_name_when_its_protocol_gets_a_setting(cells_of):
    before = cells_of(ToyOptions)

    def later(**training):
        values = before.protocol.model_dump(mode="json")
        protocol = LaterProtocol.model_validate({**values, "training": {**values["training"], **training}})
        return replace(before, protocol=protocol).id

    assert later(ramp=0) == later(ramp=0, chatty=False) == before.id
    assert later() == later(ramp=1) != before.id


def test_a_cell_keeps_its_name_when_its_network_gets_an_option(cells_of):
    before = cells_of(ToyOptions)
    assert "identity_options" not in before.to_json()
    assert cells_of(LaterToyOptions).id != before.id
    later = cells_of(LaterToyOptions, depth=2, chatty=True)
    assert later.id == before.id
    assert later.options == {"width": 4, "switch": "on", "depth": 2, "chatty": True}
    assert CellSpec.from_json(json.loads(json.dumps(later.to_json()))) == later


def test_a_stored_cell_is_opened_with_the_options_it_was_computed_with(cells_of):
    before = cells_of(ToyOptions).to_json()
    cells_of(LaterToyOptions)
    assert open_problem(CellSpec.from_json(before)).options == LaterToyOptions(depth=2)


#: Settings without a mark, by class: those of 0.2.0. They are part of the identity at every value.
UNMARKED = json.loads((Path(__file__).parent / "identity_fields.json").read_text())


def classes_in(annotation: object) -> Iterator[type[Settings]]:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
        for field in annotation.model_fields.values():
            yield from classes_in(field.annotation)
    for argument in typing.get_args(annotation):
        yield from classes_in(argument)


def unmarked(kind: type[Settings]) -> list[str]:
    marked = [
        name
        for name, field in kind.model_fields.items()
        if any(mark == CHANGES_NO_NUMBER or isinstance(mark, Added) for mark in field.metadata)
    ]
    return [name for name in kind.model_fields if name not in marked]


def test_every_setting_that_names_a_cell_was_in_0_2_0_or_carries_a_mark():
    options = [SEGMENTERS.get(name).options for name in SEGMENTERS.names()]
    ours = [one for one in options if one.__module__.split(".")[0] in {"aahn", "baselines"}]
    classes = {kind for root in (Protocol, TuningSettings, *ours) for kind in classes_in(root)}
    assert {kind.__name__: unmarked(kind) for kind in classes} == UNMARKED, (
        "a new setting needs `Added` or `CHANGES_NO_NUMBER` (harness/settings.py), or every cell gets another name; "
        "a class that is new as a whole goes into tests/study/identity_fields.json"
    )


def test_the_identity_holds_every_unmarked_setting_as_it_is_stored():
    protocol = load_protocol("demo")
    stored = protocol.model_dump(mode="json")
    named = protocol.identity()["training"]
    assert named.items() <= stored["training"].items()
    assert stored["training"].keys() - named.keys() == set(TrainingSettings.model_fields) - set(
        unmarked(TrainingSettings)
    )
    assert stored.keys() - protocol.identity().keys() == {"name", "description", "source", "purpose"}


@pytest.mark.parametrize(
    ("model", "patch", "means"),
    [("nnunet", [32, 32, 32], False), ("nnunet", [32, 32], True), ("mednext", [32, 32, 32], True)],
)
def test_an_automatic_memory_format_is_the_cell_of_the_format_it_means(project, write_study, model, patch, means):
    def spec(**training):
        dataset, matrix = [{"name": "prostate158"}], [{"name": model, "preset": "tiny"}]
        protocol = {"base": "paper", "patch_size": patch, "training": training}
        study = write_study(matrix={"dataset": dataset, "model": matrix}, protocol=protocol)
        return load_study(study, assume_absent=True).cells[0].spec

    assert spec(channels_last="auto").protocol.training.channels_last is means
    assert spec(channels_last="auto").id == spec(channels_last=means).id != spec(channels_last=not means).id
    assert spec().protocol.training.channels_last is True  # as before there was a choice by network


def holds_slow_norm(segmenter, dims):
    """Whether a network in its preset ``tiny`` has an instance norm of volumes."""
    options = {"preset": "tiny"} if "tiny" in segmenter.presets else {}
    network = segmenter.build(Task(("a", "b", "c", "d"), 0, 4, (64,) * dims), options)
    return any(isinstance(module, nn.InstanceNorm3d) for module in network.modules())


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("nnunet", "mednext", "unetr") else pytest.param(name, marks=pytest.mark.slow)
        for name in SEGMENTERS.names()
    ],
)
def test_what_is_slower_with_channels_last_is_declared(name):
    segmenter = SEGMENTERS.get(name)
    if not segmenter.runner:
        found = {dims for dims in segmenter.spatial_dims if holds_slow_norm(segmenter, dims)}
        assert found == segmenter.contiguous_dims, "InstanceNorm3d converts each map and back (pytorch #59168)"
