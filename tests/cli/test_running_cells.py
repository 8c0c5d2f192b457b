"""logs, retry and clean: what they show, try again and remove, and what they never touch."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import pytest
from stored import cell_record, finish, manifest

from harness.cli import main
from harness.cli.shared.formatting import parse_duration
from harness.data.preparation.prepare import entry_folder
from harness.errors import HarnessError
from harness.files import write_json
from harness.results.store import Store
from harness.study.expansion import load_study


@pytest.fixture
def store(project):
    made = Store(Path("results"))
    made.create()
    return made


def make_cell(store, name, state):
    cell = store.cell(name)
    cell.write_spec(cell_record(root="nowhere", protocol={"name": "p"}))
    cell.work.mkdir(exist_ok=True, parents=True)
    cell.log.write_text("".join(f"line {number}\n" for number in range(50)))
    if state == "done":
        finish(cell)
    if state == "failed":
        cell.fail("it fell")
    (cell.work / "last.pt").write_bytes(b"x" * 1000)
    return cell


def test_the_end_of_a_log_is_shown_by_any_part_of_the_name(store, capsys):
    make_cell(store, "cortex_aahn_f0_s0_abcdef", "failed")
    make_cell(store, "cortex_unetr_f0_s0_123456", "done")
    assert main(["logs", "abcdef", "-n", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == ["cortex_aahn_f0_s0_abcdef: failed", "line 48", "line 49"]
    assert main(["logs", "cortex"]) == 2
    assert "2 cells are called like 'cortex'" in capsys.readouterr().err
    assert main(["logs", "cortex_unter_f0_s0_123456"]) == 2
    assert "Did you mean 'cortex_unetr_f0_s0_123456'?" in capsys.readouterr().err


def test_a_log_is_followed_until_the_cell_ends(store, capsys):
    cell = make_cell(store, "cell", "new")
    lease = cell.lease()
    assert lease.try_acquire()

    def work():
        time.sleep(0.3)
        with cell.log.open("a") as log:
            log.write("the last words\n")
        lease.release()

    thread = threading.Thread(target=work)
    thread.start()
    assert main(["logs", "cell", "--follow", "-n", "1"]) == 0
    thread.join()
    shown = capsys.readouterr().out.splitlines()
    assert shown == ["cell: running", "line 49", "the last words", "cell: interrupted"]


def test_clean_asks_and_removes_what_is_not_needed(store, monkeypatch):
    done, failed, running, halted = (
        make_cell(store, name, name) for name in ("done", "failed", "running", "interrupted")
    )
    with running.lease():
        (failed.path / ".result.1.abcdef01.tmp").mkdir()
        (running.path / ".result.1.abcdef01.tmp").mkdir()
        monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
        assert main(["clean"]) == 1
        assert (done.work / "last.pt").exists()
        assert main(["clean", "--yes"]) == 0
        assert not (done.work / "last.pt").exists()
        assert not list(failed.path.glob(".*.tmp"))
        assert (failed.work / "last.pt").exists()
        assert main(["clean", "--yes", "--failed"]) == 0
        assert failed.status() == "new"
        assert not failed.work.exists()
        assert list(running.path.glob(".*.tmp")), "what somebody works on stays"
    assert (running.work / "last.pt").exists()
    assert (halted.work / "last.pt").exists()
    assert done.status() == "done"


def test_results_go_only_where_no_study_asks_for_them_and_when_asked_by_name(store):
    wanted, orphan = make_cell(store, "wanted", "done"), make_cell(store, "orphan", "done")
    store.study("s", "default").write_manifest(manifest("wanted"))
    assert main(["clean", "--yes", "--failed"]) == 0
    assert orphan.status() == "done"
    assert main(["clean", "--yes", "--orphaned-results"]) == 0
    assert wanted.status() == "done"
    assert not orphan.path.exists()


def test_a_cell_that_is_begun_while_clean_asks_keeps_what_it_has(store, monkeypatch, capsys):
    cell = make_cell(store, "failed", "failed")
    lease = cell.lease()
    monkeypatch.setattr("typer.confirm", lambda *_, **__: lease.try_acquire())
    assert main(["clean", "--failed"]) == 0
    lease.release()
    assert (cell.work / "last.pt").exists()
    assert "cells that are running now" in capsys.readouterr().out


def test_clean_follows_no_link_out_of_the_results(store, tmp_path):
    elsewhere = tmp_path / "models"
    elsewhere.mkdir()
    (elsewhere / "best.pt").write_bytes(b"x")
    cell = make_cell(store, "done", "done")
    shutil.rmtree(cell.work)
    cell.work.symlink_to(elsewhere)
    assert main(["clean", "--yes", "--failed", "--orphaned-results"]) == 0
    assert (elsewhere / "best.pt").exists()


def test_failed_cells_are_tried_again_without_the_study_file(write_study, toys, capsys):
    study = write_study(matrix={"dataset": ["cortex"], "model": ["toy_once"], "seed": [0]})
    arguments = ["--workers", "1", "--cpu", "--no-mlflow"]
    assert main(["run", str(study), *arguments]) == 1
    study.unlink()
    assert main(["retry", "micro", *arguments]) == 0
    (cell,) = (Store(Path("results")).cell(path.name) for path in Path("results/cells").iterdir())
    assert cell.summary().attempts == 2
    assert cell.summary().failures[0].reason == "RuntimeError: not the first time"
    capsys.readouterr()
    assert main(["retry", "micro", *arguments]) == 0
    assert "No cell of micro (default) has failed" in capsys.readouterr().out


def test_checkpoints_are_not_dropped_where_cells_could_not_be_computed(store):
    cell = make_cell(store, "failed", "failed")
    store.study("s", "default").write_manifest(manifest("failed"))
    assert main(["retry", "s", "--fresh", "--engine", "ray", "--cells-per-gpu", "2"]) == 2
    assert (cell.work / "last.pt").exists()


def test_prepared_data_that_no_cell_uses_is_found(write_study, toys):
    assert main(["run", str(write_study()), "--workers", "1", "--cpu", "--no-mlflow"]) == 0
    used = {path for path in Path("cache").glob("*/*") if path.is_dir()}
    stale = Path("cache/cortex/0123456789abcdef")
    stale.mkdir()
    (stale / "images.npy").write_bytes(b"x")
    assert used
    assert main(["clean", "--yes", "--cache-entries"]) == 0
    assert {path for path in Path("cache").glob("*/*") if path.is_dir()} == used


def test_prepared_data_of_a_tuning_or_of_another_version_is_kept(write_study, toys):
    loaded = load_study(write_study())
    values = loaded.cells[0].spec.to_json()
    for place in ("tuning/micro/default/cells", "lead/cortex/cells"):
        write_json(Path("results") / place / "x/cell.json", values)
        kept = Path("cache") / prepare_entry(loaded.cells[0].spec)
        kept.mkdir(parents=True)
        assert main(["clean", "--yes", "--cache-entries"]) == 0
        assert kept.is_dir(), place
        shutil.rmtree("results")
        assert main(["clean", "--yes", "--cache-entries"]) == 0
        assert not kept.exists()
    kept.mkdir()
    write_json(Path("results/cells/x/cell.json"), {**values, "numerics": 1})
    assert main(["clean", "--yes", "--cache-entries"]) == 0
    assert kept.is_dir()


def prepare_entry(spec):
    dataset = spec.facts()
    protocol = spec.protocol
    return entry_folder(dataset, dataset.open(spec.root), protocol.preparation, protocol.patch_size, Path())


@pytest.mark.parametrize(("text", "seconds"), [("45", 45), ("45s", 45), ("90m", 5400), ("2h", 7200), ("1.5d", 129600)])
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-3m", "0", "h", "nan", "infs"])
def test_an_invalid_duration_is_refused(text):
    with pytest.raises(HarnessError, match="invalid duration"):
        parse_duration(text)
