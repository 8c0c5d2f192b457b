"""How many cores this process may use."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from harness.errors import HarnessError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def cores() -> int:
    """Returns the cores this process may use: within a Slurm job or a container those it was given."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes(wanted: int, tasks: int) -> int:
    """Returns how many processes are worth starting: no more than tasks, nor than cores."""
    return max(1, min(wanted, tasks, cores()))


def map_in_processes(function: Callable[[_Item], _Result], items: Sequence[_Item], jobs: int) -> Iterator[_Result]:
    """Yields what a function returns for each item, in their order; within this process where one is enough.

    Args:
        function: What a process can import; it may not raise.
        items: What it is called with.
        jobs: Processes; no more than items and cores are started.

    Raises:
        HarnessError: A process was ended from outside.
    """
    count = processes(jobs, len(items))
    if count == 1:
        yield from map(function, items)
        return
    try:
        with ProcessPoolExecutor(count) as pool:
            yield from pool.map(function, items)
    except BrokenProcessPool as error:
        raise HarnessError(
            "A process that scored cases was ended from outside, probably for want of memory.", hint="Use fewer --jobs."
        ) from error
