"""What is computed next, what a failure leads to, and how several runs share the work; the same for every engine.

Studies, searches, races and tests with fewer modalities all run through :func:`run_attempts`. Nothing here is kept in
memory only: what is done, what failed and how often, and who works on what is read from the store. So any number of
runs, on any number of machines, may work on one study, and any of them may be killed.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path

from harness.execution.engines.engine import Engine, Job, SaysItsEnd
from harness.execution.workers.attempt import Attempt, Ending, Kind
from harness.execution.workers.failures import LOST_RETRIES, RETRIED_ALWAYS, RETRIED_IF_ASKED
from harness.execution.workers.process import GRACE, record_failure
from harness.results.store import CellFolder


@dataclass(frozen=True)
class Policy:
    """How a run goes about its attempts.

    Attributes:
        retries: Further attempts at a cell that failed in a way another attempt may mend.
        timeout: Time limit of an attempt in seconds; None for no limit.
        fail_fast: Stop everything at the first failure.
        poll_seconds: Longest time between looks at what runs; what began just now is looked at sooner, and so is what
            says that it has ended.
        other_runs_seconds: Longest time between looks at what other runs compute.
        grace_seconds: Time that a stopped attempt has for its checkpoint.
    """

    retries: int = 0
    timeout: float | None = None
    fail_fast: bool = False
    poll_seconds: float = 0.4
    other_runs_seconds: float = 2.0
    grace_seconds: float = GRACE


#: First time between looks at what began just now, and at other runs, in seconds; it grows, so that nobody waits long
#: for what is short.
_FIRST_LOOK, _FIRST_LOOK_AT_OTHERS, _GROWTH = 0.02, 0.1, 1.3


class Source:
    """Decides on further attempts while others run; this one has none, and lets every attempt come to its end."""

    def next(self) -> Attempt | None:
        """Returns an attempt for a slot that is free, None where there is none (now, or any more)."""
        return None

    def on_progress(self, attempt: Attempt) -> bool:
        """Returns whether a running attempt shall go on; asked at every look. One that shall not is never repeated."""
        del attempt
        return True

    def on_end(self, attempt: Attempt, ending: Ending) -> None:
        """Takes note that nothing more will be tried: it is done, has failed for good, or was not to go on."""


def run_attempts(
    engine: Engine,
    attempts: Sequence[Attempt],
    policy: Policy,
    watch: Callable[[], None],
    source: Source | None = None,
) -> dict[str, str]:
    """Runs attempts and returns when each is done or has failed for good; the engine stays open.

    Args:
        engine: Engine that runs the attempts.
        attempts: Attempts known from the start, each at a cell of its own.
        policy: Retries, time limit, and pace.
        watch: Called about twice a second.
        source: Decides on further attempts.

    Returns:
        Failures that could not be written to the store, by cell.

    Raises:
        KeyboardInterrupt: The user stopped; every running attempt has left a checkpoint.
    """
    schedule = _Schedule(engine, attempts, policy, watch, source or Source())
    try:
        schedule.run()
    except BaseException:
        schedule.stop()
        raise
    return schedule.unwritten


def initial_attempt(
    cell: CellFolder, cache: Path, policy: Policy, kind: Kind = "train", until: int | None = None
) -> Attempt:
    """Returns the first attempt of a run at a cell; what earlier runs learnt of its needs is not forgotten."""
    failed = cell.attempts()
    tried = [one.accumulate for one in failed if one.kind == "cuda_out_of_memory"]
    accumulate = min(2 * max(tried), _batch_size(cell)) if tried else 1
    eager = any(one.kind == "not_recorded" for one in failed)
    return Attempt(cell, cache, policy.timeout, accumulate, kind, until, eager=eager)


class _Schedule:
    """The state of one run; see :func:`run_attempts`."""

    def __init__(
        self,
        engine: Engine,
        attempts: Sequence[Attempt],
        policy: Policy,
        watch: Callable[[], None],
        source: Source,
    ) -> None:
        self._engine = engine
        self._policy = policy
        self._watch = watch
        self._source = source
        self._waiting = deque(attempts)
        self._jobs: list[Job] = []
        self._elsewhere: list[Attempt] = []
        self._polled_others = 0.0
        self._others_pause = policy.other_runs_seconds
        self._ended_early: set[str] = set()
        self._lost: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._over = False
        self._pause = policy.poll_seconds
        self.unwritten: dict[str, str] = {}

    def run(self) -> None:
        """Runs until nothing is left to do."""
        while not self._over:
            self._poll_other_runs()
            self._submit_waiting()
            self._submit_new()
            if not (self._waiting or self._jobs or self._elsewhere):
                break
            self._watch()
            self._wait_for_ends(self._pause)
            self._pause = min(_GROWTH * self._pause, self._policy.poll_seconds)
            for job in list(self._jobs):
                self._poll(job)
        self.stop()  # after a failure with fail_fast something may still run
        self._watch()

    def stop(self) -> None:
        """Asks what runs to write its checkpoint and end; ends what does not."""
        for job in self._jobs:
            job.stop()
        deadline: float | None = time.monotonic() + self._policy.grace_seconds
        while self._jobs:
            self._jobs = [job for job in self._jobs if job.poll() is None]
            if deadline is not None and time.monotonic() > deadline:
                deadline = None  # once: a cluster takes its time, and asking is a command of its own
                for job in self._jobs:
                    job.kill()
            self._wait_for_ends(self._policy.poll_seconds / 4)

    def _wait_for_ends(self, seconds: float) -> None:
        """Waits so long, or until a job says that one has ended."""
        ends = {job.end for job in self._jobs if isinstance(job, SaysItsEnd)}
        wait([end for end in ends if end is not None], timeout=seconds)

    def _submit_waiting(self) -> None:
        """Hands over as many attempts as there are free slots; passes over what others finished or compute."""
        ready: list[Attempt] = []
        free = self._engine.free_slots()
        while self._waiting and len(ready) < free:
            attempt = self._waiting.popleft()
            state = attempt.status()
            if state == "running":
                self._leave_to_others(attempt)
            elif state == "done":
                self._source.on_end(attempt, Ending("done"))
            else:
                ready.append(attempt)
        if not ready:
            return
        started = self._engine.submit(ready)
        self._jobs += started
        self._pause = min(_FIRST_LOOK, self._policy.poll_seconds)
        taken = {job.attempt.cell.id for job in started}
        self._waiting.extendleft(reversed([one for one in ready if one.cell.id not in taken]))

    def _submit_new(self) -> None:
        """Asks the source for one attempt after the other, each decided when there is a slot for it."""
        while not self._waiting and len(self._jobs) < self._engine.parallel and self._engine.free_slots() > 0:
            if (attempt := self._source.next()) is None:
                return
            self._waiting.append(attempt)
            self._submit_waiting()

    def _poll_other_runs(self) -> None:
        """Drops what other runs finished, takes over what they left."""
        if time.monotonic() - self._polled_others < self._others_pause:
            return
        self._polled_others = time.monotonic()
        self._others_pause = min(_GROWTH * self._others_pause, self._policy.other_runs_seconds)
        attempts, self._elsewhere = self._elsewhere, []
        for attempt in attempts:
            state = attempt.status()
            if state == "running":
                self._elsewhere.append(attempt)
            elif state in {"interrupted", "new", "damaged"}:
                self._waiting.append(attempt)
            else:
                self._source.on_end(attempt, Ending("done" if state == "done" else "failed"))

    def _leave_to_others(self, attempt: Attempt) -> None:
        self._elsewhere.append(attempt)
        self._others_pause = min(_FIRST_LOOK_AT_OTHERS, self._policy.other_runs_seconds)

    def _poll(self, job: Job) -> None:
        """Looks at an attempt under way."""
        attempt = job.attempt
        if attempt.cell.id not in self._ended_early and not self._source.on_progress(attempt):
            self._ended_early.add(attempt.cell.id)
            job.stop()
        if (ending := job.poll()) is None:
            return
        self._jobs.remove(job)
        if attempt.cell.id in self._ended_early:
            self._ended_early.remove(attempt.cell.id)
            self._source.on_end(attempt, ending)
        else:
            self._settle(attempt, ending)

    def _settle(self, attempt: Attempt, ending: Ending) -> None:
        """Decides what an ending leads to: nothing more, another attempt, or the end of the run."""
        if ending.state == "busy":
            self._leave_to_others(attempt)
            return
        if ending.state == "lost":
            hint = "Its lease runs out within two minutes; then it continues from its last checkpoint."
            text = f"The process or its machine was lost. {ending.detail}".strip()
            ending = record_failure(attempt, "lost", text, hint)
        elif ending.state == "stopped":
            ending = record_failure(attempt, "stopped", "The process was stopped from outside.", "Run it again.")
        if ending.detail:  # not even the failure could be written
            self.unwritten[attempt.cell.id] = ending.detail
        if ending.state == "failed" and (again := self._next(attempt)) is not None:
            self._waiting.append(again)
            return
        self._source.on_end(attempt, ending)
        if ending.state == "failed" and self._policy.fail_fast:
            self._over = True

    def _next(self, attempt: Attempt) -> Attempt | None:
        """Returns the attempt that follows a failure, or None."""
        failure = attempt.folder.failure()
        if failure is None:
            return None
        kind = failure.kind
        if kind == "cuda_out_of_memory":
            if attempt.kind == "subsets":  # there is no training batch to cut
                return None
            parts = 2 * attempt.accumulate
            return replace(attempt, accumulate=parts) if parts <= _batch_size(attempt.cell) else None
        if kind == "not_recorded":  # in a process of its own: memory may be unusable after a recording that failed
            step = attempt.cell.record().protocol.get("training", {}).get("step")
            may_be_eager = step == "auto" or attempt.kind == "subsets"
            return replace(attempt, eager=True) if may_be_eager and not attempt.eager else None
        spent, allowed = self._failed, self._policy.retries if kind in RETRIED_IF_ASKED else 0
        if kind in RETRIED_ALWAYS:
            spent, allowed = self._lost, max(LOST_RETRIES, self._policy.retries)
        spent[attempt.cell.id] += 1
        return attempt if spent[attempt.cell.id] <= allowed else None


def _batch_size(cell: CellFolder) -> int:
    return int(cell.record().protocol["sampling"]["batch_size"])
