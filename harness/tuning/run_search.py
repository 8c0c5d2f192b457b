"""Runs the trials of all searches over the places of an engine, and ends those early that lag behind.

One process conducts: only it writes the database of trials. Trials are trained by workers of their own, as cells are,
and tell their validation Dice by their progress files.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from optuna.trial import TrialState

from harness.execution.engines.engine import Engine, Job
from harness.execution.workers.attempt import Attempt, Ending
from harness.execution.workers.failures import LOST_RETRIES, RETRIED_ALWAYS
from harness.execution.workers.process import GRACE
from harness.results.store import CellFolder
from harness.tuning.search import Search

__all__ = ["conduct"]

_POLL = 0.2  # seconds


@dataclass
class _Training:
    """A trial under way."""

    search: Search
    trial: optuna.Trial
    job: Job
    last: int  # epoch
    epochs: set[int] = field(default_factory=set)
    pruned: bool = False
    lost: int = 0


def conduct(
    engine: Engine,
    searches: Sequence[Search],
    cells: Path,
    cache: Path,
    timeout: float | None,
    watch: Callable[[], None],
) -> None:
    """Runs every search until it has its number of trials.

    Args:
        engine: Where trials are trained.
        searches: The searches; nobody else works on them.
        cells: Folder of the trials' cells.
        cache: Folder of prepared data.
        timeout: Seconds a trial may take; None for any.
        watch: Called several times a second.

    Raises:
        KeyboardInterrupt: The user stopped; the same trials are begun again next time, from their checkpoints.
    """
    run = _Run(engine, searches, cells, cache, timeout)
    try:
        while run.go_on():
            watch()
            time.sleep(_POLL)
        watch()
    finally:
        run.stop()
        engine.close()


class _Run:
    """The state of one run; see :func:`conduct`."""

    def __init__(
        self, engine: Engine, searches: Sequence[Search], cells: Path, cache: Path, timeout: float | None
    ) -> None:
        self._engine = engine
        self._searches = searches
        self._cells = cells
        self._cache = cache
        self._timeout = timeout
        self._under_way: list[_Training] = []

    def go_on(self) -> bool:
        """Starts what there is room for and looks at what runs; returns whether anything is left to do."""
        self._start()
        for one in list(self._under_way):
            self._report(one)
            if (ending := one.job.poll()) is not None:
                self._settle(one, ending)
        return bool(self._under_way) or self._next() is not None

    def stop(self) -> None:
        """Stops what still runs and waits until it has left its checkpoint; its trials stay open in the database."""
        deadline = time.monotonic() + GRACE
        jobs = [one.job for one in self._under_way]
        for job in jobs:
            job.stop()
        while jobs := [job for job in jobs if job.poll() is None]:
            if time.monotonic() > deadline:
                for job in jobs:
                    job.kill()
            time.sleep(_POLL)

    def _next(self) -> Search | None:
        """Returns the search that came least far, so that all of them learn from their trials at the same pace."""
        counts = [(search.begun(), index) for index, search in enumerate(self._searches)]
        left = [(begun, index) for begun, index in counts if begun < self._searches[index].settings.trials]
        return self._searches[min(left)[1]] if left else None

    def _start(self) -> None:
        while self._engine.room() > 0 and (search := self._next()) is not None:
            trial, spec = search.ask()
            cell = CellFolder(self._cells / spec.id)
            if any(one.job.attempt.cell.id == cell.id for one in self._under_way):
                search.optuna.tell(trial, state=TrialState.FAIL)  # drawn twice at once: one training is enough
                continue
            cell.write_spec(spec.to_json())
            jobs = self._engine.submit([Attempt(cell, self._cache, self._timeout, trial=True)])
            if not jobs:  # the place was taken meanwhile: the trial waits for the next one
                search.optuna.enqueue_trial(trial.params, user_attrs={"instead_of": trial.number})
                search.optuna.tell(trial, state=TrialState.FAIL)
                return
            self._under_way.append(_Training(search, trial, jobs[0], spec.protocol.training.epochs))

    def _report(self, one: _Training) -> None:
        """Tells Optuna what a trial reached; ends it where it lags behind."""
        if one.pruned:
            return
        for epoch in one.job.attempt.cell.progress().get("history", []):
            number, value = int(epoch["epoch"]), epoch["val_dice"]
            if value is None or number in one.epochs:
                continue
            one.epochs.add(number)
            one.trial.report(float(value), number)
            if number < one.last and one.trial.should_prune():
                one.pruned = True
                one.job.stop()
                return

    def _settle(self, one: _Training, ending: Ending) -> None:
        self._under_way.remove(one)
        cell, study = one.job.attempt.cell, one.search.optuna
        if ending.state == "done" and not one.pruned:
            self._report(one)
            study.tell(one.trial, cell.trial_summary().val_dice)
        elif one.pruned:
            study.tell(one.trial, state=TrialState.PRUNED)
            for checkpoint in cell.work.glob("*.pt"):  # nobody goes on with it
                checkpoint.unlink()
        elif one.lost < LOST_RETRIES and _may_be_mended(cell, ending) and self._again(one):
            return
        else:
            failure = cell.failure()
            one.trial.set_user_attr("failure", failure.reason if failure else ending.detail or ending.state)
            study.tell(one.trial, state=TrialState.FAIL)

    def _again(self, one: _Training) -> bool:
        jobs = self._engine.submit([one.job.attempt])
        if jobs:
            self._under_way.append(_Training(one.search, one.trial, jobs[0], one.last, one.epochs, lost=one.lost + 1))
        return bool(jobs)


def _may_be_mended(cell: CellFolder, ending: Ending) -> bool:
    """Whether the process was lost rather than the training bad."""
    if ending.state in {"busy", "lost", "stopped"}:
        return True
    failure = cell.failure()
    return failure is not None and failure.kind in RETRIED_ALWAYS
