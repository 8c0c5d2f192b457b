"""Processes forked from a server that has imported everything and run nothing, so that they start at once.

Importing torch and MONAI takes ten seconds of a core. Forking the test process itself would not do: once it has run a
backward pass, torch refuses one in its children.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache, partial
from multiprocessing.connection import Connection
from multiprocessing.context import ForkContext, ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest import mock

from harness.execution.workers import fork_server
from harness.execution.workers.fork_server import ONE_THREAD, ForkServer
from harness.execution.workers.process import Slot, worker_environment


@cache
def server() -> ForkServerContext:
    """Starts the server; returns when it has imported what a worker needs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*fork_server.PRELOADED, "harness.cli.run"])
    first = context.Process(target=os.getpid)
    with mock.patch.dict(os.environ, {**worker_environment(Slot("cpu", None, 1)), **ONE_THREAD}):
        first.start()
    first.join()
    return context


def server_pid() -> int:
    """Returns the number of the server's process, of which its forks are children."""
    ours, theirs = multiprocessing.Pipe()
    child = server().Process(target=_tell_parent, args=(theirs,))
    child.start()
    pid: int = ours.recv()
    child.join()
    return pid


def _tell_parent(connection: Connection) -> None:
    connection.send(os.getppid())


class Forked:
    """What :class:`subprocess.Popen` is for a process started from nothing."""

    def __init__(self, process: BaseProcess) -> None:
        self._process = process
        process.start()
        assert process.pid is not None
        self.pid = process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked process", timeout or 0)
        return self._process.exitcode

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()


class ForkedForkServer(ForkServer):
    """The fork server of the harness, itself forked from one that has imported what it would import."""

    def start(self, connection: Connection, environment: Mapping[str, str]) -> Forked:
        return Forked(self.context().Process(target=_serve, args=(connection, dict(environment))))

    @staticmethod
    def context() -> ForkContext | ForkServerContext:
        return server()


class _OfForked(ForkedForkServer):
    """The same in a process that was forked already, and has run nothing since."""

    @staticmethod
    def context() -> ForkContext | ForkServerContext:
        return multiprocessing.get_context("fork")


def _serve(connection: Connection, environment: Mapping[str, str]) -> None:
    os.setsid()
    _fork_from_here()
    _write_to(Path(os.devnull))
    os.closerange(3, connection.fileno())  # the other end of the socket, if this was forked from its process
    os.closerange(connection.fileno() + 1, 256)
    os.environ.clear()
    os.environ.update(environment)
    from harness.execution.workers import distributed

    distributed.start_rank = lambda arguments: Forked(
        multiprocessing.get_context("fork").Process(target=_rank, args=(arguments,))
    )
    fork_server.main(connection.fileno())


def _fork_from_here() -> None:
    """Lets this process fork its own, as one that was started from nothing does.

    By default it would start a server of its own for them, which imports torch once more.
    """
    multiprocessing.set_start_method("fork", force=True)


def _write_to(path: Path) -> None:
    """Sends what this process prints to a file."""
    sink = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    os.close(sink)


def work(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Runs a worker in silence and ends with its exit status."""
    _fork_from_here()
    _write_to(Path(os.devnull))
    os.environ.update(environment or {})
    from harness.execution.workers import worker

    sys.exit(worker.main(list(arguments)))


def start_harness(arguments: Sequence[str], output: Path) -> Forked:
    """Types ``harness ARGUMENTS`` in this folder, in a process of its own."""
    target = partial(_harness, list(arguments), output, Path.cwd(), dict(os.environ))
    return Forked(server().Process(target=target))


def _harness(arguments: list[str], output: Path, folder: Path, environment: Mapping[str, str]) -> None:
    _write_to(output)
    _fork_from_here()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = [*filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)), *sys.path]
    fork_server.ForkServer = _OfForked  # type: ignore[misc]
    from harness.cli import main

    status = main(arguments)
    sys.stdout.flush()
    os._exit(status)  # multiprocessing would wait for the fork server, which waits for this process


def start_rank(arguments: list[str]) -> Forked:
    """Starts the process of a rank; see :func:`harness.execution.workers.distributed.start_rank`."""
    return Forked(server().Process(target=_rank, args=(arguments, dict(os.environ))))


def _rank(arguments: list[str], environment: Mapping[str, str] | None = None) -> None:
    """Runs a rank; it is the child of the server, and watches that."""
    _fork_from_here()
    if environment is not None:
        sys.path[:] = [*filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)), *sys.path]
    arguments[arguments.index("--parent") + 1] = str(os.getppid())
    from harness.execution.workers import distributed

    sys.exit(distributed.main(arguments))


def report_collectives(rank: int, rendezvous_file: Path, results: Connection) -> None:
    """Is one of two processes that train together, and wants to stop when it is asked for the second time."""
    import torch

    from harness.training.ranks import join

    with join(rank, 2, torch.device("cpu"), rendezvous_file) as ranks:
        results.send([ranks.any(False), ranks.any(True), ranks.broadcast(float(rank))])
