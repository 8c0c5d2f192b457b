"""How many cores this process may use."""

import os


def cores() -> int:
    """Returns the cores this process may use: within a Slurm job or a container those it was given."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes(wanted: int, tasks: int) -> int:
    """Returns how many processes are worth starting: no more than tasks, nor than cores."""
    return max(1, min(wanted, tasks, cores()))
