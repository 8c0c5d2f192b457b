"""Who is trained, and from where a race goes on; nothing is trained for real."""

from __future__ import annotations

import pytest

from harness.errors import HarnessError
from harness.execution.schedule import Policy
from harness.execution.workers.attempt import Ending
from harness.leading.race import Rule
from harness.leading.run import finish_all, run_race

FINAL = {"t1": 0.5, "epi": 0.2, "none": 0.4}


class FakeJob:
    def __init__(self, attempt, engine):
        self.attempt, self.engine = attempt, engine

    def poll(self):
        self.engine.running -= 1
        if self.engine.kill_after is not None and len(self.engine.done) >= self.engine.kill_after:
            raise KeyboardInterrupt
        if self.engine.losses:
            self.engine.losses -= 1
            return Ending("lost")
        spec = self.attempt.cell.spec()
        self.engine.done.append((spec.leading, spec.seed, self.attempt.until))
        self.engine.race.write(self.attempt.cell, self.attempt.until, FINAL[spec.leading])
        return Ending("done")

    def stop(self):
        self.engine.stopped += 1

    def kill(self):
        raise AssertionError("nobody is killed")


class FakeEngine:
    parallel = 1

    def __init__(self, race, losses=0, kill_after=None):
        self.race, self.losses, self.kill_after = race, losses, kill_after
        self.running, self.stopped, self.done = 0, 0, []

    def describe(self):
        return "nowhere"

    def free_slots(self):
        return 1 - self.running

    def submit(self, attempts):
        self.running += len(attempts)
        return [FakeJob(attempt, self) for attempt in attempts]

    def close(self):
        raise AssertionError("the caller closes it")


FAST = Policy(poll_seconds=0, other_runs_seconds=0)


def run(race, engine, over=lambda rung: None):
    return run_race(engine, race.again(), race.folder, FAST, lambda: None, over)


def test_the_worse_half_is_never_trained_beyond_its_rung(made_up):
    race = made_up(rungs=3, seeds=2, rule=Rule(1, 0.05))
    engine, decided = FakeEngine(race), []
    rungs = run(race, engine, decided.append)
    assert [rung.survivors for rung in rungs] == [("t1", "none"), ("t1",)]
    assert decided == rungs
    trained = {}
    for candidate, _, until in engine.done:
        trained.setdefault(candidate, []).append(until)
    assert trained == {"t1": [2, 2, 4, 4], "epi": [2, 2], "none": [2, 2, 4, 4]}
    assert [seed for _, seed, _ in engine.done[:6]] == [0, 0, 0, 1, 1, 1]


def test_a_race_that_is_over_trains_nothing(made_up):
    race = made_up(rungs=2, seeds=2)
    run(race, FakeEngine(race))
    engine = FakeEngine(race)
    assert run(race, engine, lambda rung: pytest.fail("decided twice"))[-1].survivors == ("t1",)
    assert engine.done == []


def test_the_epochs_to_run_are_known_of_a_race_that_is_taken_up_too(made_up):
    race = made_up(rungs=2, seeds=2)
    assert race.again().epochs_to_run() == 2 * (3 * 4 + 2 * 4)
    race.score(4, t1=0.5, epi=0.2, none=0.4)
    assert race.again().epochs_to_run() == 2 * (3 * 4 + 2 * 4)
    race.score(8, t1=0.5, none=0.4)
    assert race.again().epochs_to_run() == 2 * (3 * 4 + 2 * 4)


def test_a_candidate_that_is_kept_makes_the_race_longer(made_up):
    race = made_up(rungs=2, seeds=2)
    race.score(4, t1=0.5, none=0.48)
    for number, cell in enumerate(race.trainings.missing(["epi"], 4)):
        race.write(cell, 4, 0.5 + 0.2 * (number - 0.7))  # worse on average, but with one seed the best
    (rung, _) = race.again().race()
    assert set(rung.survivors) == {"t1", "none", "epi"}
    assert race.again().epochs_to_run() == 2 * 3 * 8


@pytest.mark.parametrize("after", range(8))
def test_stopped_anywhere_it_goes_on_with_what_is_missing(made_up, after):
    race = made_up(rungs=2, seeds=2)
    first, second = FakeEngine(race, kill_after=after), FakeEngine(race)
    with pytest.raises(KeyboardInterrupt):
        run(race, first)
    assert run(race, second)[-1].survivors == ("t1",)
    whole = [(candidate, seed, 4) for seed in (0, 1) for candidate in ("t1", "epi", "none")]
    whole += [(candidate, seed, 8) for seed in (0, 1) for candidate in ("t1", "none")]
    assert first.done + second.done == whole


def test_a_lost_training_is_tried_again_and_in_the_end_ends_the_race(made_up):
    race = made_up(rungs=1, seeds=1)
    run(race, FakeEngine(race, losses=2))
    other = made_up(rungs=1, seeds=2)
    with pytest.raises(HarnessError, match="of the rung at epoch 8 failed") as error:
        run(other, FakeEngine(other, losses=100))
    assert "lost" in error.value.message
    assert "not repeated" in error.value.hint


def test_training_all_to_the_end_scores_every_rung_on_the_way(made_up):
    race = made_up(rungs=2, seeds=1)
    engine = FakeEngine(race)
    rungs = run(race, engine)
    finish_all(engine, race.again(), race.folder, FAST, lambda: None)
    assert engine.done[-1] == ("epi", 0, 8)
    trainings = race.again()
    assert not trainings.missing(race.plan.candidates, 8)
    assert trainings.race() == rungs
