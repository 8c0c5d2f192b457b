"""Tests a finished cell on images that lack modalities, with the weights it has: nothing is trained.

Absent modalities are filled as the cell's training saw it, by zeros where it saw none absent, or as the user asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from harness.data.batches.patient_masks import take_away
from harness.data.preparation.cache import PreparedCase
from harness.data.preparation.normalisation import Normaliser
from harness.data.preparation.prepare import prepare
from harness.data.settings import Fill
from harness.errors import HarnessError
from harness.execution.background import Background
from harness.execution.cell.problem import Problem, open_problem
from harness.execution.cell.scoring import Rows, SubsetScorer
from harness.execution.cell.weights import load_weights, read_filling, read_normaliser
from harness.inference.native_grid import segment_native
from harness.results.provenance import code_version, package_versions, utc_now
from harness.results.records import Coverage, Progress, SubsetSummary
from harness.results.store import CellFolder
from harness.results.subsets import CellSubsets, Subset, in_words
from harness.results.tables import ROWS
from harness.segmenters import SEGMENTERS
from harness.study.cell import CellSpec
from harness.training.determinism import set_determinism
from harness.training.device import Precision, describe_device, spare_cores
from harness.training.loop import Interrupted
from harness.training.modality_fill import Filling, FillsAbsent, mean_images
from harness.training.step_mode import ON_CUDA, Recording


def trained_fill(cell: CellFolder) -> Fill:
    """Returns what stood for absent modalities in a cell's training; ``zeros`` where none was absent."""
    filling = read_filling(cell.result / "weights.safetensors")
    return "zeros" if filling is None else filling.kind


def refusal_reason(cell: CellFolder, fill: Fill | None) -> str:
    """Returns why a cell cannot be evaluated; empty where it can."""
    if (status := cell.status()) != "done":
        return f"not finished ({status})"
    try:
        spec = cell.spec()
    except ValueError:
        return "was computed by another version of the harness"
    if SEGMENTERS.get(spec.model).runner:
        return "trains and predicts by itself: it cannot be given fewer modalities"
    if len(spec.facts().modalities) < 2:
        return "has one modality"
    try:
        if fill == "token" and trained_fill(cell) != "token":
            return "was trained without a learned token"
    except HarnessError as error:
        return error.message
    return ""


@dataclass(frozen=True)
class Evaluation:
    """A cell made ready to be tested with fewer modalities.

    Attributes:
        problem: Data, split and task of the cell.
        network: Network with its weights and the filling, in evaluation mode.
        windows: What maps windows to logits: the network, or a recording of its pass.
        normaliser: The one of training.
        tests: Prepared test cases by name.
        device: Device of the network.
        precision: Precision of the training.
    """

    problem: Problem
    network: FillsAbsent
    windows: nn.Module
    normaliser: Normaliser
    tests: dict[str, PreparedCase]
    device: torch.device
    precision: Precision

    @classmethod
    def open(
        cls,
        cell: CellFolder,
        fill: Fill | None,
        cache: Path,
        device: torch.device,
        recording: Recording = ON_CUDA,
    ) -> Evaluation:
        """Prepares the test cases and loads the network.

        Args:
            cell: Finished cell.
            fill: What stands for absent modalities; default: as in training.
            cache: Folder of prepared data.
            device: Device to compute on.
            recording: What may be recorded.

        Raises:
            HarnessError: Data, packages or weights are not what they were, or the cell has no learned token.
        """
        spec, weights = cell.spec(), cell.result / "weights.safetensors"
        set_determinism(spec.protocol.training.determinism, device)
        problem = open_problem(spec).scored_by(cell.wanted_metrics())
        precision = Precision.choose(device, spec.protocol.training, problem.task.spatial_dims)
        normaliser = read_normaliser(weights)
        training = None
        if normaliser is None:  # weights of an older version
            training = _training(problem, cache)
            normaliser = Normaliser.fit(problem.dataset.normalisations, training)
        filling = read_filling(weights) or Filling.zeros(len(problem.dataset.modalities))
        if fill == "token" and filling.kind != "token":
            raise HarnessError(
                f"Cell {cell.id} was trained without a learned token.",
                hint="Fill by zeros or mean, or train with `sampling.modality_dropout: {fill: token}`.",
            )
        if fill == "zeros":
            filling = Filling.zeros(len(problem.dataset.modalities))
        elif fill == "mean" and filling.kind != "mean":
            filling = Filling("mean", mean_images(normaliser, training or _training(problem, cache)))
        network = problem.segmenter.build(problem.task, problem.options)
        load_weights(network, weights)
        filled = FillsAbsent(network, filling).to(device).eval()
        if not spec.weights:  # as training leaves it: the last bits depend on it
            precision.to_memory_format(filled)
        tests = {case.name: case for case in _prepared(problem, problem.split.test, cache)}
        protocol = spec.protocol
        windows = recording.of_windows(filled, protocol.training, device, protocol.inference.batch_size) or filled
        windows.eval()
        return cls(problem, filled, windows, normaliser, tests, device, precision)

    def test(
        self,
        present: Sequence[str],
        on_case: Callable[[int], None] = lambda _: None,
        scoring: Background[NDArray[np.uint8], Rows] | None = None,
    ) -> pd.DataFrame:
        """Segments and scores every test case with some of the modalities.

        A case that lacks modalities is given those of the subset that it has; one that has none of them is left out.

        Args:
            present: Modalities the network is given; with all of them the rows are those of the cell's own result.
            on_case: Called with the number of cases segmented.
            scoring: Scores the predictions; default: this process.

        Returns:
            Rows as in the cell's own result.
        """
        scoring = scoring or Background(self.scorer, 0)
        made = scoring.map(self._predictions(present, on_case), len(self.tests))
        return pd.DataFrame([row for rows in made for row in rows])

    @property
    def scorer(self) -> SubsetScorer:
        """Scores predictions of the test cases."""
        return SubsetScorer(self.problem.scorer)

    def _predictions(
        self, present: Sequence[str], on_case: Callable[[int], None]
    ) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """Yields the name and the label map (X, Y, Z) of every test case that has one of the modalities."""
        protocol, modalities = self.problem.spec.protocol, self.problem.dataset.modalities
        absent = [channel for channel, name in enumerate(modalities) if name not in present]
        for number, (name, prepared) in enumerate(self.tests.items()):
            on_case(number)
            if len({*absent, *prepared.absent}) == len(modalities):
                continue
            with self.precision.autocast():
                prediction = segment_native(
                    self.windows,
                    prepared,
                    self.normaliser,
                    protocol.patch_size,
                    protocol.inference,
                    self.device,
                    absent,
                )
            yield name, prediction
        on_case(len(self.tests))

    def coverage(self, present: Sequence[str]) -> Coverage | None:
        """Returns how many test cases a subset stands on; None where no test case lacks a modality."""
        if not any(case.absent for case in self.tests.values()):
            return None
        channels = {self.problem.dataset.modalities.index(name) for name in present}
        had = [channels - set(case.absent) for case in self.tests.values()]
        return Coverage(tested=sum(map(bool, had)), whole=had.count(channels), of=len(had))


def evaluate_subsets(
    cell: CellFolder,
    wanted: Sequence[tuple[str, ...]],
    fill: Fill | None,
    cache: Path,
    device: torch.device,
    should_stop: Callable[[], bool] = lambda: False,
    recording: Recording = ON_CUDA,
) -> None:
    """Computes and writes the subsets that have no result yet.

    Args:
        cell: Finished cell.
        wanted: Modalities present, in channel order.
        fill: What stands for the others; default: as in training.
        cache: Folder of prepared data.
        device: Device to compute on.
        should_stop: Asked before each case.
        recording: What may be recorded.

    Raises:
        HarnessError: The cell cannot be evaluated.
        Interrupted: ``should_stop`` said so; subsets that were finished are kept.
    """
    store = CellSubsets(cell)
    kind = fill or trained_fill(cell)
    missing = [subset for subset in (Subset(present, kind) for present in wanted) if not store.has(subset)]
    if not missing:
        return
    evaluation = Evaluation.open(cell, fill, cache, device, recording)
    total = len(evaluation.tests)

    def check() -> None:
        if should_stop():
            raise Interrupted

    with Background(evaluation.scorer, spare_cores(device), check) as scoring:
        for number, subset in enumerate(missing):
            began = time.monotonic()

            def on_case(done: int, number: int = number, subset: Subset = subset) -> None:
                check()
                cases, of = number * total + done, len(missing) * total
                store.write_progress(Progress(present=in_words(subset.present), cases=cases, of=of))

            rows = evaluation.test(subset.present, on_case, scoring)
            if rows.empty:  # no test case has one of these modalities
                rows = pd.read_parquet(cell.result / ROWS).iloc[:0]
            with store.writing(_summary(cell, evaluation, subset, time.monotonic() - began)) as path:
                rows.to_parquet(path, index=False)
    store.release_disk_space()


def _summary(cell: CellFolder, evaluation: Evaluation, subset: Subset, seconds: float) -> SubsetSummary:
    """Returns the facts of a subset that was computed."""
    return SubsetSummary(
        cell=cell.id,
        present=subset.present,
        fill=subset.fill,
        values=evaluation.network.filling.values,
        dropout=_dropout(evaluation.problem.spec, cell),
        default_leading=evaluation.problem.dataset.default_leading,
        device=describe_device(evaluation.device),
        seconds=seconds,
        commit=code_version(),
        packages=package_versions(),
        finished=utc_now(),
        **({"coverage": coverage} if (coverage := evaluation.coverage(subset.present)) else {}),
    )


def _dropout(spec: CellSpec, cell: CellFolder) -> dict[str, object] | None:
    """Returns how training dropped modalities; None where it did not. Of imported weights only the filling is known."""
    if spec.weights:
        filling = read_filling(cell.result / "weights.safetensors")
        return None if filling is None else {"p": None, "fill": filling.kind}
    sampling = spec.protocol.sampling
    rates = {name: rate for name, rate in sampling.missing_rates.items() if rate}
    if sampling.modality_dropout is None and not rates:
        return None
    p = None if sampling.modality_dropout is None else sampling.modality_dropout.p
    return {"p": p, "fill": sampling.fill, **({"per_patient": rates} if rates else {})}


def _training(problem: Problem, cache: Path) -> list[PreparedCase]:
    """Returns the training cases with the modalities they had in training."""
    rates = problem.spec.protocol.sampling.missing_rates
    cases = _prepared(problem, problem.split.train, cache)
    return take_away(cases, rates, problem.dataset.modalities, problem.spec.seed)


def _prepared(problem: Problem, names: Sequence[str], cache: Path) -> list[PreparedCase]:
    protocol = problem.spec.protocol
    return prepare(
        problem.dataset,
        problem.reader,
        names,
        protocol.preparation,
        protocol.patch_size,
        cache,
        workers=torch.get_num_threads(),
    )
