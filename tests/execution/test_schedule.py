"""What a failure leads to and how runs share a study, with an engine whose cells end as the test says."""

from __future__ import annotations

import multiprocessing
import time
from contextlib import nullcontext

import pytest
from stored import cell_record, finish, manifest

from harness.execution.schedule import Policy, Source, initial_attempt, run_attempts
from harness.execution.study import run_study
from harness.execution.workers.attempt import Attempt, Ending
from harness.execution.workers.failures import LOST_RETRIES
from harness.results.attempt_folder import AttemptFolder
from harness.results.store import Store
from harness.results.subsets import CellSubsets, Subset


@pytest.fixture
def cells(tmp_path):
    store = Store(tmp_path)
    made = [store.cell(name) for name in ("a", "b", "c")]
    for cell in made:
        cell.write_spec(cell_record(protocol={"name": "p", "sampling": {"batch_size": 8}}))
    return made


class Job:
    def __init__(self, engine, attempt):
        self.attempt, self.engine, self.stopped = attempt, engine, False

    def poll(self):
        if self.stopped:
            return Ending("stopped")
        return self.engine.act(self.attempt)

    def stop(self):
        self.stopped = True
        self.engine.stopped.append(self.attempt.cell.id)

    def kill(self):
        raise AssertionError("a cell that stops in time is not killed")


class FakeEngine:
    """``script``: cell to a list of how its attempts end; each attempt takes the next."""

    parallel = 2

    def __init__(self, script, places=2):
        self.script, self.places, self.tried, self.stopped, self.closed = script, places, [], [], False

    def describe(self):
        return "fake"

    def free_slots(self):
        return self.places

    def submit(self, attempts):
        self.tried += [(one.cell.id, one.accumulate) for one in attempts]
        return [Job(self, one) for one in attempts]

    def act(self, attempt):
        cell = attempt.cell
        how = self.script[cell.id].pop(0) if self.script.get(cell.id) else "done"
        if how == "done":
            finish(cell)
            return Ending("done")
        if how in {"lost", "stopped", "busy"}:
            return Ending(how)
        if how == "running":
            self.script[cell.id].append("running")
            return None
        attempt.folder.fail(f"it was {how}", kind=how, accumulate=attempt.accumulate)
        return Ending("failed")

    def close(self):
        self.closed = True


def attempts_of(engine, cell):
    return [one for one, _ in engine.tried].count(cell)


def go(engine, cells, tmp_path, watch=lambda: None, **settings):
    policy = Policy(**{"poll_seconds": 0, "other_runs_seconds": 0, **settings})
    attempts = [initial_attempt(cell, tmp_path / "cache", policy) for cell in cells]
    try:
        return run_attempts(engine, attempts, policy, watch)
    finally:
        assert not engine.closed, "more may follow"


@pytest.mark.parametrize("ends", [False, True])
def test_a_study_closes_its_engine_however_it_ends(cells, tmp_path, ends):
    class Observer:
        finished = 0

        def update(self):
            if not ends:
                raise KeyboardInterrupt

        def finish(self):
            self.finished += 1

    store, engine, observer = Store(tmp_path), FakeEngine({}), Observer()
    study = store.study("study", "default")
    study.write_manifest(manifest(*(cell.id for cell in cells)))
    policy = Policy(poll_seconds=0)
    with nullcontext() if ends else pytest.raises(KeyboardInterrupt):
        run_study(study, store, engine, tmp_path / "cache", [observer], policy)
    assert engine.closed
    assert observer.finished == 1


def test_a_failure_never_stops_the_others(cells, tmp_path):
    engine = FakeEngine({"a": ["exception"]})
    go(engine, cells, tmp_path)
    assert [cell.status() for cell in cells] == ["failed", "done", "done"]


@pytest.mark.parametrize("kind", ["exception", "out_of_memory", "timeout", "killed"])
def test_retries_are_bounded_and_recorded(cells, tmp_path, kind):
    engine = FakeEngine({"a": [kind] * 9, "b": [kind]})
    go(engine, cells, tmp_path, retries=2)
    assert attempts_of(engine, "a") == 3
    assert attempts_of(engine, "b") == 2
    assert cells[0].failure().attempt == 3
    assert [one.kind for one in cells[0].attempts()] == [kind] * 3
    assert cells[1].status() == "done"
    assert len(cells[1].attempts()) == 1, "a cell that was mended remembers"


@pytest.mark.parametrize("kind", ["refused", "not_finite", "disk_full"])
def test_what_another_attempt_cannot_mend_is_not_retried(cells, tmp_path, kind):
    engine = FakeEngine({"a": [kind] * 9})
    go(engine, cells, tmp_path, retries=5)
    assert attempts_of(engine, "a") == 1


@pytest.mark.parametrize("kind", ["lost", "stopped"])
def test_a_lost_machine_is_not_the_cells_fault(cells, tmp_path, kind):
    engine = FakeEngine({"a": [kind] * 2, "b": [kind] * 99})
    go(engine, cells, tmp_path)
    assert cells[0].status() == "done"
    assert cells[1].status() == "failed"
    assert cells[1].failure().kind == kind
    assert attempts_of(engine, "b") == 1 + LOST_RETRIES


def test_out_of_gpu_memory_is_tried_in_ever_smaller_parts_down_to_one_image(cells, tmp_path):
    engine = FakeEngine({"a": ["cuda_out_of_memory"] * 2, "b": ["cuda_out_of_memory"] * 9})
    go(engine, cells, tmp_path)
    assert [parts for cell, parts in engine.tried if cell == "a"] == [1, 2, 4]
    assert [parts for cell, parts in engine.tried if cell == "b"] == [1, 2, 4, 8]
    assert (cells[0].status(), cells[1].status()) == ("done", "failed")


def test_a_later_run_begins_with_the_parts_that_fitted(cells, tmp_path):
    go(FakeEngine({"a": ["cuda_out_of_memory", "killed"]}), cells, tmp_path)
    later = FakeEngine({})
    go(later, cells, tmp_path)
    assert later.tried == [("a", 2)]


class Noting(FakeEngine):
    """Notes which attempts record no step."""

    def __init__(self, script):
        super().__init__(script)
        self.eager = []

    def submit(self, attempts):
        self.eager += [one.eager for one in attempts]
        return super().submit(attempts)


@pytest.mark.parametrize(("step", "eager"), [("auto", [False, True]), ("recorded", [False]), ("eager", [False])])
def test_a_step_that_cannot_be_recorded_is_eager_in_a_new_attempt_unless_the_user_insists(tmp_path, step, eager):
    cell = Store(tmp_path).cell("a")
    cell.write_spec(cell_record(protocol={"name": "p", "sampling": {"batch_size": 8}, "training": {"step": step}}))
    engine = Noting({"a": ["not_recorded"]})
    go(engine, [cell], tmp_path)
    assert engine.eager == eager
    assert cell.status() == ("done" if step == "auto" else "failed")


def test_subsets_whose_windows_cannot_be_recorded_are_eager_in_a_new_attempt(tmp_path):
    """Also of cells whose training must be recorded: their numbers are what the user wants."""
    cell = Store(tmp_path).cell("a")
    cell.write_spec(cell_record(protocol={"name": "p", "training": {"step": "recorded"}}))
    engine = Noting({"a": ["not_recorded", "exception"]})
    work = Attempt(cell, tmp_path, kind="subsets", subsets=(Subset(("t1",), "zeros"),))
    run_attempts(engine, [work], Policy(poll_seconds=0), lambda: None)
    assert engine.eager == [False, True]


def test_a_later_run_does_not_try_again_to_record_what_cannot_be(tmp_path):
    cell = Store(tmp_path).cell("a")
    cell.write_spec(cell_record(protocol={"name": "p", "sampling": {"batch_size": 8}, "training": {"step": "auto"}}))
    go(Noting({"a": ["not_recorded", "killed"]}), [cell], tmp_path)
    later = Noting({})
    go(later, [cell], tmp_path)
    assert later.eager == [True]


def test_fail_fast_stops_what_runs_and_starts_nothing_more(cells, tmp_path):
    engine = FakeEngine({"a": ["exception"], "b": ["running"]})
    go(engine, cells, tmp_path, fail_fast=True)
    assert engine.stopped == ["b"]
    assert attempts_of(engine, "c") == 0
    assert cells[1].failure() is None, "it was stopped by us"


def test_ctrl_c_stops_every_cell_in_order(cells, tmp_path):
    engine = FakeEngine({"a": ["running"], "b": ["running"]})
    seen = []

    def watch():
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(engine, cells, tmp_path, watch)
    assert engine.stopped == ["a", "b"]


def test_what_does_not_end_in_time_is_killed_once(cells, tmp_path):
    """On a cluster that is a command for every cell, and the end is seen a minute later."""

    class Deaf(Job):
        kills, looks = 0, 0

        def poll(self):
            self.looks += self.kills
            return Ending("stopped") if self.looks > 5 else None

        def kill(self):
            self.kills += 1

    jobs = []

    class Cluster(FakeEngine):
        def submit(self, attempts):
            jobs.extend(Deaf(self, one) for one in attempts)
            return list(jobs)

    def watch():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(Cluster({}), cells, tmp_path, watch, grace_seconds=0)
    assert {job.kills for job in jobs} == {1}


def test_an_end_that_is_said_is_not_waited_for(cells, tmp_path):
    """Thirty looks, each after a longer pause than the one before, would take minutes."""
    end, others = multiprocessing.Pipe()
    others.send("one has ended")

    class Said(Job):
        looks = 0

        def poll(self):
            self.looks += 1
            return super().poll() if self.looks == 30 else None

    Said.end = end

    class Saying(FakeEngine):
        def submit(self, attempts):
            return [Said(self, one) for one in attempts]

    deadline = time.monotonic() + 20

    def watch():
        assert time.monotonic() < deadline

    go(Saying({}), cells[:1], tmp_path, watch, poll_seconds=3600)
    assert cells[0].status() == "done"


def test_what_another_run_computes_or_finished_is_left_to_it(cells, tmp_path):
    leases = [cells[0].lease(), cells[1].lease()]
    assert all(lease.try_acquire() for lease in leases)
    seen = []

    def watch():
        seen.append(1)
        if len(seen) == 20:  # the other run finishes a ...
            finish(cells[0])
            leases[0].release()
        if len(seen) == 40:  # ... and dies over b
            leases[1].release()

    engine = FakeEngine({})
    go(engine, cells, tmp_path, watch)
    assert engine.tried == [("c", 1), ("b", 1)]
    assert all(cell.status() == "done" for cell in cells)


def test_a_cell_that_another_run_took_first_is_waited_for(cells, tmp_path):
    engine = FakeEngine({"a": ["busy", "done"]})
    go(engine, cells, tmp_path)
    assert attempts_of(engine, "a") == 2
    assert cells[0].attempts() == []


def test_a_failure_that_cannot_be_written_is_told(cells, tmp_path, monkeypatch):
    def full(self, *details, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(AttemptFolder, "fail", full)
    unwritten = go(FakeEngine({"a": ["lost"]}), cells, tmp_path)
    assert "No space left" in unwritten["a"]
    assert [cell.status() for cell in cells[1:]] == ["done", "done"]


class Listed(Source):
    """Gives cells out one by one; ends those early that it shall drop, and notes how each ended."""

    def __init__(self, cells, cache, drop=()):
        self.left, self.cache, self.drop, self.ended = list(cells), cache, drop, []

    def next(self):
        return Attempt(self.left.pop(0), self.cache, kind="trial") if self.left else None

    def on_progress(self, attempt):
        return attempt.cell.id not in self.drop

    def on_end(self, attempt, ending):
        self.ended.append((attempt.cell.id, ending.state))


class OneSlot(FakeEngine):
    """Counts what runs, as real engines do."""

    parallel = 1

    def __init__(self, script):
        super().__init__(script)
        self.running = 0

    def free_slots(self):
        return 1 - self.running

    def submit(self, attempts):
        self.running += len(attempts)
        return super().submit(attempts)

    def act(self, attempt):
        ending = super().act(attempt)
        self.running -= ending is not None
        return ending


FAST = Policy(poll_seconds=0, other_runs_seconds=0)


def test_a_source_is_asked_when_a_slot_is_free_and_told_every_end(cells, tmp_path):
    source = Listed(cells, tmp_path)
    engine = OneSlot({"a": ["cuda_out_of_memory"], "b": ["refused"]})
    asked_while_running = []
    run_attempts(engine, (), FAST, lambda: asked_while_running.append((len(source.left), engine.running)), source)
    assert source.ended == [("a", "done"), ("b", "failed"), ("c", "done")]
    assert [parts for cell, parts in engine.tried if cell == "a"] == [1, 2]
    assert asked_while_running[0] == (2, 1), "the others are not drawn before there is a slot"


def test_what_a_source_ends_early_is_stopped_and_never_repeated(cells, tmp_path):
    source = Listed(cells, tmp_path, drop={"b"})
    engine = FakeEngine({})
    run_attempts(engine, (), FAST, lambda: None, source)
    assert engine.stopped == ["b"]
    assert sorted(source.ended) == [("a", "done"), ("b", "stopped"), ("c", "done")]
    assert attempts_of(engine, "b") == 1
    assert cells[1].failure() is None


def test_a_source_hears_of_what_another_run_finished(cells, tmp_path):
    finish(cells[0])
    lease = cells[1].lease()
    assert lease.try_acquire()
    source, seen = Listed(cells, tmp_path), []

    def watch():
        seen.append(1)
        if len(seen) == 10:
            cells[1].fail("the other run could not", kind="refused")
            lease.release()

    engine = FakeEngine({})
    run_attempts(engine, (), FAST, watch, source)
    assert sorted(source.ended) == [("a", "done"), ("b", "failed"), ("c", "done")]
    assert [cell for cell, _ in engine.tried] == ["c"]


@pytest.mark.parametrize(("kind", "tries"), [("killed", 3), ("lost", 4), ("cuda_out_of_memory", 1), ("refused", 1)])
def test_subsets_fail_by_themselves_and_leave_the_cell_as_it_is(cells, tmp_path, kind, tries):
    cell = cells[0]
    finish(cell)

    class Subsets(FakeEngine):
        def act(self, attempt):
            if kind == "lost":
                return Ending("lost")
            attempt.folder.fail("it was so", kind=kind)
            return Ending("failed")

    engine = Subsets({})
    attempt = Attempt(cell, tmp_path, kind="subsets", subsets=(Subset(("t1",), "zeros"),))
    run_attempts(engine, [attempt], Policy(2, poll_seconds=0), lambda: None)
    assert len(engine.tried) == tries
    assert len(CellSubsets(cell).attempts()) == tries
    assert CellSubsets(cell).failure().kind == kind
    assert (cell.status(), cell.failure(), cell.attempts()) == ("done", None, [])
