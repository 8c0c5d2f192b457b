"""Runs one cell from data to result. Any engine calls this, in a process of the cell's own."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from harness.errors import HarnessError
from harness.execution.background import Background
from harness.execution.cell.problem import Problem, Trained, open_problem
from harness.execution.cell.reporter import Reporter
from harness.execution.cell.testing import test_cases
from harness.execution.cell.training import train_for_validation, train_network
from harness.results.provenance import utc_now
from harness.results.records import HistoryRow, RungScore, RungScores, TrialSummary
from harness.results.store import CellFolder
from harness.segmenters.external import ExternalCase, ExternalEpoch, ExternalProblem
from harness.segmenters.kept_sizes import size_of
from harness.study.cell import CellSpec
from harness.training.augmentation_path import check_augmentation
from harness.training.determinism import set_determinism
from harness.training.device import choose_device, spare_cores
from harness.training.energy import EnergyMeter
from harness.training.loop import Epoch, Interrupted
from harness.training.ranks import JoinRanks, Ranks
from harness.training.step_mode import ON_CUDA, Recording
from harness.training.validation import validation_dice


def run_cell(
    spec: CellSpec,
    folder: CellFolder,
    cache: Path,
    device: str | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    join_ranks: JoinRanks = Ranks.alone,
    accumulate: int = 1,
    recording: Recording = ON_CUDA,
    augments_on: str = "cuda",
) -> None:
    """Trains, tests and scores one cell and writes its result.

    Args:
        spec: Cell to compute.
        folder: Folder of the cell; an interrupted training found there is continued.
        cache: Folder of prepared data.
        device: Torch device; default: CUDA if there is any, else the CPU.
        should_stop: Asked after every training step and before every test case.
        join_ranks: Joins the processes that train together once the data is prepared; frameworks that train by
            themselves use one.
        accumulate: Parts a training batch is cut into, where the whole did not fit in GPU memory.
        recording: What may be recorded.
        augments_on: Kind of device that augments batches.

    Raises:
        HarnessError: Something the user can put right.
        Interrupted: ``should_stop`` said so.
    """
    started, began = utc_now(), time.monotonic()
    where = choose_device(device)
    meter = EnergyMeter(where)
    problem, reporter = _open(spec, folder, where, accumulate, augments_on)
    if problem.segmenter.runner:
        trained = _train_external(problem, folder, where, reporter, should_stop)
    else:
        trained = train_network(
            problem, folder, cache, where, reporter, should_stop, accumulate, join_ranks, recording, augments_on
        )
    reporter.say("testing")

    def check() -> None:
        if should_stop():  # the weights of the last step are kept: testing begins again with them
            raise Interrupted

    def predict(name: str) -> NDArray[np.uint8]:
        check()
        return trained.predict(name)

    with folder.writing_result() as result:
        scores, floors = test_cases(problem, predict, result, lambda work: Background(work, spare_cores(where), check))
        _write_tables(result, trained.history, scores, floors)
        trained.save_weights(str(result / "weights.safetensors"))
        gflops = size_of(problem.segmenter, problem.task, problem.options).gflops
        reporter.summarise(result, trained, gflops, where, started, began, meter.wh())
    reporter.say("done")


def run_trial(
    spec: CellSpec,
    folder: CellFolder,
    cache: Path,
    device: str | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    accumulate: int = 1,
    recording: Recording = ON_CUDA,
) -> None:
    """Trains a cell and writes its validation Dice; its test cases are never opened.

    Args:
        spec: Cell to train.
        folder: Folder of the cell; an interrupted training found there is continued.
        cache: Folder of prepared data.
        device: Torch device; default: CUDA if there is any, else the CPU.
        should_stop: Asked after every training step.
        accumulate: Parts a training batch is cut into.
        recording: What may be recorded.

    Raises:
        HarnessError: Something the user can put right.
        Interrupted: ``should_stop`` said so.
    """
    where = choose_device(device)
    problem, reporter = _open(spec, folder, where, accumulate)
    history, scores = train_for_validation(
        problem, folder, cache, where, reporter, should_stop, accumulate, recording=recording
    )
    with folder.writing_result() as result:
        validated = [one for one in history if not math.isnan(one.val_dice)]
        epochs = tuple(HistoryRow(epoch=one.epoch, val_dice=one.val_dice) for one in validated)
        summary = TrialSummary(cell=spec.id, val_dice=validation_dice(scores), history=epochs)
        summary.write(result / "summary.json")
    reporter.say("done")


def run_rung(
    spec: CellSpec,
    folder: CellFolder,
    cache: Path,
    until: int,
    device: str | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    accumulate: int = 1,
    recording: Recording = ON_CUDA,
) -> None:
    """Trains a cell until an epoch and writes its validation scores there; its test cases are never opened.

    The checkpoint stays, so that a later call with a later epoch goes on from it.

    Args:
        spec: Cell to train.
        folder: Folder of the cell; an interrupted training found there is continued.
        cache: Folder of prepared data.
        until: Epoch to stop after.
        device: Torch device; default: CUDA if there is any, else the CPU.
        should_stop: Asked after every training step.
        accumulate: Parts a training batch is cut into.
        recording: What may be recorded.

    Raises:
        HarnessError: Something the user can put right.
        Interrupted: ``should_stop`` said so.
    """
    where = choose_device(device)
    problem, reporter = _open(spec, folder, where, accumulate)
    history, scores = train_for_validation(
        problem, folder, cache, where, reporter, should_stop, accumulate, until, recording
    )
    rows = tuple(RungScore(**asdict(score), patient=problem.reader.patient(score.case)) for score in scores)
    losses = tuple(HistoryRow(epoch=one.epoch, loss=one.loss, seconds=one.seconds) for one in history)
    folder.write_rung(RungScores(cell=spec.id, epoch=until, scores=rows, history=losses))
    reporter.say("waiting")


def _train_external(
    problem: Problem, folder: CellFolder, device: torch.device, reporter: Reporter, should_stop: Callable[[], bool]
) -> Trained:
    """Lets a framework that trains and predicts by itself train on the cell's split; returns what tests need."""
    training = problem.spec.protocol.training
    withheld = frozenset(problem.split.test)

    def load(name: str) -> ExternalCase:
        case = problem.reader.load(name)
        return ExternalCase(case.images, None if name in withheld else case.label, case.affine)

    def on_epoch(history: list[ExternalEpoch]) -> None:
        reporter.on_step(len(history) * training.steps_per_epoch)
        reporter.on_epoch(_epochs_of(history, training.steps_per_epoch))

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

    weights = {name: tensor.contiguous().clone() for name, tensor in result.weights.items()}
    history = _epochs_of(list(result.history), training.steps_per_epoch)
    return Trained(result.predict, lambda path: save_file(weights, path), history, result.parameters)


def _epochs_of(history: list[ExternalEpoch], steps: int) -> list[Epoch]:
    return [
        Epoch(number, number * steps, one.loss, one.val_dice, one.lr, one.seconds)
        for number, one in enumerate(history, start=1)
    ]


def _open(
    spec: CellSpec, folder: CellFolder, device: torch.device, accumulate: int, augments_on: str = "cuda"
) -> tuple[Problem, Reporter]:
    check_augmentation(spec.protocol.augmentation, device, augments_on)  # before hours of preparing data
    set_determinism(spec.protocol.training.determinism, device)
    return open_problem(spec).scored_by(folder.wanted_metrics()), Reporter(folder, spec, accumulate)


def _write_tables(result: Path, history: Sequence[Epoch], scores: pd.DataFrame, floors: pd.DataFrame) -> None:
    if not np.isfinite(scores["value"]).all():
        raise HarnessError("A metric is not finite.", hint="Please report this: every case must have a value.")
    scores.to_parquet(result / "cases.parquet", index=False)
    pd.DataFrame([asdict(epoch) for epoch in history], columns=[one.name for one in fields(Epoch)]).to_parquet(
        result / "history.parquet", index=False
    )
    if floors.empty:
        floors = pd.DataFrame(columns=[*scores.columns, "floor"])
    floors.to_parquet(result / "floors.parquet", index=False)
