"""Tests the finished cells of a study with fewer modalities: what is left to do, and the run that does it."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from harness.data.settings import Fill
from harness.errors import HarnessError, did_you_mean
from harness.execution.cell.missing_modalities import refusal_reason, trained_fill
from harness.execution.engines.engine import Engine
from harness.execution.schedule import Policy, run_attempts
from harness.execution.workers.attempt import Attempt
from harness.results.store import CellFolder, Store, StudyFolder
from harness.results.subsets import CellSubsets, Subset, choose_subsets


@dataclass(frozen=True)
class Work:
    """One cell of the study.

    Attributes:
        cell: Folder of the cell.
        label: Name of the variant in the study.
        subsets: Subsets to test it with; empty where it cannot be tested.
        refusal: Reason why it cannot be tested; empty where it can.
    """

    cell: CellFolder
    label: str
    subsets: tuple[Subset, ...]
    refusal: str = ""

    @property
    def n_remaining(self) -> int:
        """Subsets that have no result yet."""
        store = CellSubsets(self.cell)
        return sum(not store.has(subset) for subset in self.subsets)

    @property
    def done(self) -> int:
        """Subsets that have a result."""
        return len(self.subsets) - self.n_remaining


def plan_missing(
    study: StudyFolder, store: Store, choice: str = "all", fill: Fill | None = None, label: str | None = None
) -> list[Work]:
    """Returns what each cell of a study is to be tested with, in the study's order.

    Args:
        study: The study, run before.
        store: Store of the study.
        choice: Subsets to evaluate: ``all``, ``leave-one-out`` or ``single``.
        fill: What stands for absent modalities; None for what each training saw.
        label: Variant to evaluate; default: all that are trained on the largest share of the training patients.

    Raises:
        HarnessError: There is no such variant or choice, or no cell can be evaluated.
    """
    cells = store.study_cells(study)
    known = list(dict.fromkeys(name for name, _ in cells))
    if label is not None and label not in known:
        raise HarnessError(f"Study '{study.study}' has no variant '{label}'.", hint=did_you_mean(label, known))
    shares = {cell.id: cell.known().train_share for _, cell in cells}
    most = max(shares.values())
    # Trainings on fewer patients are points of a learning curve; they are tested where one is asked for by name.
    wanted = [(name, cell) for name, cell in cells if label == name or (label is None and shares[cell.id] == most)]
    works = [_work(cell, name, choice, fill) for name, cell in wanted]
    if all(work.refusal for work in works):
        first = works[0]
        raise HarnessError(
            f"No cell of '{study.study}' can be evaluated, e.g. {first.label} on {first.cell.known().dataset}: "
            f"{first.refusal}.",
            hint="Run the study first; fill by a token only what was trained with one.",
        )
    return works


def _work(cell: CellFolder, label: str, choice: str, fill: Fill | None) -> Work:
    if refusal := refusal_reason(cell, fill):
        return Work(cell, label, (), refusal)
    modalities = cell.spec().facts().modalities
    try:
        kind = fill or trained_fill(cell)
    except HarnessError:
        kind = "zeros"  # the weights cannot be read: the cell's process fails and says so
    return Work(cell, label, tuple(Subset(present, kind) for present in choose_subsets(modalities, choice)))


def run_missing(
    works: Sequence[Work], engine: Engine, cache: Path, policy: Policy, watch: Callable[[], None]
) -> tuple[Work, ...]:
    """Evaluates what has no result, each cell in a process of its own; the cells' own results stay as they are.

    Args:
        works: Cells from :func:`plan_missing`.
        engine: Engine that runs the processes; closed in the end.
        cache: Folder of prepared data.
        policy: Retries, time limit, and pace.
        watch: Called about twice a second.

    Returns:
        Cells that lack results in the end; where nobody else computes them, their folders say why.

    Raises:
        KeyboardInterrupt: The user stopped; subsets that are done are kept.
    """
    attempts = [
        Attempt(work.cell, cache.resolve(), policy.timeout, kind="subsets", subsets=work.subsets)
        for work in works
        if work.n_remaining
    ]
    for attempt in attempts:
        CellSubsets(attempt.cell).clear_progress()
    with closing(engine):
        run_attempts(engine, attempts, policy, watch)
    return tuple(work for work in works if work.n_remaining)
