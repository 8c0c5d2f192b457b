"""Where cells run: one GPU or one core each, and never more threads than cores unless asked for."""

from __future__ import annotations

import os

import pytest
import torch

from harness.execution.cell import training
from harness.execution.engines import local
from harness.execution.engines.local import plan_slots
from harness.execution.workers.process import Slot
from harness.training.device import spare_cores


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    monkeypatch.setattr(local, "cores", lambda: 8)


def test_without_gpus_every_core_takes_a_cell_with_one_thread():
    assert plan_slots([], None, None) == [Slot("cpu", None, 1)] * 8


def test_every_gpu_takes_a_cell_and_an_equal_share_of_the_cores():
    assert plan_slots(["0", "1"], None, None) == [Slot("cuda:0", "0", 4), Slot("cuda:0", "1", 4)]


def test_more_workers_than_gpus_share_them_in_turn():
    slots = plan_slots(["0", "GPU-7"], 4, None)
    assert [slot.gpu for slot in slots] == ["0", "GPU-7", "0", "GPU-7"]
    assert {slot.threads for slot in slots} == {2}


@pytest.mark.parametrize("gpus", [[], ["0"], ["0", "1", "2"]])
@pytest.mark.parametrize("workers", [None, 1, 3, 8])
def test_threads_times_workers_never_exceed_the_cores_by_default(gpus, workers):
    slots = plan_slots(gpus, workers, None)
    assert sum(slot.threads for slot in slots) <= 8


@pytest.mark.parametrize(
    ("visible", "counted", "found"),
    [
        (None, 2, ["0", "1"]),
        ("3, 1", 2, ["3", "1"]),
        ("0,-1,1", 1, ["0"]),
        ("GPU-a,GPU-b", 2, ["GPU-a", "GPU-b"]),
        ("MIG-a,MIG-b,MIG-c", 1, ["MIG-a", "MIG-b", "MIG-c"]),
        ("", 0, []),
    ],
)
def test_gpus_are_named_as_whoever_chose_them_named_them(monkeypatch, visible, counted, found):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: counted > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: counted)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert local.detect_gpus() == found


def test_threads_do_not_depend_on_the_number_of_workers_on_a_cpu():
    """The number of threads touches the last bits of the numbers, so it must not follow the number of cells."""
    assert {plan_slots([], workers, None)[0].threads for workers in (1, 2, 8)} == {1}


@pytest.mark.parametrize(
    ("gpus", "workers", "loaders"), [(["0"], None, 7), (["0", "1"], None, 3), (["0", "1"], 4, 1), (["0"], 8, 7)]
)
def test_cells_side_by_side_share_the_cores_for_the_processes_that_make_batches(monkeypatch, gpus, workers, loaders):
    """Each sees one GPU, whatever there is beside it; only a cell with one thread cannot tell."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    threads = plan_slots(gpus, workers, None)[0].threads
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert training._loader_workers(None, torch.device("cuda:0")) == loaders
    assert training._loader_workers(5, torch.device("cuda:0")) == 5
    assert spare_cores(torch.device("cuda:0")) == loaders
    for none in (training._loader_workers(None, torch.device("cpu")), spare_cores(torch.device("cpu"))):
        assert none == 0


def test_what_the_user_asks_for_is_done():
    assert plan_slots([], 2, 3) == [Slot("cpu", None, 3)] * 2
