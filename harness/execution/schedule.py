"""What is computed next, what a failure leads to, and how several runs share one study; the same for every engine.

Nothing here is kept in memory only: what is done, what failed and how often, and who works on what is read from the
store. So any number of runs, on any number of machines, may work on one study, and any of them may be killed.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.execution.engines.engine import Engine, Job
from harness.execution.workers.attempt import Attempt, Ending
from harness.execution.workers.failures import LOST_RETRIES, RETRIED_ALWAYS, RETRIED_IF_ASKED
from harness.execution.workers.process import GRACE, forsaken
from harness.results.store import CellFolder

__all__ = ["Policy", "compute", "first_attempt", "train_until"]

_POLL = 0.4  # seconds
_LOOK_ELSEWHERE = 2.0  # seconds between looks at cells that other runs compute


@dataclass(frozen=True)
class Policy:
    """What to do about cells that fail.

    Attributes:
        retries: Further attempts at a cell that failed in a way another attempt may mend.
        timeout: Seconds an attempt may take; None for any.
        fail_fast: Stop everything at the first failure.
    """

    retries: int = 0
    timeout: float | None = None
    fail_fast: bool = False


def compute(
    engine: Engine, cells: Sequence[CellFolder], cache: Path, policy: Policy, watch: Callable[[], None]
) -> dict[str, str]:
    """Computes cells and returns when each has a result or has failed for good.

    Args:
        engine: Where.
        cells: Their folders, each with a ``cell.json``.
        cache: Folder of prepared data.
        policy: What to do about failures.
        watch: Called about twice a second.

    Returns:
        Failures that could not be written to the store, by cell.

    Raises:
        KeyboardInterrupt: The user stopped; every running cell has left a checkpoint.
    """
    try:
        return _run(_Schedule(engine, cells, cache, policy, watch))
    finally:
        engine.close()


def train_until(
    engine: Engine,
    cells: Sequence[CellFolder],
    epoch: int,
    cache: Path,
    policy: Policy,
    watch: Callable[[], None],
) -> dict[str, str]:
    """Trains cells until an epoch, on their training and validation cases alone; the engine stays open.

    Args:
        engine: Where.
        cells: Their folders, each with a ``cell.json`` and without scores of this epoch.
        epoch: Until when; a later call with a later epoch goes on from there.
        cache: Folder of prepared data.
        policy: What to do about failures.
        watch: Called about twice a second.

    Returns:
        Failures that could not be written to the store, by cell.

    Raises:
        KeyboardInterrupt: The user stopped; every running cell has left a checkpoint.
    """
    return _run(_Schedule(engine, cells, cache, policy, watch, epoch))


def _run(schedule: _Schedule) -> dict[str, str]:
    try:
        schedule.run()
    except BaseException:
        schedule.stop()
        raise
    return schedule.unwritten


def first_attempt(cell: CellFolder, cache: Path, policy: Policy, until: int | None = None) -> Attempt:
    """Returns the first attempt of a run at a cell; what earlier runs learnt of its needs is not forgotten."""
    return Attempt(cell, cache, policy.timeout, _accumulate(cell), until=until)


class _Schedule:
    """The state of one run; see :func:`compute` and :func:`train_until`."""

    def __init__(
        self,
        engine: Engine,
        cells: Sequence[CellFolder],
        cache: Path,
        policy: Policy,
        watch: Callable[[], None],
        until: int | None = None,
    ) -> None:
        self._engine = engine
        self._policy = policy
        self._watch = watch
        self._waiting = deque(first_attempt(cell, cache, policy, until) for cell in cells)
        self._jobs: list[Job] = []
        self._elsewhere: list[Attempt] = []
        self._looked = 0.0
        self._lost: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._over = False
        self.unwritten: dict[str, str] = {}

    def run(self) -> None:
        """Runs until nothing is left to do."""
        while not self._over and (self._waiting or self._jobs or self._elsewhere):
            self._look_elsewhere()
            self._submit()
            self._watch()
            time.sleep(_POLL)
            for job in list(self._jobs):
                if (ending := job.poll()) is not None:
                    self._jobs.remove(job)
                    self._settle(job.attempt, ending)
        self.stop()  # after a failure with fail_fast something may still run
        self._watch()

    def stop(self) -> None:
        """Asks what runs to write its checkpoint and end; ends what does not."""
        for job in self._jobs:
            job.stop()
        deadline: float | None = time.monotonic() + GRACE
        while self._jobs:
            self._jobs = [job for job in self._jobs if job.poll() is None]
            if deadline is not None and time.monotonic() > deadline:
                deadline = None  # once: a cluster takes its time, and asking is a command of its own
                for job in self._jobs:
                    job.kill()
            time.sleep(_POLL / 4)

    def _submit(self) -> None:
        """Hands the engine as many attempts as it has room for; what others finished or compute is passed over."""
        ready: list[Attempt] = []
        room = self._engine.room()
        while self._waiting and len(ready) < room:
            attempt = self._waiting.popleft()
            state = attempt.cell.status()
            if state == "running":
                self._elsewhere.append(attempt)
            elif state != "done":
                ready.append(attempt)
        if not ready:
            return
        started = self._engine.submit(ready)
        self._jobs += started
        taken = {job.attempt.cell.id for job in started}
        self._waiting.extendleft(reversed([one for one in ready if one.cell.id not in taken]))

    def _look_elsewhere(self) -> None:
        """Drops what other runs finished, takes over what they left."""
        if time.monotonic() - self._looked < _LOOK_ELSEWHERE:
            return
        self._looked = time.monotonic()
        states = [(attempt, attempt.cell.status()) for attempt in self._elsewhere]
        self._waiting.extend(attempt for attempt, state in states if state in {"interrupted", "new"})
        self._elsewhere = [attempt for attempt, state in states if state == "running"]

    def _settle(self, attempt: Attempt, ending: Ending) -> None:
        """Decides what an ending leads to: nothing more, another attempt, or the end of the run."""
        cell = attempt.cell
        if ending.state == "done":
            return
        if ending.state == "busy":
            self._elsewhere.append(attempt)
            return
        if ending.state == "lost":
            hint = "Its lease runs out within two minutes; then it continues from its last checkpoint."
            ending = forsaken(attempt, "lost", f"The process or its machine was lost. {ending.detail}".strip(), hint)
        elif ending.state == "stopped":
            ending = forsaken(attempt, "stopped", "The process was stopped from outside.", "Run the study again.")
        if ending.detail:  # not even the failure could be written
            self.unwritten[cell.id] = ending.detail
        if (again := self._next(attempt)) is not None:
            self._waiting.append(again)
        elif self._policy.fail_fast:
            self._over = True

    def _next(self, attempt: Attempt) -> Attempt | None:
        """Returns the attempt that follows a failure, or None."""
        cell = attempt.cell
        failure = cell.failure()
        if failure is None:
            return None
        kind = failure.kind
        if kind == "cuda_out_of_memory":
            parts = 2 * attempt.accumulate
            return replace(attempt, accumulate=parts) if parts <= _batch_size(cell) else None
        spent, allowed = self._failed, self._policy.retries if kind in RETRIED_IF_ASKED else 0
        if kind in RETRIED_ALWAYS:
            spent, allowed = self._lost, max(LOST_RETRIES, self._policy.retries)
        spent[cell.id] += 1
        return attempt if spent[cell.id] <= allowed else None


def _batch_size(cell: CellFolder) -> int:
    return int(cell.spec()["protocol"]["sampling"]["batch_size"])


def _accumulate(cell: CellFolder) -> int:
    """Returns the parts a batch is cut into: what an earlier attempt ran out of GPU memory with, doubled."""
    tried = [one.accumulate for one in cell.attempts() if one.kind == "cuda_out_of_memory"]
    return min(2 * max(tried), _batch_size(cell)) if tried else 1
