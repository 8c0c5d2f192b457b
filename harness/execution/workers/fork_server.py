"""A process that has imported what every cell needs, and forks the process of each cell from itself.

Importing torch and MONAI takes longer than everything else before a cell's first step. The fork server does it once;
what it forks has run nothing before, shares nothing but pages that are copied when written to, and is a process of its
own like any other. The server runs no network, starts no thread and never touches CUDA, so that forking is safe for
cells on GPUs, too: each starts CUDA itself, on the GPUs that its environment shows. The server looks whether all this
is so once it has imported everything; where a library has started a thread, it starts every cell from nothing instead.

``python -m harness.execution.workers.fork_server DESCRIPTOR`` is the process; :class:`ForkServer` starts it and
talks to it through a socket, in JSON. When the client is gone the server ends, and its cells, which watch it,
write their checkpoints and end too.
"""

from __future__ import annotations

import atexit
import importlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkContext, ForkProcess
from pathlib import Path
from typing import Any, Protocol

from harness.execution.workers.interpreter import PYTHON

#: What cells need before their first step; torch imports its compiler at the first step of any optimiser.
PRELOADED = (
    "harness.execution.cell.missing_modalities",
    "harness.execution.workers.distributed",
    "harness.execution.cell.run",
    "harness.execution.workers.worker",
    "torch._dynamo",
)

#: Seconds between looks at the cells; their ends wake the server by themselves, unless processes of theirs linger.
_POLL = 0.2

#: What a cell's end counts as when the server is gone and nobody can tell: it was stopped, with a checkpoint.
_UNKNOWN = 130

#: Exit status of a cell whose process could not be started, as shells have it.
_NOT_STARTED = 126

#: pyarrow would start a thread when it is loaded; a process that forks must have one only.
ONE_THREAD = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}

#: Beginnings of variables that libraries read when they are loaded, and never again.
_READ_AT_IMPORT = ("OMP_", "KMP_", "MKL_", "OPENBLAS_", "MALLOC_", "TORCH_", "PYTORCH_", "LD_")

_shared: dict[object, ForkServer] = {}


def shared_fork_server(
    environment: Mapping[str, str], servers: MutableMapping[object, ForkServer] = _shared
) -> ForkServer:
    """Returns this process's server for workers with such threads and such an allocator; it ends with this process.

    Args:
        environment: Environment of a worker.
        servers: Servers started so far.
    """
    settled = frozenset((name, value) for name, value in environment.items() if name.startswith(_READ_AT_IMPORT))
    key = (os.getpid(), settled)
    if key not in servers or not servers[key].works:
        servers[key] = ForkServer(environment)
        atexit.register(servers[key].close)
    return servers[key]


class ServerProcess(Protocol):
    """What is asked of the process of a server."""

    @property
    def pid(self) -> int:
        """Number of the process."""

    def terminate(self) -> None:
        """Sends SIGTERM."""

    def wait(self) -> int:
        """Returns the exit status, when it has ended."""


class ForkServer:
    """Starts the server and asks it for workers.

    Args:
        environment: Environment of the server: it settles what libraries read when they are loaded (threads, say).
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._connection, theirs = multiprocessing.Pipe()
        self._process = self.start(theirs, {**environment, **ONE_THREAD})
        theirs.close()
        self._count = 0
        self._ended: dict[int, int] = {}
        self._is_gone = False

    def start(self, connection: Connection, environment: Mapping[str, str]) -> ServerProcess:
        """Starts the process that serves the other end of the socket, in a session of its own."""
        return subprocess.Popen(  # noqa: S603 - our own module, no shell
            [*PYTHON, "-m", __name__, str(connection.fileno())],
            pass_fds=[connection.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches this process only
        )

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def works(self) -> bool:
        """Whether cells can be started; a server that was killed is not restarted."""
        self.listen()
        return not self._is_gone

    @property
    def messages(self) -> Connection | None:
        """Can be read when a cell has ended, and when the server is; None once that is known."""
        return None if self._is_gone else self._connection

    def fork(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> ForkedProcess:
        """Starts the worker of a cell.

        Args:
            arguments: Arguments of :func:`harness.execution.workers.worker.main`.
            environment: Environment of the worker.
            log: File its output is appended to.
        """
        self._count += 1
        place = {"directory": os.getcwd(), "log": str(log.resolve())}  # noqa: PTH109 - a word of JSON
        self.send({"start": self._count, "arguments": [*arguments], "environment": dict(environment), **place})
        return ForkedProcess(self, self._count)

    def send(self, request: Mapping[str, Any]) -> None:
        """Sends the server a request; one that is gone does not get it."""
        try:
            self._connection.send_bytes(json.dumps(request).encode())
        except OSError:
            self._is_gone = True

    def listen(self) -> None:
        """Takes note of cells that have ended."""
        try:
            while self._connection.poll():
                message = json.loads(self._connection.recv_bytes())
                self._ended[message["ended"]] = message["status"]
        except (EOFError, OSError):
            self._is_gone = True

    def status(self, number: int) -> int | None:
        """Returns the exit status of a cell's process, minus the signal that ended it; None while it runs."""
        self.listen()
        return self._ended.get(number, _UNKNOWN if self._is_gone else None)

    def close(self) -> None:
        """Ends the server; cells that still run notice, write their checkpoints and end."""
        self._is_gone = True
        self._connection.close()
        self._process.terminate()
        self._process.wait()


class ForkedProcess:
    """A worker that a fork server forked; what :class:`subprocess.Popen` is for one started from nothing."""

    def __init__(self, server: ForkServer, number: int) -> None:
        self._server = server
        self._number = number

    @property
    def end(self) -> Connection | None:
        """Can be read once this worker, or another one of the server, has ended."""
        return self._server.messages

    def poll(self) -> int | None:
        """Returns the exit status; None while it runs."""
        return self._server.status(self._number)

    def has_ended(self) -> bool:
        """Returns whether the worker has ended."""
        return self.poll() is not None

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self._server.send({"signal": self._number, "number": int(signal.SIGTERM)})

    def kill(self) -> None:
        """Sends SIGKILL."""
        self._server.send({"signal": self._number, "number": int(signal.SIGKILL)})


def why_not_fork(own: Path = Path("/proc/self")) -> str:
    """Returns why this process should fork no other, in words; empty where it may.

    Args:
        own: Folder in which the kernel shows this process.
    """
    torch: Any = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "cuda") and torch.cuda.is_initialized():
        return "an import has started CUDA"
    if not own.is_dir():  # only Linux tells
        return ""
    threads = sorted(_texts(own / "task", lambda task: (task / "comm").read_text().strip()))
    if len(threads) > 1:
        return f"an import has started a thread ({', '.join(threads)})"
    files = _texts(own / "fd", lambda link: str(link.readlink()))
    opened = [file for file in files if file.startswith("/dev/nvidia")]
    return f"an import has opened {opened[0]}" if opened else ""


def _texts(folder: Path, read: Callable[[Path], str]) -> list[str]:
    """Returns what is read of each entry; some are gone when it is their turn."""
    found = []
    for entry in folder.iterdir():
        with suppress(OSError):
            found.append(read(entry))
    return found


def main(descriptor: int, preloaded: Sequence[str] = PRELOADED, why_not: Callable[[], str] = why_not_fork) -> None:
    """Starts a worker for each request until the client is gone; imports some modules first.

    Args:
        descriptor: Of the socket.
        preloaded: Modules to import.
        why_not: Says, after the imports, why this process should not fork.
    """
    connection = Connection(descriptor)
    for name in preloaded:
        with suppress(Exception):  # a worker that cannot import says so itself, in the failure of its cell
            importlib.import_module(name)
    unfit = why_not()
    context = multiprocessing.get_context("fork")
    running: dict[int, ForkProcess | _Unforked] = {}
    while True:
        ends = [process.sentinel for process in running.values()]
        ready = wait([connection, *ends], timeout=_POLL if running else None)
        if connection in ready:
            try:
                request = json.loads(connection.recv_bytes())
            except (EOFError, OSError):
                os._exit(0)  # without waiting for the cells: they notice, and end in order
            if "start" in request:
                try:
                    running[request["start"]] = _start(context, connection, request, unfit)
                except OSError:  # no more processes: this cell fails, the others go on
                    _report_end(connection, request["start"], _NOT_STARTED)
            elif (target := running.get(request["signal"])) is not None and target.pid is not None:
                _signal(target.pid, request["number"])
        for number, process in list(running.items()):
            if (status := process.exitcode) is not None:
                running.pop(number).close()
                _report_end(connection, number, status)


def _start(
    context: ForkContext, connection: Connection, request: Mapping[str, Any], unfit: str
) -> ForkProcess | _Unforked:
    """Starts a cell's process.

    Raises:
        OSError: There can be no more processes.
    """
    if unfit:
        return _Unforked(request, unfit)
    process = context.Process(target=_work, args=(connection, request, os.getpid()))
    process.start()
    return process


class _Unforked:
    """The process of a cell started from nothing, for a server that should not fork.

    Args:
        request: As :meth:`ForkServer.fork` sends it.
        why: Why it is not forked, for the cell's log.
    """

    def __init__(self, request: Mapping[str, Any], why: str) -> None:
        started_by = ["--parent", str(os.getpid())]
        command = [*PYTHON, "-m", "harness.execution.workers.worker", *request["arguments"], *started_by]
        with Path(request["log"]).open("ab") as log:
            log.write(f"This process is not forked, so that it starts slowly: {why}.\n".encode())
            log.flush()
            self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=request["environment"],
                cwd=request["directory"],
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.sentinel = os.pidfd_open(self.pid)

    @property
    def exitcode(self) -> int | None:
        """Exit status, minus the signal that ended it; None while it runs."""
        return self._process.poll()

    def close(self) -> None:
        """Closes what the server waits on."""
        os.close(self.sentinel)


def _signal(pid: int, number: int) -> None:
    """Sends a signal to a cell; SIGKILL also to what it has started, which cannot be asked to end."""
    with suppress(ProcessLookupError):
        if number == signal.SIGKILL:
            with suppress(ProcessLookupError):  # it has not come to its session yet
                os.killpg(pid, number)
        os.kill(pid, number)


def _report_end(connection: Connection, number: int, status: int) -> None:
    with suppress(OSError):  # the client is gone; the next round ends this
        connection.send_bytes(json.dumps({"ended": number, "status": status}).encode())


def _work(connection: Connection, request: Mapping[str, Any], parent: int) -> None:
    """Is what ``python -m harness.execution.workers.worker`` would be, in a process that has everything imported."""
    os.setsid()
    connection.close()
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    added = request["environment"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [*filter(None, added), *sys.path]
    sys.argv[:] = ["harness.execution.workers.worker", *request["arguments"]]
    importlib.invalidate_caches()
    from harness.execution.workers import worker

    sys.exit(worker.main(request["arguments"], parent))


if __name__ == "__main__":
    main(int(sys.argv[1]))
