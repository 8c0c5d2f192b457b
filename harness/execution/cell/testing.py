"""Tests a trained cell: predictions on the native grid, scores, floors, and one slice to look at."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.data import Dataset
from harness.data.contract import Case, transform_codes, trivial_predictions
from harness.data.incomplete import absent_channels, pattern
from harness.data.reading.nifti import write_label
from harness.evaluation.policy import empty_policy
from harness.evaluation.scoring import Score, describe_masks, failures, score_case
from harness.execution.cell.problem import Problem
from harness.results.empty_cases import MASKS_FILE
from harness.results.overlay import Overlay, choose_slice, write_slices
from harness.results.records import Timing


def test_cases(
    problem: Problem, predict: Callable[[str, Case], NDArray[np.uint8]], result: Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Segments and scores every test case; writes predictions, what the report shows of them, and the latency.

    Args:
        problem: Data and split.
        predict: Name of a case and the case to its label map (X, Y, Z).
        result: Folder of the result.

    Returns:
        Rows of scores, and rows of what trivial methods score.
    """
    dataset, cases = problem.dataset, problem.split.test
    scores: list[dict[str, object]] = []
    masks: list[dict[str, object]] = []
    floors: list[dict[str, object]] = []
    (result / "predictions").mkdir()
    slices: dict[str, Overlay] = {}
    seconds: list[float] = []
    for number, name in enumerate(cases):
        case = problem.reader.load(name)
        began = time.monotonic()
        prediction = predict(name, case)
        seconds.append(time.monotonic() - began)
        codes = transform_codes(problem.reader, name)
        write_label(result / "predictions" / f"{name}.nii.gz", prediction, case.affine, codes)
        found = score_prediction(problem, prediction, case.label, case.spacing)
        scores += score_rows(problem, name, found)
        for reason in failures(found):
            print(f"{name} counts as worst: {reason}", flush=True)
        described = describe_masks(prediction, case.label, dataset.regions, case.spacing)
        masks += [{"case": name, **asdict(region)} for region in described]
        for trivial in trivial_predictions(problem.reader, problem.spec.fold, name) if problem.own_split else ():
            scored = score_prediction(problem, trivial.prediction, case.label, case.spacing)
            floors += [{**row, "floor": trivial.name} for row in score_rows(problem, name, scored)]
        overlay = _overlay(dataset, case, prediction, name)
        slices[name] = overlay.only(problem.spec.leading)
        if number == len(cases) // 2:
            overlay.save(result / "overlay.npz")
            write_label(result / "truth.nii.gz", case.label, case.affine)
    pd.DataFrame(masks).to_parquet(result / MASKS_FILE, index=False)
    write_slices(result / "slices.npz", slices)
    Timing(latency_seconds=statistics.median(seconds)).write(result / "testing.json")
    return pd.DataFrame(scores), pd.DataFrame(floors)


def score_prediction(
    problem: Problem, prediction: NDArray[np.uint8], truth: NDArray[np.uint8], spacing: Sequence[float]
) -> list[Score]:
    """Returns the scores of a prediction in every region and metric.

    Args:
        problem: Metrics, and the dataset with its regions and its policy for empty ones.
        prediction: (X, Y, Z) label map.
        truth: (X, Y, Z) label map.
        spacing: Voxel size in mm along X, Y, Z.
    """
    dataset = problem.dataset
    policy = empty_policy(dataset.empty_policy)
    return score_case(prediction, truth, dataset.regions, spacing, policy, problem.metrics)


def score_rows(problem: Problem, name: str, scores: list[Score]) -> list[dict[str, object]]:
    """Returns a case's scores as rows of the cell's result."""
    spec = problem.spec
    place = {
        "dataset": spec.dataset,
        "model": spec.model,
        "leading": spec.leading,
        "fold": spec.fold,
        "seed": spec.seed,
        "patient": problem.reader.patient(name),
        "case": name,
    }
    if problem.is_incomplete:
        absent = absent_channels(problem.dataset, problem.reader, name)
        place["modalities"] = pattern(problem.dataset.modalities, absent)
    return [{**place, **asdict(score)} for score in scores]


def _overlay(dataset: Dataset, case: Case, prediction: NDArray[np.uint8], name: str) -> Overlay:
    axis = dataset.slice_axis
    index = choose_slice(case.label, axis)
    names = tuple(dataset.labels[value] for value in sorted(dataset.labels))
    return Overlay.cut(case.images, case.label, prediction, case.spacing, dataset.modalities, names, name, index, axis)
