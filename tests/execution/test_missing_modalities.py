"""``harness missing``: finished cells tested with fewer modalities, exactly, once, and whatever happens in between."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from harness.cli import main
from harness.errors import HarnessError
from harness.execution.cell import missing_modalities
from harness.execution.cell.missing_modalities import Evaluation, evaluate_subsets, trained_fill
from harness.execution.cell.problem import open_problem
from harness.execution.cell.run import run_cell
from harness.execution.cell.weights import read_filling
from harness.execution.engines.slurm import SlurmEngine
from harness.execution.engines.slurm_settings import SlurmResources
from harness.execution.missing_modalities import plan_missing, run_missing
from harness.execution.schedule import Policy
from harness.execution.study import register
from harness.execution.workers import process as starting
from harness.execution.workers import worker
from harness.execution.workers.attempt import Attempt
from harness.execution.workers.exit_status import DONE, FAILED
from harness.execution.workers.process import Slot, WorkerProcess
from harness.report.tables.build import build_tables
from harness.results.reading import load_results
from harness.results.store import Store
from harness.results.subsets import CellSubsets, Subset
from harness.study.expansion import load_study
from harness.training.loop import Interrupted

CPU = torch.device("cpu")
WAYS = {"never dropped": {}, "dropout": {"sampling": {"modality_dropout": {"p": 0.5, "fill": "token"}}}}
SINGLE = [("t1",), ("epi",)]
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)


def attempt_at(cell, project):
    return Attempt(cell, project / "cache", kind="subsets", subsets=tuple(Subset(one, "zeros") for one in SINGLE))


def arguments(cell, project):
    """What the process that tests a cell is started with."""
    return starting.worker_arguments(attempt_at(cell, project), Slot("cpu", None, 1))


def train(path, labels=None):
    """Trains in this process: no engine is needed. Returns the cells by label."""
    loaded, store = load_study(path), Store(path.parent / "results")
    store.create()
    register(loaded, store, path)
    cells = {}
    for cell in loaded.cells:
        cells[cell.label] = store.cell(cell.spec.id)
        if labels is None or cell.label in labels:
            run_cell(cell.spec, cells[cell.label], path.parent / "cache", "cpu")
    return cells


@pytest.fixture
def cells(write_study, toys, made_once, project):
    """A toy trained with and without dropped modalities; trained once, copied for each test."""
    study = write_study(matrix={"dataset": ["cortex"], "model": ["toy"], "protocol": WAYS})

    def make(folder):
        folder.mkdir()
        train(Path(shutil.copy(study, folder)))

    made = made_once("trained_with_and_without_dropout", make)
    for name in ("results", "cache"):
        shutil.copytree(made / name, project / name, symlinks=True)
    return train(study, labels=())


@pytest.fixture
def plain(finished_study, project):
    """A toy that never lacked a modality."""
    (only,) = (project / "results/cells").iterdir()
    return Store(project / "results").cell(only.name)


def rows_of(cell):
    return pd.read_parquet(cell.result / "cases.parquet")


def test_with_every_modality_the_rows_are_those_of_the_cells_own_test(cells, project):
    assert {label: trained_fill(cell) for label, cell in cells.items()} == {
        "toy, never dropped": "zeros",
        "toy, dropout": "token",
    }
    for cell in cells.values():
        evaluation = Evaluation.open(cell, None, project / "cache", CPU)
        pd.testing.assert_frame_equal(evaluation.test(("t1", "epi")), rows_of(cell), check_exact=True)
        assert not evaluation.test(("t1",))["value"].equals(rows_of(cell)["value"])


def test_the_network_is_given_what_stood_for_absent_modalities_in_its_training(cells, project):
    learned = Evaluation.open(cells["toy, dropout"], None, project / "cache", CPU).network
    seen = []
    learned.network.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    values = read_filling(cells["toy, dropout"].result / "weights.safetensors").values
    assert any(values)
    marked = torch.zeros(1, 2, 64, 64)
    marked[:, 1] = torch.nan
    with torch.no_grad():
        learned(marked)
    assert torch.equal(seen[0][:, 1], torch.full((1, 64, 64), values[1]))
    assert not seen[0][:, 0].any()


def test_another_filling_can_be_asked_for_and_a_token_only_where_one_was_learned(cells, project):
    plain, dropped = cells["toy, never dropped"], cells["toy, dropout"]
    cache = project / "cache"
    assert Evaluation.open(dropped, "zeros", cache, CPU).network.filling.values == (0, 0)
    mean = Evaluation.open(plain, "mean", cache, CPU)
    # By z-score over the training cases the body's mean is 0, and so is what lies outside.
    assert mean.network.filling.kind == "mean"
    assert np.allclose(mean.network.filling.values, 0, atol=0.1)
    with pytest.raises(HarnessError, match="without a learned token"):
        Evaluation.open(plain, "token", cache, CPU)


def test_imported_weights_keep_what_stands_for_absent_modalities(cells, write_study, project):
    weights = cells["toy, dropout"].result / "weights.safetensors"
    matrix = {"dataset": ["cortex"], "model": [{"name": "toy", "label": "theirs", "weights": str(weights)}]}
    imported = train(write_study(name="imported", matrix=matrix))["theirs"]
    assert read_filling(imported.result / "weights.safetensors") == read_filling(weights)
    evaluate_subsets(imported, SINGLE, None, project / "cache", CPU)
    evaluate_subsets(cells["toy, dropout"], SINGLE, None, project / "cache", CPU)
    stores = CellSubsets(imported), CellSubsets(cells["toy, dropout"])
    for (facts, mine), (_, theirs) in zip(*(store.results() for store in stores), strict=True):
        assert facts.dropout == {"p": None, "fill": "token"}
        pd.testing.assert_frame_equal(pd.read_parquet(mine), pd.read_parquet(theirs), rtol=0.01)


def test_what_is_done_is_not_computed_twice_and_what_was_stopped_goes_on(plain, project):
    calls = iter(range(10**6))
    cases = len(rows_of(plain)["case"].unique())

    with pytest.raises(Interrupted):  # in the second subset
        evaluate_subsets(plain, SINGLE, None, project / "cache", CPU, lambda: next(calls) > cases + 1)
    store = CellSubsets(plain)
    first, second = (store.path / Subset(present, "zeros").name for present in SINGLE)
    assert (first / "subset.json").is_file()
    assert not second.exists()
    assert not list(store.path.glob(".*.tmp"))
    kept = (first / "cases.parquet").stat()
    evaluate_subsets(plain, SINGLE, None, project / "cache", CPU)
    assert (first / "cases.parquet").stat().st_mtime_ns == kept.st_mtime_ns
    assert (second / "subset.json").is_file()
    whole = Evaluation.open(plain, None, project / "cache", CPU)
    for present, folder in zip(SINGLE, (first, second), strict=True):
        pd.testing.assert_frame_equal(pd.read_parquet(folder / "cases.parquet"), whole.test(present), check_exact=True)


def test_the_files_of_a_case_are_read_once_for_all_subsets(plain, project, monkeypatch):
    read = []

    class Noting:
        """A reader that notes what is loaded."""

        def __init__(self, reader):
            self.reader = reader

        def __getattr__(self, name):
            return getattr(self.reader, name)

        def load(self, name):
            read.append(name)
            return self.reader.load(name)

    def opened(spec):
        problem = open_problem(spec)
        return replace(problem, reader=Noting(problem.reader))

    monkeypatch.setattr(missing_modalities, "open_problem", opened)
    evaluate_subsets(plain, SINGLE, None, project / "cache", CPU)
    assert len(CellSubsets(plain).results()) == len(SINGLE)
    assert sorted(read) == sorted(rows_of(plain)["case"].unique())


def test_a_process_that_is_killed_is_explained_and_the_cell_stays_as_it_is(plain, project, monkeypatch):
    kills = iter([3, 4])
    monkeypatch.setattr(starting, "out_of_memory_kills", lambda: next(kills))
    command = [sys.executable, "-S", "-c", "import os; print('here', flush=True); os.kill(os.getpid(), 9)"]

    def start(attempt, slot, fork):
        return starting.start_fresh(command, attempt, slot)

    before = sorted(plain.path.rglob("*"))
    process = WorkerProcess(attempt_at(plain, project), Slot("cpu", None, 1), start=start)
    assert process.wait().state == "failed"
    failure = CellSubsets(plain).failure()
    assert failure.kind == "out_of_memory"
    assert failure.log == "here"
    assert (plain.status(), plain.failure(), plain.attempts()) == ("done", None, [])
    assert [path for path in sorted(plain.path.rglob("*")) if "subsets" not in path.parts] == before


@pytest.mark.slow
@pytest.mark.linux("the lease of a killed process ends at once only where /proc is read")
def test_a_killed_process_loses_only_the_subset_under_way(plain, project):
    command = [sys.executable, "-m", "harness.execution.workers.worker", *arguments(plain, project)]
    store = CellSubsets(plain)
    process = subprocess.Popen(command, start_new_session=True)
    while not store.results():
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for _, path in store.results()}
    assert main(["missing", "micro", "--cpu", "--workers", "1"]) == 0
    assert len(store.results()) == 2
    assert all(path.stat().st_mtime_ns == time_ for path, time_ in done.items())


@pytest.mark.slow
def test_the_verb_tests_every_cell_and_the_report_shows_it(cells, project, capsys):
    assert main(["missing", "micro", "--cpu", "--workers", "2"]) == 0
    shown = capsys.readouterr().out
    assert "4 subsets of modalities, 0 done before" in shown
    assert "token" in shown
    assert "harness report micro" in shown
    written = {path: path.stat().st_mtime_ns for cell in cells.values() for _, path in CellSubsets(cell).results()}
    assert len(written) == 4
    assert main(["missing", "micro", "--cpu", "--workers", "2"]) == 0
    assert "4 done before" in capsys.readouterr().out
    assert all(path.stat().st_mtime_ns == time_ for path, time_ in written.items())
    store = Store(project / "results")
    results = load_results(store.find_study("micro"), store)
    assert set(results.subsets["present"]) == {"t1", "epi"}
    assert set(zip(results.subsets["dropout"], results.subsets["fill"], strict=True)) == {
        ("never dropped", "zeros"),
        ("dropped with p 0.5", "token"),
    }
    from harness.report.analysis.analysis import analyse_study

    kinds = {table.kind for table in build_tables(analyse_study(results))}
    assert {"missing-0", "missing-1", "missing-survival", "missing-leading"} <= kinds
    assert main(["missing", "micro", "--fill", "token", "--cpu", "--workers", "1"]) == 0
    assert "was trained without a learned token" in capsys.readouterr().out
    assert main(["missing", "micro", "--fill", "token", "--label", "toy, never dropped"]) == 2
    assert "without a learned token" in capsys.readouterr().err
    assert main(["missing", "micro", "--label", "toi"]) == 2


def test_a_cell_that_cannot_be_tested_leaves_its_reason(plain, project, toys, monkeypatch):
    handlers = [signal.getsignal(number) for number in SIGNALS]
    weights = plain.result / "weights.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[: len(kept) // 2])
    try:
        assert worker.main(arguments(plain, project)) == FAILED
        store = Store(project / "results")
        assert "weights" in load_results(store.find_study("micro"), store).subset_failures[plain.id]
        weights.write_bytes(kept)
        assert worker.main(arguments(plain, project)) == DONE
    finally:
        for number, handler in zip(SIGNALS, handlers, strict=True):
            signal.signal(number, handler)
    assert CellSubsets(plain).failure() is None
    assert len(CellSubsets(plain).results()) == 2


@pytest.mark.slow
@pytest.mark.parametrize("cluster", ["local", "debug"])
def test_tasks_of_a_cluster_give_the_numbers_of_this_process(cells, project, cluster):
    store = Store(project / "results")
    works = plan_missing(store.find_study("micro"), store)
    engine = SlurmEngine(SlurmResources(cluster=cluster, gpus=0, time=5), project / "slurm", "micro", None)
    assert run_missing(works, engine, project / "cache", Policy(), lambda: None) == ()
    for cell in cells.values():
        evaluation = Evaluation.open(cell, None, project / "cache", CPU)
        found = {facts.present: pd.read_parquet(path) for facts, path in CellSubsets(cell).results()}
        assert set(found) == set(SINGLE)
        for present, rows in found.items():
            pd.testing.assert_frame_equal(rows, evaluation.test(present), check_exact=True)
        assert sorted(path.name for path in CellSubsets(cell).path.glob("*.*")) == ["log.txt", "progress.json"]


@pytest.mark.slow
def test_weights_that_cannot_be_read_fail_their_cell_alone(cells, capsys):
    (cells["toy, dropout"].result / "weights.safetensors").write_bytes(b"half a file")
    assert main(["missing", "micro", "--cpu", "--workers", "2"]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "1 of 2 cells lack results" in shown
    assert "cannot be read" in shown
    assert len(CellSubsets(cells["toy, never dropped"]).results()) == 2


def test_a_study_without_finished_cells_is_refused(write_study, toys, capsys):
    train(write_study(), labels=())
    assert main(["missing", "micro", "--cpu"]) == 2
    assert "not finished (new)" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--margin", "0"], "margin 0 is not above 0"),
        (["--margin", "2"], "whole range of Dice"),
        (["--costs", "costs.yaml"], "--costs needs a margin"),
        (["--margin", "0.02", "--costs", "absent.yaml"], "absent.yaml cannot be read"),
        (["--margin", "0.02", "--costs", "costs.yaml"], "costs lack epi"),
        (["--margin", "0.02", "--costs", "others.yaml"], "'flair', which is no modality of this study"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused_before_anything_is_tested(plain, project, capsys, asked, said):
    (project / "costs.yaml").write_text("t1: {minutes: 4}\n")
    (project / "others.yaml").write_text("t1: {minutes: 4}\nepi: {minutes: 4}\nflair: {minutes: 4}\n")
    assert main(["missing", "micro", "--cpu", *asked]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not CellSubsets(plain).results()
