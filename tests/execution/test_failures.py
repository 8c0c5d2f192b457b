"""What went wrong is told by kind, with a remedy; a time limit and a signal leave their reason and the log's end."""

from __future__ import annotations

import errno
import signal
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from stored import cell_record, finish

from harness.errors import DataError, NotFiniteError, RecordingError
from harness.execution.engines.local import FixedPlaces, LocalEngine
from harness.execution.schedule import Policy, run_attempts
from harness.execution.workers import fork_server, stop_request, worker
from harness.execution.workers import process as module
from harness.execution.workers.attempt import Attempt
from harness.execution.workers.exit_status import out_of_memory_kills, signal_name
from harness.execution.workers.failures import explain
from harness.execution.workers.process import Slot, WorkerProcess
from harness.results import lease
from harness.results.store import CellFolder, Store


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (DataError("no file", hint="get it"), "refused", "no file"),
        (NotFiniteError("loss is nan"), "not_finite", "nan"),
        (RecordingError.because("it reads a value"), "not_recorded", "it reads a value"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "cuda_out_of_memory", "2 GiB"),
        (MemoryError(), "out_of_memory", "Out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out_of_memory", "Out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full", "disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk_full", "quota"),
        (OSError(errno.EACCES, "Permission denied"), "exception", "Permission"),
        (ValueError("first\nsecond"), "exception", "ValueError: first"),
    ],
)
def test_every_error_has_a_kind_a_reason_and_a_remedy(error, kind, said):
    reason = explain(error, Path("log.txt"))
    assert reason.kind == kind
    assert said in reason.text
    assert "\n" not in reason.text
    assert reason.hint or kind == "not_finite"


@pytest.mark.linux("writes to /dev/full")
def test_a_checkpoint_on_a_full_disk_is_told_as_such():
    with pytest.raises((RuntimeError, OSError)) as error:
        torch.save({"weights": torch.zeros(100_000)}, "/dev/full")
    assert explain(error.value, Path("log.txt")).kind == "disk_full"


def start(tmp_path, code, timeout=None, **more):
    """The process of an attempt that runs some Python instead of a cell."""
    cell = Store(tmp_path).cell("cell")
    cell.write_spec(cell_record())
    return cell, WorkerProcess(Attempt(cell, tmp_path, timeout), Slot("cpu", None, 1), start=typed(code), **more)


def typed(code):
    """Starts a worker that runs some Python."""
    return lambda attempt, slot, fork: module.start_fresh([sys.executable, "-S", "-c", code], attempt, slot)


def test_a_time_limit_stops_in_order_and_says_so(tmp_path):
    code = "import signal,sys,time; signal.signal(15, lambda *_: sys.exit(130)); print('at work', flush=True)\n"
    cell, process = start(tmp_path, code + "time.sleep(60)", timeout=0.5)
    began = time.monotonic()
    assert process.wait().state == "failed"
    assert time.monotonic() - began < 30
    failure = cell.failure()
    assert failure.kind == "timeout"
    assert "--timeout" in failure.reason
    assert failure.log == "at work"


def test_a_process_that_ignores_the_limit_is_killed(tmp_path):
    code = "import signal,time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    cell, process = start(tmp_path, code, grace=0.3)
    while "deaf" not in cell.log_tail():
        time.sleep(0.02)
    process.attempt = Attempt(cell, tmp_path, 0.01)
    assert process.wait().state == "failed"
    assert cell.failure().kind == "timeout"


@pytest.mark.parametrize("fork", [False, True])
@pytest.mark.linux("reads /proc")
def test_what_a_killed_worker_has_started_ends_with_it(tmp_path, fork):
    code = "import os,subprocess,time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    cell, process = start(tmp_path, code)
    if fork:  # as the fork server does it
        process.kill = lambda: fork_server._signal(process._process.pid, signal.SIGKILL)
    while not cell.log_tail():
        time.sleep(0.02)
    child = int(cell.log_tail())
    process.kill()
    assert process.wait().state == "failed"
    deadline = time.monotonic() + 10
    while lease._process_start_time(child) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_end_of_the_log_is_kept_with_the_failure(tmp_path):
    cell, process = start(tmp_path, "import os; [print(i, flush=True) for i in range(99)]; os.kill(os.getpid(), 9)")
    assert process.wait().state == "failed"
    failure = cell.failure()
    assert failure.kind == "killed"
    assert "SIGKILL" in failure.reason
    assert failure.log.splitlines() == [str(number) for number in range(69, 99)]


def test_a_kill_for_memory_is_told_where_the_kernel_counts_them(monkeypatch, tmp_path):
    kills = iter([3, 4])
    monkeypatch.setattr(module, "out_of_memory_kills", lambda: next(kills))
    cell, process = start(tmp_path, "import os; os.kill(os.getpid(), 9)")
    process.wait()
    assert cell.failure().kind == "out_of_memory"


@pytest.mark.parametrize(
    ("line", "file", "content"),
    [
        ("0::/system.slice/job_7/step_0", "system.slice/job_7/step_0/memory.events", "oom 3\noom_kill 2\n"),
        ("4:cpu:/\n9:memory:/slurm/job_7", "memory/slurm/job_7/memory.oom_control", "under_oom 0\noom_kill 2\n"),
        ("0::/docker/0123", "memory.events", "oom_kill 2\n"),
        ("9:memory:/docker/0123", "memory/memory.oom_control", "oom_kill 2\n"),
    ],
)
def test_kills_for_memory_are_counted_in_the_group_of_the_process(tmp_path, line, file, content):
    own, groups = tmp_path / "cgroup", tmp_path / "groups"
    own.write_text(f"{line}\n")
    assert out_of_memory_kills(own, groups) == 0
    (groups / file).parent.mkdir(parents=True)
    (groups / file).write_text(content)
    assert out_of_memory_kills(own, groups) == 2


def test_signals_without_a_name_have_a_number():
    assert signal_name(-9) == "SIGKILL"
    assert signal_name(-40) == "signal 40"


@pytest.mark.parametrize(
    ("status", "state"),
    [(0, "failed"), (1, "failed"), (3, "failed"), (4, "lost"), (5, "failed"), (7, "failed"), (130, "stopped")],
)
@pytest.mark.parametrize("code", ["raise SystemExit({})", "import os; os._exit({})"])
def test_a_process_that_ends_by_itself_is_never_taken_for_done(tmp_path, code, status, state):
    cell, process = start(tmp_path, code.format(status))
    ending = process.wait()
    assert ending.state == state
    assert (cell.failure() is not None) == (state == "failed")
    said = cell.failure().reason if state == "failed" else ending.detail
    assert state == "stopped" or f"ended with status {status} and no result" in said


def test_a_cell_that_another_process_computes_is_busy(tmp_path):
    cell, process = start(tmp_path, "raise SystemExit(4)")
    with cell.lease():
        assert process.wait().state == "busy"


class ExitsForEver:
    """An engine whose attempts end at once, with a status that means something else."""

    parallel = 1

    def __init__(self, tmp_path, status):
        self.start = lambda: start(tmp_path, f"import os; os._exit({status})")[1]
        self.started = 0

    def free_slots(self):
        return 1

    def submit(self, attempts):
        self.started += 1
        process = self.start()
        return [SimpleNamespace(attempt=attempts[0], poll=process.poll, stop=process.stop, kill=process.kill)]


@pytest.mark.parametrize(("status", "attempts"), [(0, 1), (4, 4), (130, 4)])
def test_a_network_that_ends_its_process_is_not_started_for_ever(tmp_path, status, attempts):
    cell = Store(tmp_path).cell("cell")
    cell.write_spec(cell_record())
    engine = ExitsForEver(tmp_path, status)
    policy = Policy(poll_seconds=0.01, other_runs_seconds=0)
    run_attempts(engine, [Attempt(cell, tmp_path)], policy, lambda: None)
    assert engine.started == attempts
    assert cell.status() == "failed"
    assert status == 130 or f"status {status} and no result" in cell.failure().reason


@pytest.mark.parametrize("error", [SystemExit(0), SystemExit("bye\nbye"), KeyboardInterrupt(), GeneratorExit()])
def test_whatever_code_of_others_raises_is_written_down(cell, tmp_path, monkeypatch, error):
    def leave(*_):
        raise error

    monkeypatch.setattr(stop_request.signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(CellFolder, "spec", leave)
    assert work(cell, tmp_path) == worker.FAILED
    failure = cell.failure()
    assert failure.kind == "exception"
    assert "leave" in failure.traceback
    assert "\n" not in failure.reason


def test_an_old_failure_is_not_taken_for_a_new_one(tmp_path):
    Store(tmp_path).cell("cell").fail("long ago")
    cell, process = start(tmp_path, "raise SystemExit(1)")
    process.wait()
    assert "status 1" in cell.failure().reason
    assert cell.failure().attempt == 2


@pytest.fixture
def cell(tmp_path):
    made = Store(tmp_path).cell("cell")
    made.write_spec(cell_record())
    return made


class FullDisk:
    """A disk that takes no bytes: files can be opened and removed, and those that are there can be read.

    Args:
        room_in: Where there is room once this file is gone; None for nowhere.
    """

    def __init__(self, monkeypatch, room_in=None):
        self._room_in = room_in
        monkeypatch.setattr(Path, "write_text", self._refusing(Path.write_text))
        monkeypatch.setattr(Path, "write_bytes", self._refusing(Path.write_bytes))

    def _refusing(self, write):
        def refuse(path, content, **more):
            if self._room_in is None or self._room_in.exists():
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(path, content, **more)

        return refuse


def work(cell, tmp_path):
    return worker.main([str(cell.path), "--cache", str(tmp_path), "--device", "cpu"])


@pytest.fixture
def held(monkeypatch):
    """The claim was written while there was room; then training fills the disk."""
    monkeypatch.setattr(lease, "write_json", lambda path, values: (path.parent.mkdir(exist_ok=True), path.touch()))
    monkeypatch.setattr(stop_request.signal, "signal", lambda number, handler: None)


def test_a_failure_on_a_full_disk_is_written_into_the_room_set_aside(cell, tmp_path, monkeypatch, held):
    cell.reserve_disk_space()
    FullDisk(monkeypatch, cell.work / "room")
    assert work(cell, tmp_path) == worker.FAILED  # the cell is no cell: that is refused, and must be said
    assert cell.status() == "failed"
    assert cell.failure().traceback
    assert cell.failures() == 1


def test_where_there_is_no_room_at_all_the_cell_has_failed_all_the_same(cell, tmp_path, monkeypatch, held):
    cell.reserve_disk_space()
    FullDisk(monkeypatch)
    assert work(cell, tmp_path) == worker.FAILED
    assert cell.status() == "failed"
    failure = cell.failure()
    assert failure.kind == "disk_full"
    assert "disk is full" in failure.reason
    assert failure.attempt == 1
    assert "harness clean" in failure.hint


def test_a_claim_that_cannot_be_written_is_a_failure_too(cell, tmp_path, monkeypatch):
    monkeypatch.setattr(stop_request.signal, "signal", lambda number, handler: None)
    cell.reserve_disk_space()
    FullDisk(monkeypatch, cell.work / "room")
    assert work(cell, tmp_path) == worker.FAILED
    assert cell.failure().kind == "disk_full"


def test_a_cell_that_cannot_even_be_started_fails_and_the_others_go_on(cell, tmp_path, monkeypatch):
    other = Store(tmp_path).cell("other")
    other.write_spec(cell_record())
    other.reserve_disk_space()
    started = []

    def begin(attempt, slot, fork):
        started.append(attempt.cell)
        return module.start_fresh(["/bin/true"], attempt, slot)

    FullDisk(monkeypatch)
    attempts = [Attempt(one, tmp_path) for one in (cell, other)]
    engine = LocalEngine(FixedPlaces([Slot("cpu", None, 1)]), partial(WorkerProcess, start=begin))
    run_attempts(engine, attempts, Policy(), print)
    assert cell.failure().kind == "disk_full"
    assert started == [other]


def test_a_worker_that_could_write_nothing_is_spoken_for(tmp_path):
    cell, process = start(tmp_path, f"raise SystemExit({worker.UNWRITTEN})")
    assert process.wait().state == "failed"
    assert cell.failure().kind == "disk_full"


def test_the_room_is_given_back_with_the_result(cell):
    cell.reserve_disk_space()
    finish(cell)
    assert not (cell.work / "room").exists()
