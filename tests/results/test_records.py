"""Records are read as versions before wrote them, and a damaged file is named."""

from __future__ import annotations

import math

import pytest
from stored import cell_record

from harness.files import read_json, write_json
from harness.results.json_record import DamagedRecordError
from harness.results.manifest import Manifest
from harness.results.records import (
    CellRecord,
    FailedAttempt,
    Failure,
    Progress,
    RungScores,
    SubsetSummary,
    Summary,
    Timing,
    TrialSummary,
)
from harness.results.store import Store

#: What version 0.2.0 wrote.
ATTEMPT = {"kind": "killed", "reason": "It was killed.", "time": "2026-01-02T03:04:05+00:00", "accumulate": 2}
SUMMARY = {
    "cell": "cortex_toy_noleading_f0_s0_0123456789ab",
    "start": "scratch",
    "parameters": 1234,
    "gflops": 0.25,
    "steps": 4,
    "train_seconds": 1.5,
    "attempt_seconds": 2.5,
    "device": "NVIDIA H100",
    "ranks": 1,
    "accumulate": 2,
    "attempts": 2,
    "failures": [ATTEMPT],
    "determinism": "seeded",
    "precision": "bf16",
    "compile": "none",
    "peak_memory_mb": 321.5,
    "energy_wh": 0.125,
    "commit": "0123456789ab+dirty",
    "packages": {"python": "3.12.3", "torch": "2.11.0"},
    "started": "2026-01-02T03:04:05+00:00",
    "finished": "2026-01-02T03:04:09+00:00",
}
PROGRESS = {
    "cell": "a",
    "pid": 12,
    "host": "node1",
    "phase": "training",
    "started": "2026-01-02T03:04:05+00:00",
    "total": 8,
    "step": 4,
    "epochs": 2,
    "seconds_per_step": 0.5,
    "history": [
        {"epoch": 1, "step": 4, "loss": 0.75, "val_dice": None, "lr": 0.01, "seconds": 1.0, "waiting": None},
    ],
}
SUBSET_PROGRESS = {"present": "t1+epi", "cases": 3, "of": 12}
TRIAL = {"cell": "a", "val_dice": 0.5, "history": [{"epoch": 1, "val_dice": 0.25}, {"epoch": 2, "val_dice": 0.5}]}
TIMING = {"latency_seconds": 0.75}
FAILURE = {**ATTEMPT, "hint": "Run again.", "traceback": "Traceback ...", "log": "step 1", "attempt": 3}


MANIFEST = {
    "name": "micro",
    "profile": "default",
    "question": "Which?",
    "answers": "Table I",
    "file": "micro.yaml",
    "report": {"reference": None, "metrics": ["dice", "hd95"]},
    "labels": ["A"],
    "protocol": {"name": "demo", "training": {"epochs": 2}, "patch_size": [64, 64]},
    "datasets": [
        {
            "name": "cortex",
            "title": "Cortex",
            "kind": "embedded",
            "unit": "block",
            "modalities": ["t1", "epi"],
            "regions": ["Cortex"],
            "notes": [],
        }
    ],
    "cells": [{"cell": "cortex_toy_noleading_f0_s0_0123456789ab", "label": "A"}],
}
RUNG = {
    "cell": "a",
    "epoch": 2,
    "scores": [{"case": "c", "region": "WT", "dice": 0.5, "patient": "p"}],
    "history": [{"epoch": 1, "loss": 0.75, "seconds": 1.0}, {"epoch": 2, "loss": 0.5, "seconds": 1.0}],
}
SUBSET = {
    "present": ["t1"],
    "fill": "token",
    "finished": "2026-01-02T03:04:09+00:00",
    "cell": "a",
    "values": [0.0, 0.25],
    "dropout": {"p": 0.25, "fill": "token"},
    "default_leading": "t1",
    "device": "cpu (1 thread)",
    "seconds": 2.5,
    "commit": "0123456789ab",
    "packages": {"python": "3.12.3"},
}
WRITTEN = [
    (CellRecord, {**cell_record(), "started_from": "scratch", "dataset_revision": 1}),
    (FailedAttempt, ATTEMPT),
    (Failure, FAILURE),
    (Manifest, MANIFEST),
    (Progress, PROGRESS),
    (Progress, SUBSET_PROGRESS),
    (Summary, SUMMARY),
    (TrialSummary, TRIAL),
    (RungScores, RUNG),
    (SubsetSummary, SUBSET),
    (SubsetSummary, {**SUBSET, "dropout": None}),
    (Timing, TIMING),
]


@pytest.mark.parametrize(("kind", "values"), WRITTEN)
def test_a_record_of_version_0_2_0_is_read_and_written_as_it_was(tmp_path, kind, values):
    write_json(tmp_path / "record.json", values)
    record = kind.read(tmp_path / "record.json")
    record.write(tmp_path / "again.json")
    written = read_json(tmp_path / "again.json")
    assert written.pop("checksum")
    assert written == values
    assert kind.read(tmp_path / "again.json") == record


def test_keys_of_a_later_version_are_ignored(tmp_path):
    write_json(tmp_path / "failure.json", {**FAILURE, "mood": "sad"})
    assert Failure.read(tmp_path / "failure.json").to_json() == FAILURE


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null", '{"kind": "x", "reason": 3}', "\xff"])
def test_a_damaged_record_is_named_with_a_remedy(tmp_path, content):
    path = tmp_path / "failure.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(DamagedRecordError) as error:
        Failure.read(path)
    assert error.value.path == path
    assert str(path) in error.value.message
    assert error.value.hint


def test_an_absent_record_is_not_a_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        Failure.read(tmp_path / "failure.json")


def test_a_failure_is_stored_with_the_keys_of_version_0_2_0(tmp_path):
    cell = Store(tmp_path).cell("cell")
    cell.fail("it fell", "lift it", "Traceback ...", "killed", accumulate=2)
    assert set(read_json(cell.path / "failure.json")) == {*FAILURE, "checksum"}
    assert [set(attempt) for attempt in read_json(cell.path / "attempts.json")] == [set(ATTEMPT)]


@pytest.mark.parametrize("content", ["{", "{}", '[{"kind": 3}]'])
def test_a_damaged_past_stops_no_attempt_from_saying_why_it_failed(tmp_path, content):
    cell = Store(tmp_path).cell("cell")
    cell.path.mkdir(parents=True)
    (cell.path / "attempts.json").write_text(content)
    assert cell.attempts() == []
    cell.fail("it fell")
    assert cell.failure().reason == "it fell"


def test_a_summary_lacks_what_was_not_measured(tmp_path):
    old = {key: SUMMARY[key] for key in ("device", "train_seconds", "commit", "packages", "started", "finished")}
    write_json(tmp_path / "summary.json", old)
    found = Summary.read(tmp_path / "summary.json")
    assert (found.energy_wh, found.reserved_memory_mb, found.gflops) == (None, None, None)
    assert (found.accumulate, found.ranks, found.failures) == (1, 1, ())


def test_a_number_that_cannot_be_counted_stays_nan(tmp_path):
    Summary(**{**SUMMARY, "gflops": math.nan}).write(tmp_path / "summary.json")
    assert math.isnan(Summary.read(tmp_path / "summary.json").gflops)


def test_the_latency_of_testing_is_part_of_the_summary(tmp_path):
    cell = Store(tmp_path).cell("cell")
    with cell.writing_result() as result:
        Summary(**SUMMARY).write(result / "summary.json")
    assert cell.summary().latency_seconds is None
    write_json(cell.result / "testing.json", TIMING)
    assert cell.summary().latency_seconds == 0.75
    write_json(cell.result / "testing.json", {})
    with pytest.raises(DamagedRecordError, match=r"testing\.json"):
        cell.summary()


def test_a_cell_that_lacks_a_key_is_damaged(tmp_path):
    cell = Store(tmp_path).cell("cell")
    write_json(cell.path / "cell.json", {key: value for key, value in cell_record().items() if key != "model"})
    with pytest.raises(DamagedRecordError, match="model") as error:
        cell.record()
    assert error.value.path == cell.path / "cell.json"
