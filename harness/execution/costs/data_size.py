"""How many cases a cell has and how large they are on the network's grid: of the data, or as its owners state."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from harness.data import Dataset, Reader, Split
from harness.data.assumed import ASSUMED, AssumedReader
from harness.data.datasets.layouts import find_dataset
from harness.data.patients.by_column import Folds
from harness.data.preparation.cache import compact
from harness.data.preparation.preprocessing import PreprocessingPlan, preprocess
from harness.study.cell import CellSpec


@dataclass(frozen=True)
class PreparedSize:
    """Size of a prepared case.

    Attributes:
        shape: (D, H, W).
        size: Bytes in the cache.
    """

    shape: tuple[int, int, int]
    size: int


@dataclass(frozen=True)
class DataPlan:
    """A dataset as one protocol prepares it.

    Attributes:
        dataset: Name of the dataset.
        assumed: Whether it is not there, and this is what its owners state.
        cases: Cases that the study's cells use.
        grid: Size of a prepared case.
    """

    dataset: str
    assumed: bool
    cases: int
    grid: PreparedSize


def plan_data(specs: Iterable[CellSpec]) -> tuple[DataPlan, ...]:
    """Returns what is prepared for some cells, one entry a dataset and preparation."""
    used: dict[tuple[str, PreprocessingPlan], set[str]] = {}
    first: dict[tuple[str, PreprocessingPlan], CellSpec] = {}
    for spec in specs:
        key = (spec.dataset, _plan(spec))
        split = split_of(spec)
        used.setdefault(key, set()).update(split.train, split.val, split.test)
        first.setdefault(key, spec)
    return tuple(
        DataPlan(key[0], first[key].data == ASSUMED, len(cases), grid_of(first[key])) for key, cases in used.items()
    )


def split_of(spec: CellSpec) -> Split:
    """Returns the cases of a cell."""
    return _split(spec.dataset, spec.root, spec.layout, spec.data, spec.folds, spec.fold, spec.seed)


def grid_of(spec: CellSpec) -> PreparedSize:
    """Returns the grid of a cell's first training case; where there is no data, of the case its owners state.

    Raises:
        DataError: The case cannot be read.
    """
    return _grid(spec.dataset, spec.root, spec.layout, spec.data, split_of(spec).train[0], _plan(spec))


def _plan(spec: CellSpec) -> PreprocessingPlan:
    return PreprocessingPlan.choose(spec.facts(), spec.protocol.preparation, spec.protocol.patch_size)


def _split(name: str, root: Path, layout: str, data: str, folds: Folds, fold: int, seed: int) -> Split:
    everything = _folds(name, root, layout, data, replace(folds, share=1.0))[fold]
    return everything if folds.share == 1 else _reduced(name, root, layout, data, folds, everything, seed)


@cache
def _folds(name: str, root: Path, layout: str, data: str, folds: Folds) -> tuple[Split, ...]:
    dataset, reader = _open(name, root, layout, data)
    return folds.all(dataset, reader, root)


@cache
def _reduced(name: str, root: Path, layout: str, data: str, folds: Folds, split: Split, seed: int) -> Split:
    return folds.reduced(split, _open(name, root, layout, data)[1], seed)


@cache
def _grid(name: str, root: Path, layout: str, data: str, case: str, plan: PreprocessingPlan) -> PreparedSize:
    dataset, reader = _open(name, root, layout, data)
    if data == ASSUMED:
        return _stated(dataset, plan)

    def prepared() -> PreparedSize:
        there = preprocess(reader.load(case), case, plan)
        depth, height, width = there.label.shape
        return PreparedSize((depth, height, width), compact(there.images).nbytes + there.label.nbytes)

    return dataset.read_apart(prepared)


def _open(name: str, root: Path, layout: str, data: str) -> tuple[Dataset, Reader]:
    dataset = find_dataset(name, root, layout)
    if data == ASSUMED and dataset.release is not None:
        return dataset, AssumedReader(dataset.release, dataset)
    return dataset, dataset.open(root)


def _stated(dataset: Dataset, plan: PreprocessingPlan) -> PreparedSize:
    """Takes the whole grid: cropping makes it smaller, so this is the most there can be."""
    assert dataset.release is not None
    sides = list(dataset.release.shape)
    depth = sides.pop(plan.slice_axis)
    height, width = plan.plane or sides
    interpolated = plan.plane is not None or plan.spacing is not None
    voxels = math.prod((depth, height, width))
    each = 2 if dataset.release.integers and not interpolated else 4
    return PreparedSize((depth, height, width), voxels * (each * len(dataset.modalities) + 1))
