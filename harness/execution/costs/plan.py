"""What a study would cost on GPUs that need not be here: hours, energy, memory and disk.

Measured where a result, `harness bench` or `harness doctor` says so.
"""

import heapq
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TypeAlias

from pydantic import ValidationError

from harness.errors import HarnessError, StudyError
from harness.execution.costs.bench_figures import BenchFigures, figures_of_model
from harness.execution.costs.data_size import DataPlan, grid_of, plan_data, split_of
from harness.execution.costs.gpus import GpuSpec, gpu_of_device
from harness.execution.costs.memory_and_time import Cases, GpuCost, Known, Span, cost
from harness.results.records import CellRecord, Summary
from harness.results.store import Store
from harness.segmenters import SEGMENTERS
from harness.segmenters.isolation import Trials
from harness.segmenters.size import NEEDED_TO_COUNT, Work, count
from harness.study.cell import CellSpec
from harness.study.expansion import LoadedStudy, make_task
from harness.study.protocol import Protocol

#: Label and dataset of a variant, and its cells.
_Group: TypeAlias = tuple[tuple[str, str], list[CellSpec]]

#: Yields what it is given, and shows how far it is.
Watch: TypeAlias = Callable[[Sequence[_Group]], Iterable[_Group]]


@dataclass(frozen=True)
class Measured:
    """Means over finished cells alike on one GPU model.

    Attributes:
        seconds: Of training.
        kwh: Energy the GPU drew; None where no cell says.
    """

    seconds: float
    kwh: float | None


@dataclass(frozen=True)
class VariantPlan:
    """A variant on a dataset.

    Attributes:
        label: What the study calls it.
        dataset: Name of the dataset.
        cells: Number of cells without a result.
        work: Work of a forward pass on one batch.
        batch: Patches in it.
        costs: What one cell takes, by GPU model.
        measured: What training took in finished cells alike, by GPU model; only where there are any.
        benched: GPU models on which ``harness bench`` measured a training step.
    """

    label: str
    dataset: str
    cells: int
    work: Work
    batch: int
    costs: Mapping[str, GpuCost]
    measured: Mapping[str, Measured]
    benched: frozenset[str] = frozenset()

    def seconds(self, gpu: str) -> Span:
        """Returns what one cell takes: measured where it was, else estimated."""
        if gpu in self.measured:
            seconds = self.measured[gpu].seconds
            return Span(seconds, seconds, seconds)
        return self.costs[gpu].cell

    def kwh(self, gpu: str) -> Span:
        """Returns the energy the GPU draws for one cell: measured where it was, else estimated for its time."""
        cost = self.costs[gpu]
        if gpu not in self.measured:
            return cost.energy
        one = self.measured[gpu]
        kwh = one.kwh if one.kwh is not None else cost.energy.usual * one.seconds / cost.cell.usual
        return Span(kwh, kwh, kwh)


@dataclass(frozen=True)
class StudyPlan:
    """All of a study.

    Attributes:
        variants: What is to be computed.
        data: What is to be prepared.
        done: Cells that have a result.
        refused: Why networks cannot be built, by variant and dataset.
        figures: What ``harness bench`` and ``harness doctor`` measured on these GPU models.
    """

    variants: tuple[VariantPlan, ...]
    data: tuple[DataPlan, ...]
    done: int
    refused: Mapping[tuple[str, str], HarnessError] = field(default_factory=dict)
    figures: tuple[BenchFigures, ...] = ()


def plan_on_gpus(
    loaded: LoadedStudy, store: Store, gpus: Sequence[GpuSpec], watch: Watch = iter, launch: float | None = None
) -> StudyPlan:
    """Estimates every cell that is not done.

    Args:
        loaded: The study.
        store: Store of the finished cells.
        gpus: GPU models to estimate for.
        watch: Told every variant before it is counted.
        launch: Seconds the host needs to launch a kernel; default: as ``harness doctor`` measured it beside a GPU of
            the model, if it did.

    Raises:
        DataError: A dataset's folder is there, but its first training case cannot be read.
    """
    groups: dict[tuple[str, str], list[CellSpec]] = {}
    for cell in loaded.cells:
        groups.setdefault((cell.label, cell.spec.dataset), []).append(cell.spec)
    known = _measured(store)
    benched = {one.name: figures for one in gpus if (figures := figures_of_model(one.name)) is not None}
    variants, done = [], 0
    trials = Trials(SEGMENTERS.is_foreign, needs=NEEDED_TO_COUNT)
    refused: dict[tuple[str, str], HarnessError] = {}
    for (label, dataset), specs in watch(list(groups.items())):
        to_do = sum(store.cell(spec.id).status() != "done" for spec in specs)
        done += len(specs) - to_do
        try:
            variants.append(_variant(label, dataset, specs[0], to_do, gpus, known, benched, trials, launch))
        except StudyError as error:
            refused[label, dataset] = error
    return StudyPlan(
        tuple(variants), plan_data(cell.spec for cell in loaded.cells), done, refused, tuple(benched.values())
    )


def wall_seconds(seconds: Sequence[float], places: int) -> float:
    """Returns when the last of some cells ends, the longest started first, each where a place gets free."""
    ends = [0.0] * places
    for one in sorted(seconds, reverse=True):
        heapq.heapreplace(ends, ends[0] + one)
    return max(ends)


def _variant(
    label: str,
    dataset: str,
    spec: CellSpec,
    cells: int,
    gpus: Sequence[GpuSpec],
    known: Mapping[str, Mapping[str, Measured]],
    benched: Mapping[str, BenchFigures],
    trials: Trials,
    launch: float | None,
) -> VariantPlan:
    """Estimates by one cell; folds, seeds and leading modalities change little."""
    segmenter, protocol = SEGMENTERS.get(spec.model), spec.protocol
    task, options = make_task(spec.facts(), spec.leading, protocol), segmenter.parse_options(spec.options)
    batch, mixed = protocol.sampling.batch_size, protocol.training.precision != "fp32"
    work = trials.run(segmenter, count, task, options, batch, mixed)
    split = split_of(spec)
    cases = Cases(len(split.val), len(split.test), grid_of(spec).shape)
    steps = {
        gpu: figures.step_seconds(segmenter, task, options, batch, protocol.training)
        for gpu, figures in benched.items()
    }
    launches = {gpu: figures.launch if launch is None else launch for gpu, figures in benched.items()}
    costs = {
        one.name: cost(
            work,
            protocol,
            task.in_channels,
            cases,
            one,
            not spec.weights,
            Known(steps.get(one.name), launches.get(one.name, launch)),
        )
        for one in gpus
    }
    alike = known.get(_kind(CellRecord.model_validate(spec.to_json())), {})
    measured = {one.name: alike[one.name] for one in gpus if one.name in alike}
    found = frozenset(gpu for gpu, seconds in steps.items() if seconds is not None)
    return VariantPlan(label, dataset, cells, work, batch, costs, measured, found)


def _measured(store: Store) -> dict[str, dict[str, Measured]]:
    """Returns what the store's cells took by kind and GPU model: whole trainings on one GPU that is known."""
    found: dict[str, dict[str, list[Summary]]] = {}
    for folder in store.cells():
        if folder.status() != "done":
            continue
        summary = folder.summary()
        gpu = gpu_of_device(summary.device)
        if gpu is not None and summary.train_seconds and summary.ranks == 1:
            found.setdefault(_kind(folder.record()), {}).setdefault(gpu.name, []).append(summary)
    return {kind: {gpu: _mean(alike) for gpu, alike in by_gpu.items()} for kind, by_gpu in found.items()}


def _mean(summaries: Sequence[Summary]) -> Measured:
    energies = [summary.energy_wh / 1000 for summary in summaries if summary.energy_wh is not None]
    return Measured(fmean(summary.train_seconds for summary in summaries), fmean(energies) if energies else None)


def _kind(cell: CellRecord) -> str:
    """Returns what cells that take equally long have in common."""
    try:
        protocol = Protocol.from_stored(cell.protocol).identity()
    except ValidationError:  # of a version that refused less
        protocol = dict(cell.protocol)
    return json.dumps([cell.dataset, cell.model, cell.options, protocol], sort_keys=True)
