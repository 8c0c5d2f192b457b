"""Processes beside a cell score: the same results in the same order, errors as they were, nothing left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import background_work
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from background_work import Unopenable, work

from harness.errors import DataError, HarnessError
from harness.execution.background import Background, ProcessEndedError
from harness.execution.cell.missing_modalities import Evaluation
from harness.execution.cell.problem import open_problem
from harness.execution.cell.scoring import SubsetScorer
from harness.execution.cell.testing import test_cases
from harness.execution.workers.failures import explain
from harness.results.store import Store

pytestmark = pytest.mark.integration
test_cases.__test__ = False

CPU = torch.device("cpu")
NAMES = ("first", "second", "third", "fourth", "fifth")


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    assert "background" not in [process.name for process in multiprocessing.active_children()]


def done(items, processes=2, what=work, say=pytest.fail, **settings):
    """The results of items that are worth processes of their own from the second on."""
    named = list(zip(NAMES, items, strict=False))
    with Background(what, processes, say=say, worth=-1.0, **settings) as background:
        return list(background.map(named, len(named)))


def test_results_come_in_order_from_other_processes_and_few_items_wait():
    made, waiting = [], []

    def making():
        for name, seconds in zip(NAMES, (0.0, 0.2, 0.0, 0.1, 0.0), strict=True):
            made.append(name)
            yield name, seconds

    found = []
    with Background(work, 2, worth=-1.0) as background:
        for name, process, has_torch in background.map(making(), len(NAMES)):
            waiting.append(len(made) - len(found))
            found.append(name)
            assert (process == os.getpid()) == (name == "first")
            assert name == "first" or not has_torch
        again = [process for _, process, _ in background.map([("sixth", 0.0)], 1)]
    assert found == list(NAMES)
    assert max(waiting) <= 4  # one in each process, one that is done but not in order, one to be handed over
    assert again != [os.getpid()]  # the same processes serve the next items


@pytest.mark.parametrize(
    ("item", "kind", "said"),
    [
        ("harness error", DataError, "second is damaged"),
        ("memory", MemoryError, "raise MemoryError"),
        ("odd error", RuntimeError, "3"),
    ],
)
def test_an_error_is_raised_here_as_it_was(item, kind, said):
    with pytest.raises(kind, match=said) as error:
        done([0.0, item, 0.0], processes=1)
    assert "in work" in error.value.__notes__[-1]  # where it was raised


@pytest.mark.parametrize(
    ("item", "kind", "said"), [(signal.SIGKILL, "killed", "SIGKILL"), ("exit", "exception", "status 3")]
)
def test_a_process_that_dies_is_named_with_its_case(item, kind, said):
    with pytest.raises(ProcessEndedError, match="case 'second'") as error:
        done([0.0, item, 0.0], processes=1)
    reason = explain(error.value, Path("log.txt"))
    assert reason.kind == kind
    assert said in reason.text
    assert reason.hint


def test_a_signal_for_all_processes_is_no_failure_of_one():
    def check():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        done([0.0, signal.SIGTERM], processes=1, check=check)


@pytest.mark.parametrize(
    ("what", "said"), [(Unopenable(), "no such dataset here"), (partial(lambda *both: work(*both)), "pickle")]
)
def test_work_that_cannot_be_sent_is_done_here_and_that_is_said(what, said):
    lines = []
    found = done([0.0, 0.0, 0.0], processes=1, what=what, say=lines.append)
    assert [(name, process) for name, process, _ in found] == [(name, os.getpid()) for name in NAMES[:3]]
    assert len(lines) == 1
    assert said in lines[0]


def test_a_process_that_is_killed_while_it_starts_is_no_loss():
    lines = []

    def making():
        yield "first", 0.0
        for process in multiprocessing.active_children():
            if process.name == "background":
                process.kill()
        yield "second", 0.0

    with Background(work, 1, say=lines.append, worth=-1.0) as background:
        assert [process for _, process, _ in background.map(making(), 2)] == [os.getpid()] * 2
    assert "signal 9" in lines[0]


@pytest.mark.parametrize(("processes", "worth"), [(0, -1.0), (2, 60.0)])
def test_little_work_and_one_core_start_nothing(processes, worth):
    with Background(work, processes, worth=worth) as background:
        found = list(background.map([(name, 0.0) for name in NAMES], len(NAMES)))
    assert {process for _, process, _ in found} == {os.getpid()}


def result_of(cell, folder, processes):
    """What the test of a finished cell leaves, from the predictions it kept."""
    problem = open_problem(cell.spec()).scored_by(["nsd_2mm"])

    def predict(name):
        return np.asarray(nib.load(cell.result / "predictions" / f"{name}.nii.gz").dataobj)

    folder.mkdir()
    return test_cases(problem, predict, folder, lambda what: Background(what, processes, say=pytest.fail, worth=-1.0))


def test_a_cells_records_are_the_same_wherever_its_cases_are_scored(finished_study, project, tmp_path):
    (only,) = (project / "results/cells").iterdir()
    cell = Store(project / "results").cell(only.name)
    here, beside = tmp_path / "here", tmp_path / "beside"
    for serial, parallel in zip(result_of(cell, here, 0), result_of(cell, beside, 2), strict=True):
        pd.testing.assert_frame_equal(serial, parallel, check_exact=True)
    files = sorted(path.relative_to(here) for path in here.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(beside) for path in beside.rglob("*") if path.is_file())
    assert Path("slices.npz") in files
    for file in files:
        if file.name != "testing.json":  # it has the time
            assert (here / file).read_bytes() == (beside / file).read_bytes(), file


def test_subsets_of_modalities_have_the_same_rows_wherever_they_are_scored(finished_study, project):
    (only,) = (project / "results/cells").iterdir()
    evaluation = Evaluation.open(Store(project / "results").cell(only.name), None, project / "cache", CPU)
    with Background(evaluation.scorer, 1, say=pytest.fail, worth=-1.0) as scoring:
        for present in (("t1", "epi"), ("t1",)):
            rows = evaluation.test(present, scoring=scoring)
            pd.testing.assert_frame_equal(rows, evaluation.test(present), check_exact=True)


def test_the_case_is_named_in_what_scoring_raises(finished_study, project):
    (only,) = (project / "results/cells").iterdir()
    problem = open_problem(Store(project / "results").cell(only.name).spec())
    scorer, name = SubsetScorer(problem.scorer), problem.split.test[0]
    with pytest.raises(HarnessError, match=f"Case '{name}'"):
        scorer(name, np.zeros((2, 2, 2), np.uint8))  # not on the grid of the case
    with pytest.raises(AttributeError) as error:
        SubsetScorer(replace(problem.scorer, reader=SimpleNamespace()))(name, None)
    assert name in explain(error.value, Path("log.txt")).text


@pytest.mark.linux("looks into /proc")
def test_a_process_whose_starter_is_killed_ends_in_the_middle_of_a_case(tmp_path):
    script = tmp_path / "starter.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(Path(background_work.__file__).parent)!r})\n"
        "from background_work import work\nfrom harness.execution.background import Background\n"
        "if __name__ == '__main__':\n"
        "    with Background(work, 1, worth=-1.0) as background:\n"
        "        items = [('a', 0.0), ('b', 0.0), ('c', 600.0)]\n"
        "        for _, process, _ in background.map(items, 3):\n"
        "            print(process, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as starter:
        other = [int(starter.stdout.readline()) for _ in range(2)][1]
        starter.kill()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{other}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(f"/proc/{other}").exists()
