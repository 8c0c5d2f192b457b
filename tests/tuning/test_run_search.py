"""What is decided about trials: who is ended early, who is tried again, and when a search is over."""

from __future__ import annotations

import shutil

import optuna
import pytest
from optuna.trial import TrialState

from harness.execution.schedule import Policy
from harness.execution.workers.attempt import Ending
from harness.results.records import HistoryRow, Progress, TrialSummary
from harness.study.expansion import load_study
from harness.tuning.run_search import run_search
from harness.tuning.search import open_searches

pytestmark = pytest.mark.usefixtures("toys")

EPOCHS = 4


class FakeJob:
    """Trains one epoch at each look; the validation Dice is the trial's share of foreground."""

    def __init__(self, attempt, engine):
        self.attempt, self.engine, self.epoch, self.stopped = attempt, engine, 0, False

    def poll(self):
        if self.stopped:
            return self._end(Ending("stopped"))
        if self.engine.losses:
            self.engine.losses -= 1
            return self._end(Ending("lost"))
        if self.attempt.accumulate < self.engine.parts:
            self.attempt.cell.fail("no room", kind="cuda_out_of_memory", accumulate=self.attempt.accumulate)
            return self._end(Ending("failed"))
        self.epoch += 1
        cell = self.attempt.cell
        value = cell.spec().protocol.sampling.foreground
        history = [HistoryRow(epoch=epoch, val_dice=value) for epoch in range(1, self.epoch + 1)]
        cell.work.mkdir(exist_ok=True)
        cell.write_progress(Progress(history=tuple(history)))
        (cell.work / "last.pt").touch()
        if self.epoch < EPOCHS:
            return None
        with cell.writing_result() as result:
            TrialSummary(val_dice=value).write(result / "summary.json")
        return self._end(Ending("done"))

    def _end(self, ending):
        self.engine.running -= 1
        return ending

    def stop(self):
        self.stopped = True

    def kill(self):
        raise AssertionError("nobody is killed")


class FakeEngine:
    parallel = 1

    def __init__(self, losses=0, parts=1):
        self.parts = parts  # how many a batch must be cut into for the GPU
        self.running, self.losses, self.attempts, self.closed = 0, losses, [], False

    def describe(self):
        return "nowhere"

    def free_slots(self):
        return 1 - self.running

    def submit(self, attempts):
        self.running += len(attempts)
        self.attempts += attempts
        return [FakeJob(attempt, self) for attempt in attempts]

    def close(self):
        self.closed = True


@pytest.fixture(scope="session")
def no_trials(made_once):
    """A database without trials, to be copied: its tables take a tenth of a second."""

    def make(folder):
        folder.mkdir()
        optuna.storages.RDBStorage(f"sqlite:///{folder / 'trials.db'}")

    return made_once("no_trials", make) / "trials.db"


@pytest.fixture
def search(project, write_study, no_trials):
    """Returns a function that opens the search of a micro study."""
    shutil.copy(no_trials, project)

    def open_one(trials=8, models=("toy",), **settings):
        tuning = {"trials": trials, "space": {"sampling.foreground": {"between": [0.1, 0.9]}}, **settings}
        protocol = {"base": "demo", "patch_size": [64, 64], "training": {"epochs": EPOCHS, "validate_every": 1}}
        study = write_study(protocol=protocol, tuning=tuning, matrix={"dataset": ["cortex"], "model": list(models)})
        searches = open_searches(load_study(study), f"sqlite:///{project / 'trials.db'}")
        for one in searches:
            one.resume_trials()
        return searches

    return open_one


def run(searches, engine, project, cells="cells"):
    policy = Policy(poll_seconds=0, other_runs_seconds=0)
    run_search(engine, searches, project / cells, project / "cache", policy, lambda: None)


def test_trials_below_the_median_end_early_and_leave_no_checkpoint(search, project):
    (one,) = search(pruner="median")
    engine = FakeEngine()
    run([one], engine, project)
    count = one.count()
    assert count["complete"] + count["pruned"] == 8
    assert count["pruned"] > 0
    assert count["fail"] == 0
    ended = [trial.value for trial in one.trials() if trial.state == TrialState.COMPLETE]
    assert one.best().value == max(ended)
    pruned = [trial for trial in one.trials() if trial.state == TrialState.PRUNED]
    assert all(trial.value < one.best().value for trial in pruned)
    assert not [path for trial in pruned for path in (project / "cells" / trial.user_attrs["cell"]).rglob("*.pt")]
    assert all(attempt.kind == "trial" for attempt in engine.attempts)
    assert engine.closed


def test_without_a_pruner_every_trial_comes_to_its_end(search, project):
    (one,) = search(trials=5, pruner="none")
    run([one], FakeEngine(), project)
    assert one.count() == {"complete": 5, "pruned": 0, "fail": 0}


def test_searches_advance_at_the_same_pace(search, project):
    searches = search(trials=3, models=("toy", "toy_group"), pruner="none")
    engine = FakeEngine()
    run(searches, engine, project)
    models = [attempt.cell.spec().model for attempt in engine.attempts]
    assert models == ["toy", "toy_group"] * 3


def test_a_lost_trial_is_tried_again_and_in_the_end_fails(search, project):
    (one,) = search(trials=1)
    run([one], FakeEngine(losses=1), project)
    assert one.count() == {"complete": 1, "pruned": 0, "fail": 0}
    (other,) = search(trials=1, seed=1)
    run([other], FakeEngine(losses=100), project, "others")
    assert other.count() == {"complete": 0, "pruned": 0, "fail": 1}


def test_what_was_trained_for_another_search_is_not_trained_again(search, project):
    (one,) = search(trials=1)
    run([one], FakeEngine(), project)
    (other,) = search(trials=1, seed=1)
    engine = FakeEngine()
    run([other], engine, project)
    assert other.best().value == one.best().value
    assert engine.attempts == []


def test_out_of_gpu_memory_a_trial_is_tried_in_more_parts_and_says_so(search, project):
    (one,) = search(trials=1)
    engine = FakeEngine(parts=2)
    run([one], engine, project)
    assert [attempt.accumulate for attempt in engine.attempts] == [1, 2]
    assert one.count() == {"complete": 1, "pruned": 0, "fail": 0}
    assert one.best().user_attrs["accumulate"] == 2
    (other,) = search(trials=1, seed=1)
    engine = FakeEngine(parts=10**6)
    run([other], engine, project, "others")
    assert other.count() == {"complete": 0, "pruned": 0, "fail": 1}
    assert other.trials()[0].user_attrs["failure"] == "no room"
    assert engine.attempts[-1].accumulate == engine.attempts[0].cell.spec().protocol.sampling.batch_size


def test_a_shorter_search_chooses_from_as_many_trials_as_it_says(search, project):
    (long,) = search(trials=6, pruner="none")
    run([long], FakeEngine(), project)
    (short,) = search(trials=2, pruner="none")
    run([short], FakeEngine(), project)
    assert sum(short.count().values()) == 2
    assert short.best().value == max(trial.value for trial in long.trials()[:2])
