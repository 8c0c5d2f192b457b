"""Runs the trials of all searches over the slots of an engine, and ends those early that lag behind.

One process runs a search: only it writes the database of trials. Trials are trained by workers of their own, as cells
are, and report their validation Dice by their progress files.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from optuna.trial import TrialState

from harness.execution.engines.engine import Engine
from harness.execution.schedule import Policy, Source, initial_attempt, run_attempts
from harness.execution.workers.attempt import Attempt, Ending
from harness.results.store import CellFolder
from harness.tuning.search import Search


def run_search(
    engine: Engine,
    searches: Sequence[Search],
    cells: Path,
    cache: Path,
    policy: Policy,
    watch: Callable[[], None],
) -> None:
    """Runs every search until it has its number of trials.

    Args:
        engine: Engine that trains the trials; closed in the end.
        searches: Searches to run; nobody else works on them.
        cells: Folder of the trials' cells.
        cache: Folder of prepared data.
        policy: Retries, time limit, and pace.
        watch: Called about twice a second.

    Raises:
        KeyboardInterrupt: The user stopped; the same trials are begun again next time, from their checkpoints.
    """
    with closing(engine):
        run_attempts(engine, (), policy, watch, _Trials(searches, cells, cache, policy))


@dataclass
class _Trial:
    """A trial under way."""

    search: Search
    trial: optuna.Trial
    last_epoch: int
    reported: set[int] = field(default_factory=set)
    pruned: bool = False


class _Trials(Source):
    """The trials of all searches, drawn one by one; see :func:`run_search`."""

    def __init__(self, searches: Sequence[Search], cells: Path, cache: Path, policy: Policy) -> None:
        self._searches = searches
        self._cells = cells
        self._cache = cache
        self._policy = policy
        self._running: dict[str, _Trial] = {}

    def next(self) -> Attempt | None:
        """Draws a trial of the search that came least far, so that all learn from their trials at the same pace."""
        while (search := self._least_begun()) is not None:
            trial, spec = search.ask()
            if spec.id in self._running:  # drawn twice at once: one training is enough
                search.optuna.tell(trial, state=TrialState.FAIL)
                continue
            cell = CellFolder(self._cells / spec.id)
            cell.write_spec(spec.to_json())
            self._running[spec.id] = _Trial(search, trial, spec.protocol.training.epochs)
            return initial_attempt(cell, self._cache, self._policy, "trial")
        return None

    def on_progress(self, attempt: Attempt) -> bool:
        """Tells Optuna what a trial reached; returns whether it keeps up with the others."""
        one = self._running[attempt.cell.id]
        for row in attempt.cell.progress().history:
            if row.val_dice is None or row.epoch in one.reported:
                continue
            one.reported.add(row.epoch)
            one.trial.report(row.val_dice, row.epoch)
            if row.epoch < one.last_epoch and one.trial.should_prune():
                one.pruned = True
                return False
        return True

    def on_end(self, attempt: Attempt, ending: Ending) -> None:
        """Tells Optuna how a trial ended."""
        cell, one = attempt.cell, self._running[attempt.cell.id]
        if attempt.accumulate > 1:
            one.trial.set_user_attr("accumulate", attempt.accumulate)
        if one.pruned:
            one.search.optuna.tell(one.trial, state=TrialState.PRUNED)
            for checkpoint in cell.work.glob("*.pt"):  # nobody goes on with it
                checkpoint.unlink()
        elif ending.state == "done":
            self.on_progress(attempt)  # its last epochs
            one.search.optuna.tell(one.trial, cell.trial_summary().val_dice)
        else:
            failure = cell.failure()
            one.trial.set_user_attr("failure", failure.reason if failure else ending.detail or ending.state)
            one.search.optuna.tell(one.trial, state=TrialState.FAIL)
        del self._running[cell.id]

    def _least_begun(self) -> Search | None:
        counts = [(search.begun(), index) for index, search in enumerate(self._searches)]
        left = [(begun, index) for begun, index in counts if begun < self._searches[index].settings.trials]
        return self._searches[min(left)[1]] if left else None
