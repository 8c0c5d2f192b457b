"""The Ray engine: a Ray cluster decides where each cell runs; the cell itself is the same process as everywhere."""

import socket
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from harness.errors import HarnessError
from harness.execution.engines.engine import Job
from harness.execution.engines.kind import EngineContext
from harness.execution.engines.ray_settings import RaySettings
from harness.execution.workers.attempt import Attempt, Ending
from harness.execution.workers.process import Slot, WorkerProcess

#: Attempts handed to Ray beyond those that run: it places the next one without waiting for us.
_AHEAD = 2


class RayEngine:
    """Runs cells on a Ray cluster. Results folder, cache and data must be seen by all its nodes under the same paths.

    Args:
        address: ``auto``, ``HOST:PORT``; None for a cluster of this machine alone, which ends with the run.
        threads: CPU threads a cell.
        gpus: GPUs a cell; a cluster without any runs cells on CPUs.
        workers: Cells at a time; None for as many as the cluster has resources for.

    Raises:
        HarnessError: Ray is not installed, or there is no cluster.
    """

    def __init__(self, address: str | None, threads: int, gpus: int, workers: int | None = None) -> None:
        self._ray = _import_ray()
        try:
            _check_reachable(address)
            # Whoever wants a dashboard starts the cluster with one, and says where it listens.
            alone = {"include_dashboard": False, "dashboard_host": "127.0.0.1"} if address is None else {}
            self._ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **alone)
        except (OSError, RuntimeError, ValueError) as error:
            raise HarnessError(
                f"No Ray cluster answers at {address or 'this machine'}: {str(error).partition(chr(10))[0]}",
                hint="Start one: `ray start --head` here, `ray start --address=HOST:6379` on the other machines.",
            ) from error
        resources: dict[str, float] = self._ray.cluster_resources()
        self._gpus = gpus if resources.get("GPU") else 0
        self._slot = Slot("cuda:0", None, threads, gpus) if self._gpus else Slot("cpu", None, threads)
        self._limit = workers
        self._running: set[str] = set()
        self._task = self._ray.remote(max_retries=0, num_cpus=threads * self._slot.ranks, num_gpus=self._gpus)(_run)

    @property
    def parallel(self) -> int:
        """Cells the cluster has room for now; nodes may come and go."""
        resources: dict[str, float] = self._ray.cluster_resources()
        slots = resources.get("CPU", 0) // (self._slot.threads * self._slot.ranks)
        if self._gpus:
            slots = min(slots, resources.get("GPU", 0) // self._gpus)
        return max(1, min(int(slots), self._limit or int(slots)))

    def describe(self) -> str:
        """Returns where cells run, in words."""
        nodes = sum(1 for node in self._ray.nodes() if node["Alive"])
        what = f"{self._gpus} GPU{'s' * (self._gpus > 1)}" if self._gpus else f"{self._slot.threads} CPU"
        return f"Ray, {nodes} node{'s' * (nodes > 1)}, {self.parallel} cells at a time, {what} each"

    def free_slots(self) -> int:
        """Returns how many attempts may be handed over now."""
        most = self._limit if self._limit is not None else self.parallel + _AHEAD
        return max(0, most - len(self._running))

    def submit(self, attempts: Sequence[Attempt]) -> list[Job]:
        """Hands all attempts to Ray."""
        jobs: list[Job] = []
        for attempt in attempts:
            self._running.add(attempt.cell.id)
            jobs.append(_RayJob(attempt, self._task.remote(attempt, self._slot), self._ray, self._running))
        return jobs

    def close(self) -> None:
        """Leaves the cluster; a cluster of this machine alone ends."""
        self._ray.shutdown()


class _RayJob:
    """A task of Ray."""

    def __init__(self, attempt: Attempt, reference: Any, ray: Any, running: set[str]) -> None:
        self.attempt = attempt
        self._reference = reference
        self._ray = ray
        self._running = running

    def poll(self) -> Ending | None:
        ready, _ = self._ray.wait([self._reference], timeout=0)
        if not ready:
            return None
        self._running.discard(self.attempt.cell.id)
        try:
            return Ending(**self._ray.get(self._reference))
        except self._ray.exceptions.TaskCancelledError:
            return Ending("stopped")
        except self._ray.exceptions.RayError as error:  # its node died, or Ray ended it for want of memory
            return Ending("lost", f"Ray says: {str(error).partition(chr(10))[0]}")

    def stop(self) -> None:
        self._ray.cancel(self._reference)

    def kill(self) -> None:
        self._ray.cancel(self._reference, force=True)


def _run(attempt: Attempt, slot: Slot) -> dict[str, str]:
    """Runs on a node: starts the cell's process and waits for it."""
    process = WorkerProcess(attempt, slot)
    try:
        return asdict(process.wait())
    except KeyboardInterrupt:  # how Ray cancels a task
        process.stop()
        return asdict(process.wait())


def _check_reachable(address: str | None) -> None:
    """Raises OSError at once where nobody listens; Ray itself waits for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise HarnessError("Ray is not installed.", hint="pip install 'aahn-harness[ray]'") from error
    return ray


def open_engine(settings: RaySettings, context: EngineContext) -> RayEngine:
    """Returns the engine; see :class:`RayEngine` for what it raises."""
    del context
    gpus = 0 if settings.cpu else settings.gpus_per_cell
    return RayEngine(settings.address, settings.threads or 1, gpus, settings.workers)
