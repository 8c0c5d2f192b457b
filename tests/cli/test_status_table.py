"""`harness status` and the closing table of `harness run` show the numbers of the report."""

from __future__ import annotations

from io import StringIO

import pandas as pd
import pytest
import torch
from rich.console import Console
from stored import cell_record, manifest, summary

from harness.cli.shared.status_table import status_table
from harness.results.records import FailedAttempt, Progress
from harness.results.store import Store

_COLUMNS = ["patient", "case", "region", "metric", "value", "status"]


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "results")
    store.create()
    return store


def finish(store, identity, rows, **facts):
    cell = store.cell(identity)
    cell.write_spec(cell_record())
    with cell.writing_result() as result:
        summary(**facts).write(result / "summary.json")
        frame = pd.DataFrame(rows, columns=_COLUMNS).assign(fold=0, seed=0, implementation="-")
        frame.to_parquet(result / "cases.parquet")
    return cell


def shown(store, *cells):
    study = store.study("s", "default")
    study.write_manifest(manifest(*cells))
    console = Console(width=160, file=StringIO())
    console.print(status_table(study, store))
    return console.file.getvalue()


def test_a_patient_counts_once_however_many_cases_it_has(store):
    scores = [("p", "p1", 0.9, 10.0), ("p", "p2", 0.8, 20.0), ("q", "q1", 0.1, 90.0)]
    rows = [
        (patient, case, "WT", metric, value, "scored")
        for patient, case, dice, distance in scores
        for metric, value in [("dice", dice), ("hd95", distance)]
    ]
    finish(store, "a", rows)
    text = shown(store, "a")
    assert "0.475" in text  # over cases it were 0.600
    assert "52.50" in text  # over cases it were 40.00


@pytest.mark.parametrize(("other", "mixed"), [("NVIDIA A100", True), ("NVIDIA H100", False)])
def test_cells_of_several_devices_are_named_and_warned_about(store, other, mixed):
    rows = [("p", "p1", "WT", metric, 0.5, "scored") for metric in ("dice", "hd95")]
    finish(store, "a", rows, device="NVIDIA H100")
    finish(store, "b", rows, device=other)
    text = shown(store, "a", "b")
    assert text.count("on NVIDIA") == 2 * mixed
    assert ("several kinds of device" in text) == mixed


def test_what_the_policy_skips_is_in_no_mean(store):
    rows = [("p", "p1", "WT", "dice", 0.5, "scored"), ("q", "q1", "WT", "dice", 1.0, "skipped"),
            ("p", "p1", "WT", "hd95", 9.0, "skipped"), ("q", "q1", "WT", "hd95", 9.0, "skipped")]  # fmt: skip
    finish(store, "a", rows)
    text = shown(store, "a")
    assert "0.500" in text
    assert "9.00" not in text


def test_a_cell_whose_step_could_not_be_recorded_says_why(store):
    cell = finish(store, "a", [("p", "p1", "WT", "dice", 0.5, "scored"), ("p", "p1", "WT", "hd95", 1.0, "scored")])
    failure = FailedAttempt(kind="not_recorded", reason="It reads a value back.")
    summary(failures=(failure,)).write(cell.result / "summary.json")
    text = " ".join(shown(store, "a").split())
    assert "eager. It reads a value back." in text


def test_a_checkpoint_that_is_empty_or_damaged_is_said(store):
    cell = store.cell("a")
    cell.write_spec(cell_record())
    cell.write_progress(Progress(step=40))
    last, previous = cell.work / "last.pt", cell.work / "previous.pt"
    torch.save({}, last)
    assert "continues from step 40" in shown(store, "a")
    last.write_bytes(last.read_bytes()[:-30])
    assert "starts again" in shown(store, "a")
    torch.save({}, previous)
    assert "continues from previous.pt" in shown(store, "a")
    for path in (last, previous):
        path.write_bytes(b"")
    assert "starts again" in shown(store, "a")
