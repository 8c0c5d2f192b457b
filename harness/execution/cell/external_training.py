"""Hands a cell to a framework that trains and predicts by itself."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from harness.data.contract import Case
from harness.execution.cell.problem import Problem, Trained
from harness.execution.cell.reporter import Reporter
from harness.results.store import CellFolder
from harness.segmenters.external import ExternalCase, ExternalEpoch, ExternalProblem
from harness.training.loop import Epoch, Interrupted


def train_external(
    problem: Problem, folder: CellFolder, device: torch.device, reporter: Reporter, should_stop: Callable[[], bool]
) -> Trained:
    """Lets the segmenter's runner train on the cell's split and returns what tests need.

    Raises:
        HarnessError: Something the user can put right.
        Interrupted: ``should_stop`` said so.
    """
    training = problem.spec.protocol.training
    withheld = frozenset(problem.split.test)

    def load(name: str) -> ExternalCase:
        case = problem.reader.load(name)
        return ExternalCase(case.images, None if name in withheld else case.label, case.affine)

    def on_epoch(history: list[ExternalEpoch]) -> None:
        reporter.on_step(len(history) * training.steps_per_epoch)
        reporter.on_epoch(_epochs(history, training.steps_per_epoch))

    reporter.begin(training.epochs * training.steps_per_epoch)
    result = problem.segmenter.load_runner()(
        ExternalProblem(
            task=problem.task,
            labels=problem.dataset.labels,
            slice_axis=problem.dataset.slice_axis,
            train=problem.split.train,
            val=problem.split.val,
            test=problem.split.test,
            load=load,
            folder=folder.work / "external",
            epochs=training.epochs,
            steps_per_epoch=training.steps_per_epoch,
            seed=problem.spec.seed,
            device=device,
            on_epoch=on_epoch,
            should_stop=lambda: Interrupted() if should_stop() else None,
        ),
        problem.options,
    )

    def predict(name: str, case: Case) -> NDArray[np.uint8]:
        del case
        return result.predict(name)

    weights = {name: tensor.contiguous().clone() for name, tensor in result.weights.items()}
    history = _epochs(list(result.history), training.steps_per_epoch)
    return Trained(predict, lambda path: save_file(weights, path), history, result.parameters)


def _epochs(history: list[ExternalEpoch], steps: int) -> list[Epoch]:
    return [
        Epoch(number, number * steps, one.loss, one.val_dice, one.lr, one.seconds)
        for number, one in enumerate(history, start=1)
    ]
