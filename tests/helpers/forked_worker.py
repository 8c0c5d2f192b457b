"""A worker in a process forked from a server that has imported everything and run nothing, so that it starts at once.

Forking the test process itself would not do: once it has run a backward pass, torch refuses one in its children.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path


@cache
def server() -> ForkServerContext:
    """Starts the server; returns when it has imported what a worker needs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["harness.execution.cell.run", "harness.execution.workers.worker"])
    first = context.Process(target=os.getpid)
    first.start()
    first.join()
    return context


def work(arguments: Sequence[str]) -> None:
    """Runs a worker in silence and ends with its exit status."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    from harness.execution.workers import worker

    sys.exit(worker.main(list(arguments)))


def report_collectives(rank: int, rendezvous_file: Path, results: Connection) -> None:
    """Is one of two processes that train together, and wants to stop when it is asked for the second time."""
    import torch

    from harness.training.ranks import join

    with join(rank, 2, torch.device("cpu"), rendezvous_file) as ranks:
        results.send([ranks.any(False), ranks.any(True), ranks.broadcast(float(rank))])
