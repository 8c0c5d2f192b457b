"""What went wrong is told by kind, with a remedy; a time limit and a signal leave their reason and the log's end."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import pytest
import torch

from harness.errors import DataError, NotFiniteError
from harness.execution import process as module
from harness.execution.engine import Attempt
from harness.execution.failures import explain
from harness.execution.process import Slot, WorkerProcess
from harness.results.store import Store


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (DataError("no file", hint="get it"), "refused", "no file"),
        (NotFiniteError("loss is nan"), "not_finite", "nan"),
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


def test_a_checkpoint_on_a_full_disk_is_told_as_such():
    with pytest.raises((RuntimeError, OSError)) as error:
        torch.save({"weights": torch.zeros(100_000)}, "/dev/full")
    assert explain(error.value, Path("log.txt")).kind == "disk_full"


def start(monkeypatch, tmp_path, code, timeout=None):
    """The process of an attempt that runs some Python instead of a cell."""
    cell = Store(tmp_path).cell("cell")
    cell.write_spec({})
    monkeypatch.setattr(module, "_command", lambda attempt, slot: [module.sys.executable, "-c", code])
    return cell, WorkerProcess(Attempt(cell, tmp_path, timeout), Slot("cpu", None, 1))


def test_a_time_limit_stops_in_order_and_says_so(monkeypatch, tmp_path):
    code = "import signal,sys,time; signal.signal(15, lambda *_: sys.exit(130)); print('at work', flush=True)\n"
    cell, process = start(monkeypatch, tmp_path, code + "time.sleep(60)", timeout=0.5)
    began = time.monotonic()
    assert process.wait().state == "failed"
    assert time.monotonic() - began < 30
    failure = cell.failure()
    assert failure["kind"] == "timeout"
    assert "--timeout" in failure["reason"]
    assert failure["log"] == "at work"


def test_a_process_that_ignores_the_limit_is_killed(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "GRACE", 0.3)
    code = "import signal,time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    cell, process = start(monkeypatch, tmp_path, code)
    while "deaf" not in cell.log_tail():
        time.sleep(0.02)
    process.attempt = Attempt(cell, tmp_path, 0.01)
    assert process.wait().state == "failed"
    assert cell.failure()["kind"] == "timeout"


def test_the_end_of_the_log_is_kept_with_the_failure(monkeypatch, tmp_path):
    cell, process = start(
        monkeypatch, tmp_path, "import os; [print(i, flush=True) for i in range(99)]; os.kill(os.getpid(), 9)"
    )
    assert process.wait().state == "failed"
    failure = cell.failure()
    assert failure["kind"] == "killed"
    assert "SIGKILL" in failure["reason"]
    assert failure["log"].splitlines() == [str(number) for number in range(69, 99)]


def test_a_kill_for_memory_is_told_where_the_kernel_counts_them(monkeypatch, tmp_path):
    kills = iter([3, 4])
    monkeypatch.setattr(module, "_out_of_memory_kills", lambda: next(kills))
    cell, process = start(monkeypatch, tmp_path, "import os; os.kill(os.getpid(), 9)")
    process.wait()
    assert cell.failure()["kind"] == "out_of_memory"


@pytest.mark.parametrize(("status", "state"), [(0, "done"), (4, "busy"), (130, "stopped"), (7, "failed")])
def test_exit_statuses_are_told_apart(monkeypatch, tmp_path, status, state):
    cell, process = start(monkeypatch, tmp_path, f"raise SystemExit({status})")
    assert process.wait().state == state
    assert (cell.failure() is not None) == (state == "failed")


def test_an_old_failure_is_not_taken_for_a_new_one(monkeypatch, tmp_path):
    Store(tmp_path).cell("cell").fail("long ago")
    cell, process = start(monkeypatch, tmp_path, "raise SystemExit(1)")
    process.wait()
    assert "status 1" in cell.failure()["reason"]
    assert cell.failure()["attempt"] == 2
