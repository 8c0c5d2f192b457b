"""What a failure leads to and how runs share a study, with an engine whose cells end as the test says."""

from __future__ import annotations

import pytest

from harness.execution import schedule
from harness.execution.schedule import Policy, compute
from harness.execution.workers.attempt import Ending
from harness.results.store import Store


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(schedule, "_POLL", 0.0)
    monkeypatch.setattr(schedule, "_LOOK_ELSEWHERE", 0.0)


@pytest.fixture
def cells(tmp_path):
    store = Store(tmp_path)
    made = [store.cell(name) for name in ("a", "b", "c")]
    for cell in made:
        cell.write_spec({"protocol": {"sampling": {"batch_size": 8}}})
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

    def room(self):
        return self.places

    def submit(self, attempts):
        self.tried += [(one.cell.id, one.accumulate) for one in attempts]
        return [Job(self, one) for one in attempts]

    def act(self, attempt):
        cell = attempt.cell
        how = self.script[cell.id].pop(0) if self.script.get(cell.id) else "done"
        if how == "done":
            with cell.writing_result() as result:
                (result / "summary.json").write_text("{}")
            return Ending("done")
        if how in {"lost", "stopped", "busy"}:
            return Ending(how)
        if how == "running":
            self.script[cell.id].append("running")
            return None
        cell.fail(f"it was {how}", kind=how, accumulate=attempt.accumulate)
        return Ending("failed")

    def close(self):
        self.closed = True


def attempts_of(engine, cell):
    return [one for one, _ in engine.tried].count(cell)


def go(engine, cells, tmp_path, watch=lambda: None, **policy):
    return compute(engine, cells, tmp_path / "cache", Policy(**policy), watch)


def test_a_failure_never_stops_the_others(cells, tmp_path):
    engine = FakeEngine({"a": ["exception"]})
    go(engine, cells, tmp_path)
    assert [cell.status() for cell in cells] == ["failed", "done", "done"]
    assert engine.closed


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
    assert attempts_of(engine, "b") == 1 + schedule.LOST_RETRIES


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
    assert engine.closed


def test_what_does_not_end_in_time_is_killed_once(cells, tmp_path, monkeypatch):
    """On a cluster that is a command for every cell, and the end is seen a minute later."""
    monkeypatch.setattr(schedule, "GRACE", 0.0)

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
        go(Cluster({}), cells, tmp_path, watch)
    assert {job.kills for job in jobs} == {1}


def test_what_another_run_computes_or_finished_is_left_to_it(cells, tmp_path):
    leases = [cells[0].lease(), cells[1].lease()]
    assert all(lease.try_acquire() for lease in leases)
    seen = []

    def watch():
        seen.append(1)
        if len(seen) == 20:  # the other run finishes a ...
            with cells[0].writing_result() as result:
                (result / "summary.json").write_text("{}")
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

    monkeypatch.setattr(type(cells[0]), "fail", full)
    told = go(FakeEngine({"a": ["lost"]}), cells, tmp_path)
    assert "No space left" in told["a"]
    assert [cell.status() for cell in cells[1:]] == ["done", "done"]
