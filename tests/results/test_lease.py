"""Leases: one holder at a time, dead ones taken over, live ones never; also between processes and machines."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest

from harness.results import lease as module
from harness.results.lease import STALE_AFTER, Claim, Lease, LeaseHeldError, holder


def write_claim(folder, claim, age=0.0):
    folder.mkdir(exist_ok=True)
    path = folder / "other.json"
    path.write_text(json.dumps(asdict(claim)))
    os.utime(path, (time.time() - age, time.time() - age))
    return path


ELSEWHERE = Claim("node7", "node7:another-boot:pid:[1]", 4711, 1)


def test_one_holder_at_a_time_and_free_again_afterwards(tmp_path):
    folder = tmp_path / "leases"
    with Lease(folder) as mine:
        assert holder(folder).pid == os.getpid()
        assert not Lease(folder).try_acquire()
        with pytest.raises(LeaseHeldError, match=f"process {os.getpid()}"), Lease(folder):
            pass
        assert not mine.lost
    assert holder(folder) is None
    assert list(folder.iterdir()) == []
    assert Lease(folder).try_acquire()


def test_a_claim_of_another_machine_lives_as_long_as_its_heart_beats(tmp_path):
    folder = tmp_path / "leases"
    path = write_claim(folder, ELSEWHERE, age=STALE_AFTER - 20)
    assert holder(folder) == ELSEWHERE
    assert not Lease(folder).try_acquire()
    os.utime(path, (time.time() - STALE_AFTER - 20,) * 2)
    assert holder(folder) is None
    assert Lease(folder).try_acquire()
    assert not path.exists(), "the dead claim is gone"


@pytest.mark.linux("reads /proc: elsewhere heartbeats alone decide")
def test_a_process_that_died_here_leaves_at_once(tmp_path):
    folder = tmp_path / "leases"
    code = "import sys,time; from pathlib import Path; from harness.results.lease import Lease\n"
    code += "Lease(Path(sys.argv[1])).try_acquire(); print('held', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        assert holder(folder).pid == process.pid
        assert not Lease(folder).try_acquire()
        process.send_signal(signal.SIGKILL)
        while holder(folder) is not None:  # not even waited for: a zombie holds nothing
            time.sleep(0.01)
        assert Lease(folder).try_acquire()
    finally:
        process.kill()
        process.wait()


@pytest.mark.linux("reads /proc: elsewhere heartbeats alone decide")
def test_another_users_process_that_is_hidden_lives_as_long_as_its_heart_beats(tmp_path, monkeypatch):
    def forbidden(pid, number):
        raise PermissionError

    gone = subprocess.Popen(["true"])
    gone.wait()
    folder = tmp_path / "leases"
    write_claim(folder, replace(Claim.own(), pid=gone.pid))
    assert holder(folder) is None, "nobody is there"
    monkeypatch.setattr(module.os, "kill", forbidden)
    assert holder(folder) is not None
    write_claim(folder, replace(Claim.own(), pid=gone.pid), age=STALE_AFTER + 20)
    assert holder(folder) is None


@pytest.mark.linux("reads /proc: elsewhere heartbeats alone decide")
def test_a_process_number_that_was_used_again_is_not_the_holder(tmp_path):
    folder = tmp_path / "leases"
    write_claim(folder, replace(Claim.own(), born=1))
    assert holder(folder) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": "x"}'])
def test_a_claim_that_cannot_be_read_counts_until_it_is_old(tmp_path, content):
    folder = tmp_path / "leases"
    path = write_claim(folder, ELSEWHERE)
    path.write_text(content)
    assert holder(folder) is not None
    os.utime(path, (1, 1))
    assert holder(folder) is None


def test_a_lease_that_was_given_back_and_taken_again_has_a_heart_that_beats(tmp_path):
    lease = Lease(tmp_path, beat=0.01)
    for _ in range(2):
        assert lease.try_acquire()
        (claim,) = tmp_path.glob("*.json")
        os.utime(claim, (0, 0))
        deadline = time.monotonic() + 5
        while claim.stat().st_mtime == 0:
            assert time.monotonic() < deadline, "it does not beat"
            time.sleep(0.01)
        assert not lease.lost
        lease.release()


def test_whoever_lost_the_lease_learns_of_it(tmp_path):
    folder = tmp_path / "leases"
    mine = Lease(folder, beat=0.02)
    assert mine.try_acquire()
    before = next(folder.iterdir()).stat().st_mtime_ns
    deadline = time.monotonic() + 5
    while next(folder.iterdir()).stat().st_mtime_ns == before:
        assert time.monotonic() < deadline, "the heart beats"
        time.sleep(0.01)
    next(folder.iterdir()).unlink()
    while not mine.lost:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _contend(folder, log, rounds):
    for _ in range(rounds):
        mine = Lease(folder)
        if mine.try_acquire():
            with log.open("a") as file:
                file.write(f"+{os.getpid()}\n")
            time.sleep(0.001)
            with log.open("a") as file:
                file.write(f"-{os.getpid()}\n")
            mine.release()


@pytest.mark.linux("forks this process")
def test_contenders_never_hold_it_together(tmp_path):
    folder, log = tmp_path / "leases", tmp_path / "log"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_contend, args=(folder, log, 120)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    lines = log.read_text().split()
    assert len(lines) > 8
    for taken, given in zip(lines[::2], lines[1::2], strict=True):
        assert (taken[0], given[0]) == ("+", "-")
        assert taken[1:] == given[1:]
