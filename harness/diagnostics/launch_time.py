"""How long the host needs to launch a kernel on a GPU: steps that are not recorded wait for it."""

import time
from collections.abc import Callable
from statistics import median

import torch

#: Launches in a row, fewer than a GPU's queue holds, so that the host never waits for the GPU.
_LAUNCHES = 500
_ROUNDS = 7


def launch_seconds(
    launch: Callable[[], object], finish: Callable[[], object], clock: Callable[[], float] = time.perf_counter
) -> float:
    """Returns the median over rounds of the time of one launch, after one round that warms up.

    Args:
        launch: Launches one small kernel.
        finish: Waits for all of them.
        clock: Clock in seconds.
    """
    seconds = []
    for _ in range(_ROUNDS + 1):
        finish()
        start = clock()
        for _ in range(_LAUNCHES):
            launch()
        seconds.append((clock() - start) / _LAUNCHES)
    finish()
    return median(seconds[1:])


def launch_seconds_of(device: torch.device) -> float | None:
    """Measures a GPU's host with additions of one number; None where the GPU refuses them."""
    try:
        one = torch.ones((), device=device)
        return launch_seconds(lambda: one + one, lambda: torch.cuda.synchronize(device))
    except (RuntimeError, AssertionError):  # out of memory, in use by one process alone, or torch without CUDA
        return None
