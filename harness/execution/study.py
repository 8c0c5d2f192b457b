"""Runs a study: registers it in the store, computes the cells that are not done, tells observers.

Or it hands them to a cluster that computes them by itself, and does not wait.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from harness.data import Dataset
from harness.data.synthetic.generated import kind_of
from harness.errors import HarnessError, StudyError
from harness.evaluation import METRICS, every_metric
from harness.execution.engines.engine import Engine, Job
from harness.execution.preparing import PreparesAhead, preparing, ready_first
from harness.execution.schedule import Policy, initial_attempt, run_attempts
from harness.results.manifest import DatasetFacts, Manifest, ManifestCell, ManifestReport
from harness.results.store import CellFolder, Store, StudyFolder
from harness.segmenters import SEGMENTERS
from harness.segmenters.isolation import Trials
from harness.segmenters.kept_sizes import size_of
from harness.segmenters.size import NEEDED_TO_COUNT, Size
from harness.study.expansion import LoadedStudy, make_task


class Observer(Protocol):
    """Sees a study run."""

    def update(self) -> None:
        """Called about twice a second while cells run."""

    def finish(self) -> None:
        """Called once, after the last cell or when the user stopped."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended; cells by their identities.

    Attributes:
        done: Cells with a result, skipped ones included.
        skipped: Cells that had a result before.
        failed: Cells without one.
        unwritten: Failures that could not be written to the store, by cell.
    """

    done: tuple[str, ...]
    skipped: tuple[str, ...]
    failed: tuple[str, ...]
    unwritten: Mapping[str, str]


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


def measure_variants(loaded: LoadedStudy) -> dict[tuple[str, str], Size]:
    """Returns parameters and compute by (label, dataset); building every network is also the last check before a run.

    Raises:
        StudyError: A network cannot be built for its task.
    """
    sizes, refused = try_variants(loaded)
    for error in refused.values():
        raise error
    return sizes


def try_variants(loaded: LoadedStudy) -> tuple[dict[tuple[str, str], Size], dict[tuple[str, str], StudyError]]:
    """Returns parameters and compute by (label, dataset), and why the other networks cannot be built."""
    trials = Trials(SEGMENTERS.is_foreign, needs=NEEDED_TO_COUNT)
    sizes: dict[tuple[str, str], Size] = {}
    refused: dict[tuple[str, str], StudyError] = {}
    for cell in loaded.cells:
        key = (cell.label, cell.spec.dataset)
        if key in sizes or key in refused:
            continue
        segmenter = SEGMENTERS.get(cell.spec.model)
        task = make_task(cell.spec.facts(), cell.spec.leading, cell.spec.protocol)
        try:
            sizes[key] = trials.run(segmenter, size_of, task, segmenter.parse_options(cell.spec.options))
        except HarnessError as error:
            refused[key] = StudyError(f"'{cell.label}' on {cell.spec.dataset}: {error.message}", hint=error.hint)
    return sizes, refused


def further_metrics(metrics: Iterable[str]) -> list[str]:
    """Returns the metrics that not every cell is scored by."""
    return [name for name in metrics if METRICS.get(name).name not in every_metric(())]


def register(loaded: LoadedStudy, store: Store, source: Path) -> StudyFolder:
    """Writes the study and the specs of its cells into the store."""
    folder = store.study(loaded.study.name, loaded.profile)
    wanted = further_metrics(loaded.study.report.metrics)
    for cell in loaded.cells:
        place = store.cell(cell.spec.id)
        place.write_spec(cell.spec.to_json())
        if place.status() != "done":
            place.want_metrics(wanted)
    folder.write_manifest(
        Manifest(
            name=loaded.study.name,
            profile=loaded.profile,
            question=loaded.study.question,
            answers=loaded.study.answers,
            file=source.name,
            report=ManifestReport(**loaded.study.report.model_dump()),
            labels=loaded.labels,
            protocol=loaded.protocol.model_dump(mode="json"),
            datasets=tuple(_facts(loaded)),
            cells=tuple(ManifestCell(cell=cell.spec.id, label=cell.label) for cell in loaded.cells),
        )
    )
    return folder


def run_study(
    study: StudyFolder,
    store: Store,
    engine: Engine,
    cache: Path,
    observers: Sequence[Observer],
    policy: Policy | None = None,
    only: Collection[str] | None = None,
    prepare: Callable[[Sequence[CellFolder], Path, int], AbstractContextManager[None]] = preparing,
) -> Outcome:
    """Computes every cell of a registered study that has no result; other runs may work on the same study meanwhile.

    A cell whose result is damaged is left as it is, unless it is asked for by name.

    Args:
        study: Study to run.
        store: Store it was registered in.
        engine: Engine that runs the cells; closed in the end.
        cache: Folder of prepared data.
        observers: Shown the progress.
        policy: Retries, time limit, and pace.
        only: Cells to compute; default: all.
        prepare: Prepares data beside the cells, where the engine has cores to spare.

    Raises:
        KeyboardInterrupt: The user stopped; running cells have left checkpoints.
    """
    cells = {cell.id: cell for _, cell in store.study_cells(study)}
    if only is not None:
        cells = {identity: cell for identity, cell in cells.items() if identity in only}
    skipped = tuple(identity for identity, cell in cells.items() if cell.status() == "done")
    left = {identity for identity, cell in cells.items() if only is None and cell.result_damages()}

    def watch() -> None:
        for observer in observers:
            observer.update()

    policy = policy or Policy()
    pending = [cell for identity, cell in cells.items() if identity not in {*skipped, *left}]
    processes = engine.preparers if isinstance(engine, PreparesAhead) else 0
    pending, ahead = ready_first(pending, cache.resolve()) if processes else (pending, [])
    attempts = [initial_attempt(cell, cache.resolve(), policy) for cell in pending]
    try:
        with closing(engine), prepare(ahead, cache.resolve(), processes):
            unwritten = run_attempts(engine, attempts, policy, watch)
    finally:
        for observer in observers:
            observer.finish()
    done = tuple(identity for identity, cell in cells.items() if cell.status() == "done")
    return Outcome(done, skipped, tuple(identity for identity in cells if identity not in set(done)), unwritten)


def submit_study(study: StudyFolder, store: Store, engine: Engine, cache: Path, policy: Policy) -> Submitted:
    """Submits every cell of a registered study that has no result and that nobody computes.

    A cell that waits in the cluster's queue is submitted again; the task that comes second finds it done, or being
    computed, and ends at once. The engine's jobs must be :class:`DetachedJob`.

    Raises:
        HarnessError: sbatch refused.
    """
    cells = [cell for _, cell in store.study_cells(study)]
    attempts = [
        initial_attempt(cell, cache.resolve(), policy)
        for cell in cells
        if cell.status() not in {"done", "running"} and not cell.result_damages()
    ]
    jobs: list[str] = []
    size = engine.free_slots()
    for start in range(0, len(attempts), size):
        submitted = cast("Sequence[DetachedJob]", engine.submit(attempts[start : start + size]))
        jobs += dict.fromkeys(job.number for job in submitted)
    return Submitted(tuple(jobs), len(attempts), len(cells) - len(attempts))


def _facts(loaded: LoadedStudy) -> list[DatasetFacts]:
    roots: dict[str, set[Path]] = {}
    specs = {}
    for cell in loaded.cells:
        roots.setdefault(cell.spec.dataset, set()).add(cell.spec.root)
        specs[cell.spec.dataset] = cell.spec
    return [_facts_of(specs[name].facts(), folders) for name, folders in roots.items()]


def _facts_of(one: Dataset, folders: Iterable[Path]) -> DatasetFacts:
    """Says `generated` where any of the folders was: a table never shows such data as real."""
    kinds = {kind_of(one, folder) for folder in folders}
    kind = "generated" if "generated" in kinds else one.kind
    return DatasetFacts(one.name, one.title, kind, one.unit, one.modalities, tuple(one.regions), one.notes)
