"""Hands the cells of a study to a cluster that computes them by itself, and does not wait."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.execution.engines.slurm import SlurmEngine
from harness.execution.schedule import Policy, initial_attempt
from harness.execution.workers.attempt import Attempt
from harness.results.store import CellFolder, Store, StudyFolder

__all__ = ["Submitted", "submit_study"]


@dataclass(frozen=True)
class Submitted:
    """What was handed over.

    Attributes:
        jobs: Slurm's numbers of the arrays.
        cells: Cells in them.
        skipped: Cells with a result, and cells that somebody computes now.
    """

    jobs: tuple[str, ...]
    cells: int
    skipped: int


def submit_study(study: StudyFolder, store: Store, engine: SlurmEngine, cache: Path, policy: Policy) -> Submitted:
    """Submits every cell of a registered study that has no result and that nobody computes.

    A cell that is in Slurm's queue already is submitted again; whichever task comes second finds it done, or being
    computed, and ends at once.

    Raises:
        HarnessError: sbatch refused.
    """
    root = store.root.resolve()
    cells = [CellFolder(root / "cells" / entry["cell"]) for entry in study.manifest()["cells"]]
    attempts = [
        initial_attempt(cell, cache.resolve(), policy) for cell in cells if cell.status() not in {"done", "running"}
    ]
    jobs: list[str] = []
    for part in _parts(attempts, engine.free_slots()):
        jobs += dict.fromkeys(job.number for job in engine.submit(part))
    return Submitted(tuple(jobs), len(attempts), len(cells) - len(attempts))


def _parts(attempts: list[Attempt], size: int) -> list[list[Attempt]]:
    return [attempts[start : start + size] for start in range(0, len(attempts), size)]
