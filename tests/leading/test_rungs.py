"""A training that pauses at rungs gives the numbers of one that never paused, and opens no test case."""

from __future__ import annotations

import pytest

from harness.data.datasets.cortex.reader import CortexReader
from harness.execution.cell.run import run_rung, run_trial
from harness.results.store import CellFolder
from harness.study.expansion import load_study

pytestmark = pytest.mark.usefixtures("toys")

PROTOCOL = {
    "base": "demo",
    "patch_size": [64, 64],
    "sampling": {"batch_size": 2},
    "training": {"epochs": 4, "steps_per_epoch": 2, "validate_every": 4, "refresh_batchnorm": 2},
}


@pytest.fixture
def spec(write_study):
    return load_study(write_study(protocol=PROTOCOL)).cells[0].spec


def folder_for(spec, place):
    folder = CellFolder(place / spec.id)
    folder.write_spec(spec.to_json())
    return folder


def test_pauses_change_nothing_and_learning_rates_are_those_of_the_whole_training(project, spec):
    paused, whole = folder_for(spec, project / "paused"), folder_for(spec, project / "whole")
    for until in (1, 3, 4):
        run_rung(spec, paused, project / "cache", until, "cpu")
        assert paused.rung(until).history[-1].epoch == until
        assert paused.status() == "interrupted"  # its checkpoint is kept
    run_rung(spec, whole, project / "cache", 4, "cpu")
    assert paused.rung(4).scores == whole.rung(4).scores
    assert [row.loss for row in paused.rung(4).history] == [row.loss for row in whole.rung(4).history]

    trial = folder_for(spec, project / "trial")
    run_trial(spec, trial, project / "cache", "cpu")
    scores = [score.dice for score in paused.rung(4).scores]
    assert trial.trial_summary().val_dice == pytest.approx(sum(scores) / len(scores), abs=1e-12)


def test_a_rung_is_scored_by_case_and_region_on_validation_cases_only(project, spec, monkeypatch):
    load = CortexReader.load
    opened = project / "opened.txt"  # a file: cases are prepared in processes of their own

    def guarded(reader, name):
        with opened.open("a") as file:
            file.write(f"{name}\n")
        return load(reader, name)

    monkeypatch.setattr(CortexReader, "load", guarded)
    folder = folder_for(spec, project / "cells")
    run_rung(spec, folder, project / "cache", 1, "cpu")
    reader = spec.facts().open(spec.root)
    split = reader.split(0)
    assert set(opened.read_text().split()) == {*split.train, *split.val}
    scores = folder.rung(1).scores
    assert {(score.case, score.region) for score in scores} == {(c, r) for c in split.val for r in spec.facts().regions}
    assert {score.patient for score in scores} == {"S1"}
