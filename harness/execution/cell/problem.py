"""What a cell works on: data, split and task, checked against what was planned."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from harness.data import Dataset, Reader, Split
from harness.data.incomplete import missing_modalities
from harness.data.settings import Fill
from harness.errors import DataError, HarnessError
from harness.evaluation import METRICS, every_metric
from harness.execution.cell.scoring import CaseScorer
from harness.files import hash_of_file
from harness.segmenters import SEGMENTERS, Options, Segmenter, Task
from harness.study.cell import CellSpec, numeric_packages, split_of_cell
from harness.study.expansion import make_task
from harness.training.augmentation_path import PER_PATCH, AugmentationPath
from harness.training.loop import Epoch


@dataclass(frozen=True)
class Problem:
    """Data, split and task of a cell.

    Attributes:
        spec: The cell.
        dataset: Facts.
        reader: Reader of the dataset's folder.
        split: The fold's, of the dataset or of the user's file.
        own_split: Whether it is the dataset's own fold of that number; only then its floors mean anything.
        segmenter: The network.
        options: Options of the network.
        task: Modalities, classes and image size.
        metrics: What its test cases are scored by.
    """

    spec: CellSpec
    dataset: Dataset
    reader: Reader
    split: Split
    own_split: bool
    segmenter: Segmenter
    options: Options
    task: Task
    metrics: tuple[str, ...]

    @cached_property
    def is_incomplete(self) -> bool:
        """Whether a case of the split lacks a modality."""
        cases = (*self.split.train, *self.split.val, *self.split.test)
        return any(missing_modalities(self.reader, case) for case in cases)

    @property
    def fill(self) -> Fill | None:
        """What stands for absent modalities: as the protocol says, or zeros where cases lack some; None where none is.

        An absent modality of a case is filled as one that is dropped in training or in a test.
        """
        stated = self.spec.protocol.sampling.fill
        return "zeros" if stated is None and self.is_incomplete else stated

    @property
    def scorer(self) -> CaseScorer:
        """Scores predictions of its cases."""
        return CaseScorer(self.spec, self.dataset, self.reader, self.metrics, self.own_split, self.is_incomplete)

    def scored_by(self, wanted: Sequence[str]) -> Self:
        """Returns the problem with further metrics.

        Raises:
            HarnessError: One cannot be imported, which shall be known before the training.
        """
        for name in wanted:
            _ = METRICS.get(name).function
        return replace(self, metrics=every_metric(self.metrics, wanted))


@dataclass(frozen=True)
class Trained:
    """What training leaves, whoever trained.

    Attributes:
        predict: Name of a test case to its label map (X, Y, Z) on the native grid.
        save_weights: Writes the weights to a ``.safetensors`` path.
        history: One entry per epoch; empty where nothing was trained.
        parameters: Trainable parameters.
        ranks: Processes that trained together.
        step: How the training steps were done: ``eager`` or ``recorded``.
        augmentation: Where training batches were augmented.
        patterns: Modalities present, joined by ``+``, to the number of training cases; empty where that is not known.
    """

    predict: Callable[[str], NDArray[np.uint8]]
    save_weights: Callable[[str], None]
    history: Sequence[Epoch]
    parameters: int
    ranks: int = 1
    step: str = "eager"
    augmentation: AugmentationPath = PER_PATCH
    patterns: Mapping[str, int] = field(default_factory=dict)


def open_problem(spec: CellSpec) -> Problem:
    """Opens the data of a cell.

    Raises:
        DataError: The data or the split is not what the cell was planned on.
        HarnessError: Other versions of the packages that compute are installed here, and the cell is strict.
    """
    _check_packages(spec)
    _check_start(spec)
    dataset = spec.facts()
    reader = dataset.open(spec.root)
    if reader.fingerprint() != spec.data:
        raise DataError(
            f"The files of {dataset.name} in {spec.root} changed since the study was planned.",
            hint="Run the study again: cells on the new data get a new identity.",
        )
    split = split_of_cell(spec, dataset, reader)
    own = spec.fold < dataset.folds and reader.split(spec.fold) == split
    segmenter = SEGMENTERS.get(spec.model)
    task = make_task(dataset, spec.leading, spec.protocol)
    options = segmenter.parse_options(spec.options, stored=True)
    return Problem(spec, dataset, reader, split, own, segmenter, options, task, every_metric(dataset.metrics))


def _check_start(spec: CellSpec) -> None:
    path = spec.start_file
    if path is not None and (not path.is_file() or hash_of_file(path) != spec.start):
        raise DataError(
            f"The pretrained weights {path} are gone or changed since the study was planned.",
            hint="Put the file back, or run the study again: cells with another start get a new identity.",
        )


def _check_packages(spec: CellSpec) -> None:
    here = numeric_packages() if spec.packages else {}
    if spec.packages != here:
        other = [
            f"{name} {version} (here: {here.get(name)})"
            for name, version in spec.packages.items()
            if here.get(name) != version
        ]
        raise HarnessError(
            f"The cell was planned with {', '.join(other)}, and its protocol promises bitwise equal results.",
            hint="Run the study again where the packages are the same on every machine: cells get a new identity.",
        )
