"""Scores predictions of a cell's cases. What does it can be sent to another process, which imports no torch for it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data import Dataset, Reader
from harness.data.contract import Case, transform_codes, trivial_predictions
from harness.data.incomplete import absent_channels, pattern
from harness.data.reading.nifti import write_label
from harness.errors import HarnessError
from harness.evaluation import METRICS
from harness.evaluation.policy import empty_policy
from harness.evaluation.scoring import Score, describe_masks, failures, score_case
from harness.results.overlay import Overlay, choose_slice
from harness.study.cell import CellSpec

#: Scores as rows of a cell's result.
Rows = list[dict[str, object]]


@dataclass(frozen=True)
class CaseScorer:
    """Scores predictions of a cell's cases. Pickled, it is the cell alone: the data are opened anew where it arrives.

    Attributes:
        spec: The cell.
        dataset: Facts.
        reader: Reader of the dataset's folder.
        metrics: What is measured.
        own_split: Whether the split is the dataset's own.
        is_incomplete: Whether a case of the split lacks a modality.
    """

    spec: CellSpec
    dataset: Dataset
    reader: Reader
    metrics: tuple[str, ...]
    own_split: bool
    is_incomplete: bool

    def __reduce__(self) -> tuple[Callable[..., CaseScorer], tuple[Any, ...]]:
        return open_scorer, (self.spec, self.metrics, self.own_split, self.is_incomplete)

    def scores(self, prediction: NDArray[np.uint8], truth: NDArray[np.uint8], spacing: Sequence[float]) -> list[Score]:
        """Returns the scores of a prediction in every region and metric.

        Args:
            prediction: (X, Y, Z) label map.
            truth: (X, Y, Z) label map.
            spacing: Voxel size in mm along X, Y, Z.
        """
        policy = empty_policy(self.dataset.empty_policy)
        return score_case(prediction, truth, self.dataset.regions, spacing, policy, self.metrics)

    def rows(self, name: str, scores: Sequence[Score]) -> Rows:
        """Returns a case's scores as rows of the cell's result."""
        spec = self.spec
        place = {
            "dataset": spec.dataset,
            "model": spec.model,
            "leading": spec.leading,
            "fold": spec.fold,
            "seed": spec.seed,
            "patient": self.reader.patient(name),
            "case": name,
        }
        if self.is_incomplete:
            place["modalities"] = pattern(self.dataset.modalities, absent_channels(self.dataset, self.reader, name))
        return [{**place, **asdict(score)} for score in scores]

    def floors(self, name: str, truth: NDArray[np.uint8], spacing: Sequence[float]) -> Rows:
        """Returns the rows of what trivial methods score; none where the split is not the dataset's own."""
        found: Rows = []
        for trivial in trivial_predictions(self.reader, self.spec.fold, name) if self.own_split else ():
            scores = self.scores(trivial.prediction, truth, spacing)
            found += [{**row, "floor": trivial.name} for row in self.rows(name, scores)]
        return found


def open_scorer(spec: CellSpec, metrics: tuple[str, ...], own_split: bool, is_incomplete: bool) -> CaseScorer:
    """Returns the scorer of a cell that was opened and checked before, in another process.

    Raises:
        DataError: The data are gone.
        HarnessError: A metric is not known in this process, or cannot be imported.
    """
    for name in metrics:
        _ = METRICS.get(name).function
    dataset = spec.facts()
    return CaseScorer(spec, dataset, dataset.open(spec.root), metrics, own_split, is_incomplete)


@dataclass(frozen=True)
class TestedCase:
    """What the test of a case leaves beside its prediction.

    Attributes:
        name: The case.
        scores: Rows of scores.
        masks: What a policy for empty regions goes by.
        floors: Rows of what trivial methods score.
        overlay: One slice, with the modality that leads.
        failures: Why metrics failed.
    """

    name: str
    scores: Rows
    masks: Rows
    floors: Rows
    overlay: Overlay
    failures: tuple[str, ...]


@dataclass(frozen=True)
class CaseTest:
    """Scores a case from its prediction and writes what the report shows of it, in this process or in another.

    Attributes:
        scorer: Scores.
        result: Folder of the result, with a folder ``predictions``.
        shown: Case that the cell's own slice shows.
    """

    scorer: CaseScorer
    result: Path
    shown: str

    def __call__(self, name: str, prediction: NDArray[np.uint8]) -> TestedCase:
        """Returns the scores; writes the prediction.

        Args:
            name: The case.
            prediction: (X, Y, Z) label map.
        """
        scorer, result = self.scorer, self.result
        with _naming_case(name):
            case = scorer.reader.load(name)
            codes = transform_codes(scorer.reader, name)
            write_label(result / "predictions" / f"{name}.nii.gz", prediction, case.affine, codes)
            found = scorer.scores(prediction, case.label, case.spacing)
            described = describe_masks(prediction, case.label, scorer.dataset.regions, case.spacing)
            overlay = _overlay(scorer.dataset, case, prediction, name)
            if name == self.shown:
                overlay.save(result / "overlay.npz")
                write_label(result / "truth.nii.gz", case.label, case.affine)
            return TestedCase(
                name,
                scorer.rows(name, found),
                [{"case": name, **asdict(region)} for region in described],
                scorer.floors(name, case.label, case.spacing),
                overlay.only(scorer.spec.leading),
                failures(found),
            )


class SubsetScorer:
    """Scores predictions of the same cases again and again, and reads the truth of each from its files once.

    It is kept compressed, to about a hundredth: hundreds of cases at once would not fit into memory as they are.

    Args:
        scorer: Scores.
    """

    def __init__(self, scorer: CaseScorer) -> None:
        self._scorer = scorer
        self._kept: dict[str, tuple[bytes, tuple[int, ...], tuple[float, float, float]]] = {}

    def __reduce__(self) -> tuple[type[SubsetScorer], tuple[CaseScorer]]:
        return SubsetScorer, (self._scorer,)

    def __call__(self, name: str, prediction: NDArray[np.uint8]) -> Rows:
        """Returns the rows of a case.

        Args:
            name: The case.
            prediction: (X, Y, Z) label map.
        """
        with _naming_case(name):
            return self._scorer.rows(name, self._scorer.scores(prediction, *self._truth(name)))

    def _truth(self, name: str) -> tuple[NDArray[np.uint8], tuple[float, float, float]]:
        """Returns the label map (X, Y, Z) of a case and its voxel size in mm."""
        if name not in self._kept:
            case = self._scorer.reader.load(name)
            self._kept[name] = zlib.compress(case.label.tobytes(), level=1), case.label.shape, case.spacing
        packed, shape, spacing = self._kept[name]
        return np.frombuffer(zlib.decompress(packed), dtype=np.uint8).reshape(shape), spacing


@contextmanager
def _naming_case(name: str) -> Iterator[None]:
    """Names the case in whatever is raised within."""
    try:
        yield
    except HarnessError as error:
        if name not in error.message:
            error.message = f"Case '{name}': {error.message}"
        raise
    except Exception as error:
        error.add_note(f"Case '{name}' was being scored.")
        raise


def _overlay(dataset: Dataset, case: Case, prediction: NDArray[np.uint8], name: str) -> Overlay:
    axis = dataset.slice_axis
    index = choose_slice(case.label, axis)
    names = tuple(dataset.labels[value] for value in sorted(dataset.labels))
    return Overlay.cut(case.images, case.label, prediction, case.spacing, dataset.modalities, names, name, index, axis)
