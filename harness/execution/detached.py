"""Hands the cells of a study to a cluster that computes them by itself, and does not wait."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from harness.execution.engines.engine import Engine, Job
from harness.execution.schedule import Policy, initial_attempt
from harness.execution.workers.attempt import Attempt
from harness.results.store import Store, StudyFolder


class DetachedJob(Job, Protocol):
    """A job that goes on without the process that submitted it."""

    @property
    def number(self) -> str:
        """What the cluster calls it."""


@dataclass(frozen=True)
class Submitted:
    """What was handed over.

    Attributes:
        jobs: What the cluster calls the jobs.
        cells: Cells in them.
        skipped: Cells with a result, and cells that somebody computes now.
    """

    jobs: tuple[str, ...]
    cells: int
    skipped: int


def submit_study(study: StudyFolder, store: Store, engine: Engine, cache: Path, policy: Policy) -> Submitted:
    """Submits every cell of a registered study that has no result and that nobody computes.

    A cell that waits in the cluster's queue is submitted again; the task that comes second finds it done, or being
    computed, and ends at once. The engine's jobs must be :class:`DetachedJob`.

    Raises:
        HarnessError: sbatch refused.
    """
    cells = [cell for _, cell in store.study_cells(study)]
    attempts = [
        initial_attempt(cell, cache.resolve(), policy) for cell in cells if cell.status() not in {"done", "running"}
    ]
    jobs: list[str] = []
    for part in _parts(attempts, engine.free_slots()):
        submitted = cast("Sequence[DetachedJob]", engine.submit(part))
        jobs += dict.fromkeys(job.number for job in submitted)
    return Submitted(tuple(jobs), len(attempts), len(cells) - len(attempts))


def _parts(attempts: list[Attempt], size: int) -> list[list[Attempt]]:
    return [attempts[start : start + size] for start in range(0, len(attempts), size)]
