"""The store: written once, atomically, and refused where it is not ours to read."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stored import cell_record, manifest, summary

from harness.errors import HarnessError
from harness.files import atomic_folder, atomic_path, read_json, write_json
from harness.randomness import derive, generator
from harness.results.records import Progress
from harness.results.store import Store


def test_an_atomic_file_is_whole_or_absent(tmp_path):
    target = tmp_path / "deep" / "file.txt"

    def fall_over():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fall_over()
    assert not target.exists()
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
    assert target.read_text() == "whole"
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


def test_an_atomic_folder_is_whole_or_absent_and_the_first_one_wins(tmp_path):
    target = tmp_path / "result"

    def fall_over():
        with atomic_folder(target) as temporary:
            (temporary / "a").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fall_over()
    assert list(tmp_path.iterdir()) == []
    for content in ("first", "second"):
        with atomic_folder(target) as temporary:
            (temporary / "a").write_text(content)
    assert (target / "a").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


@given(st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False) | st.text() | st.none()))
def test_json_comes_back_as_it_went(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "x.json"  # a folder per example would take most of the time
    write_json(path, values)
    assert read_json(path) == values


@given(st.integers(0, 2**63), st.lists(st.text() | st.integers(), max_size=4))
def test_seeds_are_functions_of_their_purpose(seed, purpose):
    assert derive(seed, *purpose) == derive(seed, *purpose)
    assert 0 <= derive(seed, *purpose) < 2**63
    assert derive(seed, *purpose, "other") != derive(seed, *purpose)
    assert generator(seed, *purpose).integers(1000) == generator(seed, *purpose).integers(1000)


def test_a_seed_is_the_same_on_every_machine():
    assert derive(0, "patch", 3, 1) == 6158438076689975064


def test_a_cell_goes_through_its_states(tmp_path):
    cell = Store(tmp_path).cell("cell")
    assert cell.status() == "new"
    cell.work.mkdir(parents=True)
    (cell.work / "last.pt").write_text("checkpoint")
    assert cell.status() == "interrupted"
    cell.fail("it fell", "lift it")
    assert cell.status() == "failed"
    failure = cell.failure()
    assert (failure.reason, failure.hint, failure.kind, failure.attempt) == (
        "it fell",
        "lift it",
        "error",
        1,
    )
    with cell.lease():
        assert cell.status() == "running"
    cell.write_spec(cell_record())
    with cell.writing_result() as result:
        summary().write(result / "summary.json")
        assert cell.status() == "failed", "nothing is done before it is whole"
    assert cell.status() == "done"
    assert cell.failure() is None
    assert not list(cell.work.glob("*.pt"))


def test_a_damaged_progress_file_is_no_progress(tmp_path):
    cell = Store(tmp_path).cell("cell")
    cell.write_progress(Progress(step=3))
    assert cell.progress().step == 3
    (cell.work / "progress.json").write_text('{"step": ')
    assert cell.progress() == Progress()


def stale(monkeypatch, times):
    """Makes the next readings fail as NFS lets them where another machine replaces the file meanwhile."""
    read, left = Path.read_text, iter(range(times))

    def read_text(path, *arguments, **options):
        if next(left, None) is not None:
            raise OSError(errno.ESTALE, "Stale file handle")
        return read(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", read_text)


def test_a_file_that_another_machine_replaces_is_read_again(tmp_path, monkeypatch):
    write_json(tmp_path / "x.json", {"step": 3})
    stale(monkeypatch, 2)
    assert read_json(tmp_path / "x.json") == {"step": 3}


def test_a_progress_file_that_cannot_be_read_ends_nobody(tmp_path, monkeypatch):
    cell = Store(tmp_path).cell("cell")
    cell.write_progress(Progress(step=3))
    stale(monkeypatch, 100)
    assert cell.progress() == Progress()


def test_a_failure_that_another_attempt_clears_while_somebody_looks_is_none(tmp_path, monkeypatch):
    cell = Store(tmp_path).cell("cell")
    cell.fail("it fell")
    stat = Path.stat

    def cleared(path, *arguments, **options):
        found = stat(path, *arguments, **options)
        if path.name == "failure.json":
            path.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Path, "stat", cleared)
    assert cell.failure() is None


def test_runs_that_begin_at_once_do_not_trip_over_each_others_probe(tmp_path, monkeypatch):
    store = store_with(tmp_path)
    touch = Path.touch

    def touch_and_lose(path, *arguments, **options):
        touch(path, *arguments, **options)
        path.unlink()  # as the other run does

    monkeypatch.setattr(Path, "touch", touch_and_lose)
    store.create()


def store_with(tmp_path, *studies):
    store = Store(tmp_path)
    store.create()
    for name, profile in studies:
        store.study(name, profile).write_manifest(manifest(name=name, profile=profile))
    return store


def test_the_study_run_last_is_found_first(tmp_path):
    import os

    store = store_with(tmp_path, ("old", "default"), ("new", "demo"), ("new", "default"))
    for age, study in enumerate([("new", "default"), ("new", "demo"), ("old", "default")]):
        os.utime(store.study(*study).path / "study.json", (1000 - age, 1000 - age))
    assert store.find_study().study == "new"
    assert store.find_study("new").profile == "default"
    assert store.find_study("new", "demo").profile == "demo"
    assert store.find_study("old").study == "old"


@pytest.mark.parametrize(
    ("asked", "hint"),
    [(("ablaton", None), "Did you mean 'ablation'?"), (("ablation", "dmo"), "Did you mean 'demo'?")],
)
def test_an_unknown_study_names_the_nearest(tmp_path, asked, hint):
    store = store_with(tmp_path, ("ablation", "demo"))
    with pytest.raises(HarnessError) as error:
        store.find_study(*asked)
    assert hint in error.value.hint


def test_an_empty_store_says_how_to_fill_it(tmp_path):
    with pytest.raises(HarnessError) as error:
        Store(tmp_path).find_study()
    assert "harness run" in error.value.hint


@pytest.mark.parametrize("content", ['{"format": 2}', "{}", "[]", "no json"])
def test_a_store_of_another_version_is_refused(tmp_path, content):
    (tmp_path / "store.json").write_text(content)
    with pytest.raises(HarnessError, match=r"format|cannot be read") as error:
        Store(tmp_path)
    assert "--results" in error.value.hint


def test_the_published_numbers_are_whole():
    lines = (Path(__file__).parents[2] / "results/published/tables_1_to_6.csv").read_text().splitlines()
    assert lines[0] == "dataset,method,region,metric,mean,std"
    methods = {line.split(",")[1] for line in lines[1:]}
    assert len(methods) == 11
    assert len({line.split(",")[0] for line in lines[1:]}) == 6
    assert json.dumps(sorted(methods)).count("AAHN") == 1
