"""The Slurm engine: cells are tasks of job arrays, through submitit. A cell that reaches its time limit is requeued."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.execution.engines.container import folders_to_bind
from harness.execution.engines.kind import EngineContext
from harness.execution.engines.slurm_settings import SlurmResources, SlurmSettings
from harness.execution.workers.attempt import Attempt, Ending
from harness.execution.workers.contained import start_contained
from harness.execution.workers.process import Slot, WorkerProcess

#: Slurm's own limit on the size of an array, unless its administrators raised it.
_LARGEST_ARRAY = 1000

#: Seconds between looks at a task: a thousand of them share one file system.
_LOOK_EVERY = 5.0

#: Seconds of the time before the limit that are left for the requeue itself.
_REQUEUE = 20.0


class SlurmEngine:
    """Runs cells as tasks of Slurm job arrays. Results folder, cache and data must lie on a shared file system.

    Args:
        settings: Resources of a task.
        folder: Folder of submitit's scripts and the tasks' own logs.
        name: Name of the jobs.
        threads: CPU threads a cell; None for the cores of the task on a GPU, one on a CPU.
        folders: What the cells read and write, for a container.

    Raises:
        HarnessError: submitit or the container's image is missing, or there is no Slurm here.
    """

    def __init__(
        self, settings: SlurmResources, folder: Path, name: str, threads: int | None, folders: Sequence[Path] = ()
    ) -> None:
        if settings.container is not None:
            settings.container.check()
        self._settings = settings
        self._executor = _executor(settings, folder, name, folders)
        on_gpu = settings.gpus > 0
        share = max(1, settings.cpus // max(1, settings.gpus)) if on_gpu else 1
        self._slot = Slot("cuda:0" if on_gpu else "cpu", None, threads or share, max(1, settings.gpus))

    @property
    def parallel(self) -> int:
        """Tasks of an array that run at a time."""
        return self._settings.parallel

    def describe(self) -> str:
        """Returns where cells run, in words."""
        asked = self._settings
        what = f"{asked.gpus} GPU{'s' * (asked.gpus > 1)} and " if asked.gpus else ""
        where = f", partition {asked.partition}" if asked.partition else ""
        return f"Slurm{where}, up to {asked.parallel} cells at a time, {what}{asked.cpus} cores each"

    def free_slots(self) -> int:
        """Returns how many attempts one array takes."""
        return _LARGEST_ARRAY

    def submit(self, attempts: Sequence[Attempt]) -> list[SlurmJob]:
        """Submits all attempts as one array.

        Raises:
            HarnessError: sbatch refused.
        """
        try:
            task = _Task(self._slot, self._settings.container is not None)
            jobs = self._executor.map_array(task, list(attempts))
        except Exception as error:
            raise HarnessError(f"Slurm refused the jobs: {error}", hint="Look at --dry-run.") from error
        every = _LOOK_EVERY if self._settings.cluster == "slurm" else 0.0
        return [SlurmJob(attempt, job, every) for attempt, job in zip(attempts, jobs, strict=True)]

    def close(self) -> None:
        """Holds nothing."""


class _Task:
    """What a task does; submitit writes it to a file, and again when the task is requeued.

    Args:
        slot: Device and threads of the cell within the task.
        in_container: Whether the cell runs in the container that the batch script names.
    """

    _in_container = False  # what tasks mean that an earlier version has submitted

    def __init__(self, slot: Slot, in_container: bool = False) -> None:
        self._slot = slot
        self._in_container = in_container
        self._process: WorkerProcess | None = None

    def __call__(self, attempt: Attempt) -> Ending:
        """Starts the cell's process and waits for it."""
        if self._in_container:
            command = shlex.split(os.environ[_CONTAINER])
            self._process = WorkerProcess(attempt, self._slot, start=lambda *what: start_contained(command, *what[:2]))
        else:
            self._process = WorkerProcess(attempt, self._slot)
        try:
            return self._process.wait()
        except KeyboardInterrupt:  # how a task is cancelled
            self._process.stop()
            return self._process.wait()

    def checkpoint(self, attempt: Attempt) -> Any:
        """Called by submitit before the time limit and on preemption: the cell writes its checkpoint, then goes on."""
        from submitit.helpers import DelayedSubmission

        if self._process is not None:
            self._process.stop()
            deadline = time.monotonic() + max(10.0, float(os.environ.get(_SIGNAL, "300")) - _REQUEUE)
            while not self._process.has_ended() and time.monotonic() < deadline:
                time.sleep(0.2)
        return DelayedSubmission(_Task(self._slot, self._in_container), attempt)


class SlurmJob:
    """A task of an array.

    Args:
        attempt: Attempt of the task.
        job: submitit's.
        every: Seconds between looks at what it wrote.
    """

    def __init__(self, attempt: Attempt, job: Any, every: float = 0.0) -> None:
        self.attempt = attempt
        self._job = job
        self._every = every
        self._looked = time.monotonic()

    @property
    def number(self) -> str:
        """Slurm's number of the array the task belongs to."""
        return str(self._job.job_id).partition("_")[0]

    def poll(self) -> Ending | None:
        """Returns how it ended; None while it has not."""
        if time.monotonic() - self._looked < self._every:
            return None
        self._looked = time.monotonic()
        if not self._job.done():
            return None
        error = self._job.exception()
        if error is None:
            ending: Ending = self._job.result()
            return ending
        return Ending(
            "lost", f"Slurm says {self._job.state} of job {self._job.job_id}; its log: {self._job.paths.stdout}"
        )

    def stop(self) -> None:
        """Cancels it."""
        self._job.cancel(check=False)

    def kill(self) -> None:
        """Cancels it."""
        self._job.cancel(check=False)


#: Tells the task how long it has for its checkpoint.
_SIGNAL = "HARNESS_SLURM_SIGNAL_SECONDS"

#: Tells the task what starts the Python of its container.
_CONTAINER = "HARNESS_SLURM_CONTAINER"


def _executor(settings: SlurmResources, folder: Path, name: str, folders: Sequence[Path]) -> Any:
    submitit = _import_submitit()
    if settings.cluster == "debug":
        return submitit.DebugExecutor(folder)
    if settings.cluster == "local":
        executor = submitit.LocalExecutor(folder, max_num_timeout=settings.requeues)
        setup = _container_setup(settings, folders)
        executor.update_parameters(timeout_min=settings.time, gpus_per_node=settings.gpus, setup=setup)
        return executor
    try:
        executor = submitit.SlurmExecutor(folder, max_num_timeout=settings.requeues)
    except RuntimeError as error:
        raise HarnessError(
            "There is no Slurm here: srun was not found.",
            hint="Run this on a login node of the cluster, or print the batch script with --dry-run.",
        ) from error
    executor.update_parameters(**_parameters(settings, name, folders))
    return executor


def batch_script(settings: SlurmResources, folder: Path, name: str, cells: int, folders: Sequence[Path] = ()) -> str:
    """Returns the script that sbatch would be given for a number of cells.

    Args:
        settings: Resources of a task.
        folder: Folder of submitit's scripts and the tasks' own logs.
        name: Name of the jobs.
        cells: Number of cells.
        folders: What the cells read and write, for a container.

    Raises:
        HarnessError: submitit is not installed.
    """
    _import_submitit()
    from submitit.slurm.slurm import _make_sbatch_string

    command = f"{shlex.quote(sys.executable)} -u -m submitit.core._submit {shlex.quote(str(folder))}"
    size = min(cells, _LARGEST_ARRAY)
    array = {"map_count": size} if size > 1 else {}
    return str(_make_sbatch_string(command=command, folder=folder, **_parameters(settings, name, folders), **array))


def _container_setup(settings: SlurmResources, folders: Sequence[Path]) -> list[str]:
    """Returns the line of the batch script that names the container; none without one."""
    if settings.container is None:
        return []
    command = settings.container.command(folders, settings.gpus > 0)
    return [f"export {_CONTAINER}={shlex.quote(shlex.join(command))}"]


def _parameters(settings: SlurmResources, name: str, folders: Sequence[Path]) -> dict[str, Any]:
    """Returns the settings in submitit's words."""
    named = {key: getattr(settings, key) for key in ("partition", "account", "qos", "constraint")}
    memory = settings.memory_gb
    return {
        **{key: value for key, value in named.items() if value is not None},
        "job_name": name,
        "time": settings.time,
        "nodes": 1,
        "ntasks_per_node": 1,
        "cpus_per_task": settings.cpus,
        **({"gpus_per_task": settings.gpus} if settings.gpus else {}),
        "mem": f"{int(memory)}GB" if memory == int(memory) else f"{int(memory * 1024)}MB",
        "signal_delay_s": settings.signal_seconds,
        "array_parallelism": settings.parallel,
        "setup": [
            f"export {_SIGNAL}={settings.signal_seconds}",
            *_container_setup(settings, folders),
            *settings.setup,
        ],
        "stderr_to_stdout": True,
        "additional_parameters": {"requeue": True, **settings.sbatch},
    }


def _import_submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise HarnessError("submitit is not installed.", hint="pip install 'aahn-harness[slurm]'") from error
    return submitit


def open_engine(settings: SlurmSettings, context: EngineContext) -> SlurmEngine:
    """Returns the engine; see :class:`SlurmEngine` for what it raises."""
    folder = context.results / "slurm" / context.name
    return SlurmEngine(settings.resources(), folder, context.name, settings.threads, _folders(context))


def dry_run(settings: SlurmSettings, context: EngineContext, cells: int) -> str:
    """Returns the batch script of a study."""
    folder = context.results / "slurm" / context.name
    return batch_script(settings.resources(), folder, context.name, cells, _folders(context))


def _folders(context: EngineContext) -> list[Path]:
    return folders_to_bind(Path(), context.results, context.cache or Path("cache"))
