"""AAHN's fast path against a plain one: the same numbers in less time, measured in turns within one process.

``pytest -m benchmark tests/benchmark/test_aahn_speed.py`` prints the tables of ``docs/benchmarks.md``. Only ratios mean
anything. On one core the process's own time is taken, which other processes hardly touch; on all cores the wall clock,
which needs a quiet machine.
"""

from __future__ import annotations

import copy
import ctypes
import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from plain_pair import BATCH, compare, pair
from torch import Tensor, nn

from aahn import SEGMENTER
from harness.segmenters.contract import Task

ROUNDS = 3
CLIP = 12.0


@dataclass
class Variant:
    """One way to train: a network with its optimiser, and what differs."""

    name: str
    network: nn.Module
    optimiser: torch.optim.SGD
    fused: bool = True
    channels_last: bool = False
    keeps_memory: bool = False

    def step(self, x: Tensor, labels: Tensor) -> tuple[float, float, float]:
        """Returns the seconds of the forward pass, the backward pass, and clipping with the optimiser's step."""
        now = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
        keep_freed_memory(self.keeps_memory)
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        for group in self.optimiser.param_groups:
            group["fused"], group["foreach"] = self.fused, False
        times = [now()]
        logits = self.network(x)
        times.append(now())
        F.cross_entropy(logits, labels).backward()
        times.append(now())
        nn.utils.clip_grad_norm_(self.network.parameters(), CLIP, foreach=False)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        times.append(now())
        return times[1] - times[0], times[2] - times[1], times[3] - times[2]


def keep_freed_memory(keep: bool) -> None:
    """Makes glibc keep what is freed for the next step, or give it back to the system, as it does by default."""
    libc = ctypes.CDLL(None)
    trim, top_pad, mmap_threshold, mmap_max = -1, -2, -3, -4
    if keep:
        settings = {mmap_max: 0, trim: 2**31 - 1, top_pad: 64 << 20}
    else:
        settings = {mmap_max: 65536, mmap_threshold: 32 << 20, trim: 64 << 20, top_pad: 0}
    for name, value in settings.items():
        assert libc.mallopt(name, value)
    if not keep:
        libc.malloc_trim(0)


def sgd(network: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(network.parameters(), lr=1e-5, momentum=0.99, nesterov=True, weight_decay=3e-5)


def resident(field: str) -> float:
    """Returns a field of the process's status in GB: VmRSS now, VmHWM at most since the mark was last cleared."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 2**20


def peak_of(step: Callable[[], object]) -> float:
    """Returns by how many GB resident memory rises during a step."""
    gc.collect()
    keep_freed_memory(False)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    step()
    return resident("VmHWM") - before


@pytest.fixture(params=["one core", "all cores"])
def cores(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1 if request.param == "one core" else os.cpu_count() or 1)
    yield
    torch.set_num_threads(before)
    keep_freed_memory(False)


@pytest.mark.benchmark
def test_training_step(cores: None, capsys: pytest.CaptureFixture[str]) -> None:
    plain, ours = pair(128)
    evaluated, trained, gradients = compare(plain, ours, 128)
    assert evaluated < 1e-5
    assert trained < 1e-3
    plain.zero_grad()
    ours.zero_grad()
    last = copy.deepcopy(ours).to(memory_format=torch.channels_last)
    by_plain, by_ours, by_last = sgd(plain), sgd(ours), sgd(last)
    variants = [
        Variant("plain", plain, by_plain, fused=False),
        Variant("our network", ours, by_ours, fused=False),
        Variant("+ fused SGD", ours, by_ours),
        Variant("+ freed memory kept", ours, by_ours, keeps_memory=True),
        Variant("+ channels_last", last, by_last, channels_last=True, keeps_memory=True),
    ]
    x = torch.randn(BATCH, 4, 128, 128)
    labels = torch.randint(0, 4, (BATCH, 128, 128))
    seconds: dict[str, list[tuple[float, float, float]]] = {variant.name: [] for variant in variants}
    for turn in range(ROUNDS + 1):
        for variant in variants:
            measured = variant.step(x, labels)
            if turn:  # the first allocates momentum and warms up
                seconds[variant.name].append(measured)
    medians = {name: [statistics.median(part) for part in zip(*rows, strict=True)] for name, rows in seconds.items()}
    totals = {name: statistics.median(map(sum, rows)) for name, rows in seconds.items()}
    rises = {}
    for variant in variants[:1] + variants[2:3]:
        rises[variant.name] = peak_of(lambda variant=variant: variant.step(x, labels))

    with capsys.disabled():
        print(f"\nequal numbers: logits {evaluated:.1e} (eval), {trained:.1e} (training), gradients {gradients:.1e}")
        print(f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}, medians of {ROUNDS} rounds in turns")
        print(f"{'':22}{'forward':>9}{'backward':>10}{'update':>8}{'step':>7}   step/plain  forward/plain")
        for name, (forward, backward, update) in medians.items():
            ratios = totals[name] / totals["plain"], forward / medians["plain"][0]
            print(
                f"{name:22}{forward:9.2f}{backward:10.2f}{update:8.2f}{totals[name]:7.2f}"
                f"{ratios[0]:13.2f}{ratios[1]:15.2f}"
            )
        for name, rise in rises.items():
            print(f"{name}: a step's peak is {rise:.2f} GB above what lies there between steps")
    assert min(totals[name] for name in list(totals)[3:]) <= 0.85 * totals["plain"]


@pytest.mark.benchmark
def test_checkpointing(cores: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Less memory for more compute, in the preset `small`, at the paper's batch of 16."""
    task = Task(("t1", "t1ce", "t2", "flair"), 1, 4, (128, 128))
    x, labels = torch.randn(16, 4, 128, 128), torch.randint(0, 4, (16, 128, 128))
    rows = {}
    variants = []
    for checkpointing in (False, True):
        network = SEGMENTER.build(task, {"preset": "small", "checkpointing": checkpointing})
        variants.append(Variant(f"checkpointing: {checkpointing}", network, sgd(network)))
    seconds: dict[str, list[float]] = {variant.name: [] for variant in variants}
    for turn in range(ROUNDS + 1):
        for variant in variants:
            measured = sum(variant.step(x, labels))
            if turn:
                seconds[variant.name].append(measured)
    for variant in variants:
        rows[variant.name] = peak_of(lambda variant=variant: variant.step(x, labels))
    with capsys.disabled():
        for name, rise in rows.items():
            print(f"\n{name}: step {statistics.median(seconds[name]):.2f} s, peak {rise:.2f} GB above rest", end="")
        print()
    plain, checkpointed = rows.values()
    assert checkpointed < 0.7 * plain
