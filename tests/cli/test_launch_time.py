"""The launch of a kernel, measured by an invented clock: there is no GPU where the tests run."""

from __future__ import annotations

import itertools

import pytest
import torch

from harness.diagnostics.launch_time import launch_seconds, launch_seconds_of


def test_the_time_of_one_launch_is_the_median_of_rounds_without_the_first():
    now, rounds = 0.0, itertools.count()
    launches: list[float] = []

    def launch():
        nonlocal now
        now += launches[-1]

    def finish():
        nonlocal now
        now += 1.0  # what the GPU computes meanwhile is no launch
        index = next(rounds)
        launches.append(9e-3 if index == 0 else 50e-6 if index == 3 else 7e-6)

    assert launch_seconds(launch, finish, lambda: now) == pytest.approx(7e-6)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured():
    assert launch_seconds_of(torch.device("cuda", 0)) is None


@pytest.mark.cuda
def test_a_gpu_is_measured():
    seconds = launch_seconds_of(torch.device("cuda", 0))
    assert seconds is not None
    assert 1e-7 < seconds < 1e-3
