"""Tests a trained cell: predictions on the native grid, scores, floors, and one slice to look at."""

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.execution.background import Background
from harness.execution.cell.problem import Problem
from harness.execution.cell.scoring import CaseTest, TestedCase
from harness.results.empty_cases import MASKS_FILE
from harness.results.overlay import write_slices
from harness.results.records import Timing


def test_cases(
    problem: Problem,
    predict: Callable[[str], NDArray[np.uint8]],
    result: Path,
    background: Callable[[CaseTest], Background[NDArray[np.uint8], TestedCase]],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Segments and scores every test case; writes predictions, what the report shows of them, and the latency.

    Args:
        problem: Data and split.
        predict: Name of a case to its label map (X, Y, Z).
        result: Folder of the result.
        background: Does the scoring, perhaps in other processes while the next case is predicted.

    Returns:
        Rows of scores, and rows of what trivial methods score.
    """
    cases = problem.split.test
    (result / "predictions").mkdir()
    seconds: list[float] = []

    def predictions() -> Iterator[tuple[str, NDArray[np.uint8]]]:
        for name in cases:
            began = time.monotonic()
            prediction = predict(name)
            seconds.append(time.monotonic() - began)
            yield name, prediction

    tested: list[TestedCase] = []
    with background(CaseTest(problem.scorer, result, cases[len(cases) // 2])) as scoring:
        for one in scoring.map(predictions(), len(cases)):
            tested.append(one)
            for reason in one.failures:
                print(f"{one.name} counts as worst: {reason}", flush=True)
    pd.DataFrame([row for one in tested for row in one.masks]).to_parquet(result / MASKS_FILE, index=False)
    write_slices(result / "slices.npz", {one.name: one.overlay for one in tested})
    Timing(latency_seconds=statistics.median(seconds)).write(result / "testing.json")
    scores = [row for one in tested for row in one.scores]
    return pd.DataFrame(scores), pd.DataFrame([row for one in tested for row in one.floors])
