"""Cells whose data are prepared start first, and the data of the others are prepared beside them."""

from __future__ import annotations

import subprocess
import time
from contextlib import nullcontext

import pytest
from stored import finish

from harness.data.preparation.prepare import entry_folder
from harness.execution.costs.data_size import split_of
from harness.execution.engines.local import FixedPlaces, LocalEngine
from harness.execution.preparing import PreparesAhead, preparing, ready_first
from harness.execution.schedule import Policy
from harness.execution.study import register, run_study
from harness.execution.workers import preparer
from harness.execution.workers.attempt import Ending
from harness.execution.workers.process import Slot
from harness.results.store import Store
from harness.study.expansion import load_study

pytestmark = pytest.mark.usefixtures("toys")


@pytest.fixture
def planned(write_study, project):
    """A store and its study with two cells on each of two folds, whose data differ in nothing but the cases."""
    study = write_study(matrix={"dataset": ["cortex"], "model": ["toy", "toy_group"], "fold": [0, 1]})
    store = Store(project / "results")
    store.create()
    return store, register(load_study(study), store, study)


def cells_of(planned):
    store, folder = planned
    return [cell for _, cell in store.study_cells(folder)]


def fold(cell):
    return cell.spec().fold


def pretend_prepared(cell, cache):
    spec = cell.spec()
    dataset, split = spec.facts(), split_of(spec)
    how = spec.protocol.preparation, spec.protocol.patch_size
    for name in (*split.train, *split.val, *split.test):
        (entry_folder(dataset, dataset.open(spec.root), *how, cache) / name).mkdir(parents=True)


def test_where_nothing_is_prepared_the_first_cell_does_its_own_and_the_rest_is_prepared_beside_it(planned, project):
    cells = cells_of(planned)
    order, ahead = ready_first(cells, project / "cache")
    assert order == cells
    assert [fold(cell) for cell in ahead] == [1]


def test_cells_whose_data_are_prepared_start_first(planned, project):
    store, folder = planned
    cells, cache = cells_of(planned), project / "cache"
    later = next(cell for cell in cells if fold(cell) == 1)
    pretend_prepared(later, cache)
    order, ahead = ready_first(cells, cache)
    assert [fold(cell) for cell in order] == [1, 1, 0, 0]
    assert [fold(cell) for cell in ahead] == [0]
    engine = Ahead()
    started = []
    outcome = run_study(folder, store, engine, cache, [], Policy(poll_seconds=0), prepare=recorded(started))
    assert len(outcome.done) == 4
    assert engine.order == [1, 1, 0, 0]
    assert started == [cells[0]]


def recorded(started):
    """Stands for :func:`preparing`; notes what it is given."""

    def prepare(cells, cache, processes):
        started.extend(cells)
        return nullcontext()

    return prepare


class Ahead:
    """An engine with cores to spare, whose cells are done at once."""

    parallel = preparers = 1

    def __init__(self):
        self.order = []

    def describe(self):
        return "fake"

    def free_slots(self):
        return 1

    def submit(self, attempts):
        self.order += [fold(one.cell) for one in attempts]
        return [Done(one) for one in attempts]

    def close(self):
        pass


class Done:
    def __init__(self, attempt):
        self.attempt = attempt

    def poll(self):
        finish(self.attempt.cell)
        return Ending("done")


def test_what_cannot_be_prepared_is_left_to_its_cell(planned, project):
    cells = cells_of(planned)
    (cells[0].path / "cell.json").write_text("{}")
    order, ahead = ready_first(cells, project / "cache")
    assert order[0] == cells[0], "it starts, and says what is wrong"
    assert cells[0] not in ahead
    assert preparer.main([str(cells[0].path), "--cache", str(project / "cache")]) == 0


class Process:
    """Stands for the process that prepares; one that hangs is killed."""

    def __init__(self, hangs=False):
        self.hangs, self.log, self.command = hangs, [], None

    def __call__(self, command, **options):
        self.command, self.options = command, options
        return self

    def terminate(self):
        self.log.append("terminate")

    def kill(self):
        self.log.append("kill")

    def wait(self, timeout=None):
        if self.hangs and timeout is not None:
            raise subprocess.TimeoutExpired("it", timeout)
        self.log.append("wait")


@pytest.mark.parametrize(("hangs", "log"), [(False, ["terminate", "wait"]), (True, ["terminate", "kill", "wait"])])
def test_the_process_sees_no_gpu_and_ends_with_the_run(planned, project, hangs, log):
    process, cells = Process(hangs), cells_of(planned)
    with pytest.raises(KeyboardInterrupt), preparing(cells[:2], project / "cache", 3, process):
        raise KeyboardInterrupt
    assert process.log == log
    assert process.options["env"]["CUDA_VISIBLE_DEVICES"] == ""
    assert process.command[-2:] == [str(cell.path) for cell in cells[:2]]
    assert process.command[process.command.index("--processes") + 1] == "3"


@pytest.mark.parametrize(("cells", "processes"), [(0, 3), (1, 0)])
def test_without_data_or_cores_nothing_is_started(planned, project, cells, processes):
    process = Process()
    with preparing(cells_of(planned)[:cells], project / "cache", processes, process):
        pass
    assert process.command is None


def test_cores_are_lent_beside_gpus_alone():
    cpu, gpu = (LocalEngine(FixedPlaces([slot])) for slot in (Slot("cpu", None, 1), Slot("cuda:0", "0", 4)))
    assert isinstance(gpu, PreparesAhead)
    assert cpu.preparers == 0
    assert gpu.preparers >= 1


@pytest.mark.slow
def test_the_real_process_prepares_what_it_is_given(planned, project):
    cells, cache = cells_of(planned), project / "cache"
    later = next(cell for cell in cells if fold(cell) == 1)
    deadline = time.monotonic() + 120
    with preparing([later], cache, 1):
        while ready_first(cells, cache)[0][0] != later:
            assert time.monotonic() < deadline
            time.sleep(0.1)
