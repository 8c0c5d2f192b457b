"""Processes of cells forked from one that has everything imported: as good as processes started from nothing."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from types import SimpleNamespace

import forked_worker
import pytest

from harness.execution.workers import fork_server as module
from harness.execution.workers import process as starting
from harness.execution.workers.attempt import Attempt
from harness.execution.workers.exit_status import STOPPED
from harness.execution.workers.fork_server import ForkServer
from harness.execution.workers.process import Slot, WorkerProcess, worker_environment
from harness.results.store import Store

pytestmark = pytest.mark.linux("forks processes that have imported torch")

#: Stands for the worker: does what its first argument says.
WORKER = """
import os, signal, sys, time

def main(arguments, parent):
    print("at work", os.environ.get("MARK"), os.getcwd(), flush=True)
    {
        "end": lambda: None,
        "die": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "raise": lambda: 1 / 0,
        "wait": lambda: time.sleep(60),
        "watch": lambda: watch(parent),
        "gpus": lambda: print("GPUs", os.environ["CUDA_VISIBLE_DEVICES"], flush=True),
    }[arguments[0]]()
    return int(arguments[1])

def watch(parent):
    while os.getppid() == parent:
        time.sleep(0.02)
    print("left alone", flush=True)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A fork server whose workers do what their arguments say; it imports nothing heavy."""
    made = start_server(tmp_path_factory.mktemp("server"))
    yield made
    made.close()


def start_server(folder):
    (folder / "sitecustomize.py").write_text(
        "import sys, types, importlib\n"
        "import harness.execution.cell, harness.execution.workers\n"
        f"worker = types.ModuleType('harness.execution.workers.worker'); exec({WORKER!r}, worker.__dict__)\n"
        "harness.execution.workers.worker = sys.modules['harness.execution.workers.worker'] = worker\n"
        f"sys.modules.update(dict.fromkeys({['torch', *module.PRELOADED]!r}, worker))\n"
    )
    return ForkServer({**os.environ, "PYTHONPATH": str(folder)})


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("what", "status", "seen"), [("end", 0, 0), ("end", 4, 4), ("die", 0, -signal.SIGKILL), ("raise", 0, 1)]
)
def test_how_a_worker_ends_is_seen(server, tmp_path, what, status, seen):
    worker = server.fork([what, str(status)], dict(os.environ), tmp_path / "log.txt")
    assert wait([worker.end], 20)
    wait_for(worker.has_ended)
    assert worker.poll() == seen
    assert ("ZeroDivisionError" in (tmp_path / "log.txt").read_text()) == (what == "raise")


def test_a_worker_has_the_environment_and_the_folder_of_who_asked_for_it(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.txt").write_text("an earlier attempt\n")
    worker = server.fork(["end", "0"], {**os.environ, "MARK": "here"}, Path("log.txt"))
    wait_for(worker.has_ended)
    assert (tmp_path / "log.txt").read_text() == f"an earlier attempt\nat work here {tmp_path}\n"


def test_signals_reach_the_one_worker_they_are_for(server, tmp_path):
    one, other = (server.fork(["wait", "0"], dict(os.environ), tmp_path / name) for name in "ab")
    one.terminate()
    wait_for(one.has_ended)
    assert one.poll() == -signal.SIGTERM
    assert other.poll() is None
    other.kill()
    wait_for(other.has_ended)
    assert other.poll() == -signal.SIGKILL


def test_workers_notice_that_the_server_is_gone_and_whoever_asked_too(tmp_path):
    server = start_server(tmp_path)
    worker = server.fork(["watch", "0"], dict(os.environ), tmp_path / "log.txt")
    wait_for(lambda: (tmp_path / "log.txt").exists() and "at work" in (tmp_path / "log.txt").read_text())
    assert server.works
    os.kill(server.pid, signal.SIGKILL)
    wait_for(worker.has_ended)
    assert worker.poll() == STOPPED, "it continues from its checkpoint"
    assert not server.works
    assert worker.end is None, "nothing more is said"
    wait_for(lambda: "left alone" in (tmp_path / "log.txt").read_text())
    server.close()


def test_a_process_that_cannot_be_started_is_one_cells_failure(monkeypatch):
    ours, theirs = multiprocessing.Pipe()

    class Refused:
        def __init__(self, **_):
            pass

        def start(self):
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(module, "Connection", lambda _: theirs)
    monkeypatch.setattr(module.multiprocessing, "get_context", lambda _: SimpleNamespace(Process=Refused))
    monkeypatch.setattr(module.os, "_exit", sys.exit)
    for number in (1, 2):
        ours.send_bytes(json.dumps({"start": number}).encode())
    messages = []

    def listen():
        messages.extend(json.loads(ours.recv_bytes()) for _ in range(2))
        ours.close()

    thread = threading.Thread(target=listen)
    thread.start()
    with pytest.raises(SystemExit):
        module.main(0, preloaded=(), why_not=lambda: "")
    thread.join()
    assert messages == [{"ended": 1, "status": 126}, {"ended": 2, "status": 126}]


def test_one_server_forks_all_cells_alike_and_is_replaced_when_it_is_gone(monkeypatch):
    class Pretended:
        def __init__(self, environment):
            self.works = True

        def close(self):
            self.works = False

    monkeypatch.setattr(module, "ForkServer", Pretended)
    shared = partial(module.shared_fork_server, servers={})
    environment = {"OMP_NUM_THREADS": "1"}
    first = shared(environment)
    assert shared({**environment, "HOME": "elsewhere"}) is first
    assert shared({"OMP_NUM_THREADS": "2"}) is not first, "it is read when torch is loaded"
    first.close()
    assert shared(environment) is not first


def test_a_fork_server_has_one_thread_and_has_not_touched_cuda():
    """Otherwise it must not fork; the one that all tests share has imported the same."""
    process = Path(f"/proc/{forked_worker.server_pid()}")
    assert len(list((process / "task").iterdir())) == 1
    maps = (process / "maps").read_text()
    assert "libtorch_cpu" in maps, "it has imported torch"
    assert "libcuda.so" not in maps, "the driver is not loaded"
    assert not [link for link in (process / "fd").iterdir() if "/dev/nvidia" in str(link.readlink())]


@pytest.mark.slow
def test_a_fork_server_started_from_nothing_runs_a_worker(tmp_path):
    environment = worker_environment(Slot("cpu", None, 1))
    server = ForkServer(environment)
    worker = server.fork(["--help"], environment, tmp_path / "log.txt")
    wait_for(worker.has_ended, 120)
    assert "Runs one cell" in (tmp_path / "log.txt").read_text()
    assert len(list(Path(f"/proc/{server.pid}/task").iterdir())) == 1
    server.close()


def test_cells_on_one_gpu_are_forked_and_groups_of_processes_are_not(tmp_path):
    asked = []

    def start(attempt, slot, fork):
        asked.append((slot.gpu, fork))
        return starting.start_fresh([sys.executable, "-S", "-c", "raise SystemExit(9)"], attempt, slot)

    cell = Store(tmp_path).cell("cell")
    cell.write_spec({})
    for slot in (Slot("cuda:0", "0", 1), Slot("cpu", None, 1), Slot("cuda:0", "0,1", 1, ranks=2)):
        WorkerProcess(Attempt(cell, tmp_path), slot, fork=True, start=start).wait()
        assert "status 9" in cell.failure().reason
    assert asked == [("0", True), (None, True), ("0,1", False)]


def test_a_worker_sees_its_own_gpus_whatever_the_server_was_started_with(server, tmp_path):
    """CUDA reads the variable when it starts, which is in the worker."""
    script = {**os.environ, "CUDA_VISIBLE_DEVICES": "3", "MARK": "gpu"}
    worker = server.fork(["gpus", "0"], script, tmp_path / "log.txt")
    wait_for(worker.has_ended)
    assert "GPUs 3" in (tmp_path / "log.txt").read_text()


def process_folder(path, threads, files):
    for number, name in enumerate(threads):
        (path / f"task/{number}").mkdir(parents=True)
        (path / f"task/{number}/comm").write_text(f"{name}\n")
    (path / "fd").mkdir()
    for number, file in enumerate(files):
        (path / f"fd/{number}").symlink_to(file)
    return path


@pytest.mark.parametrize(
    ("threads", "files", "why"),
    [
        (["python"], ["/dev/null", "/gone"], ""),
        (["python", "cuda-EvtHandlr"], [], "cuda-EvtHandlr"),
        (["python"], ["/dev/null", "/dev/nvidiactl"], "/dev/nvidiactl"),
    ],
)
def test_a_server_with_a_thread_or_a_gpu_should_not_fork(tmp_path, threads, files, why):
    found = module.why_not_fork(process_folder(tmp_path / "self", threads, files))
    assert (why in found) if why else not found


def test_cuda_that_an_import_has_started_is_seen(monkeypatch):
    started = SimpleNamespace(cuda=SimpleNamespace(is_initialized=lambda: True))
    monkeypatch.setitem(sys.modules, "torch", started)
    assert "CUDA" in module.why_not_fork()


@pytest.mark.parametrize(("code", "status"), [("exit(4)", 4), ("import os; os.kill(os.getpid(), 9)", -9)])
def test_a_server_that_should_not_fork_starts_its_cells_from_nothing(monkeypatch, tmp_path, code, status):
    monkeypatch.setattr(module, "PYTHON", (sys.executable, "-c", code))
    log = tmp_path / "log.txt"
    request = {"arguments": ["cell"], "environment": dict(os.environ), "directory": str(tmp_path), "log": str(log)}
    process = module._Unforked(request, "a thread runs")
    assert wait([process.sentinel], 20)
    wait_for(lambda: process.exitcode is not None)
    assert process.exitcode == status
    process.close()
    assert "not forked" in log.read_text()
