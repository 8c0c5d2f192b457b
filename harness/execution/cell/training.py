"""Trains a network by the harness's own loop, or takes imported weights as they are."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from harness.data.batches.augmentation import transforms_of
from harness.data.batches.batches import TrainingBatches
from harness.data.batches.patient_masks import take_away
from harness.data.incomplete import count_patterns
from harness.data.preparation.cache import PreparedCase
from harness.data.preparation.normalisation import Normaliser
from harness.data.preparation.prepare import prepare
from harness.data.settings import AugmentationSettings
from harness.errors import HarnessError
from harness.execution.cell.problem import Problem, Trained, open_problem
from harness.execution.cell.reporter import Reporter
from harness.execution.cell.weights import load_weights, read_filling, save_weights
from harness.inference.native_grid import segment_native
from harness.randomness import derive
from harness.recording.recorder import Recorder
from harness.results.store import CellFolder
from harness.study.cell import CellSpec
from harness.training.augmentation_path import PER_PATCH, AugmentationPath, choose_augmentation
from harness.training.checkpoint import Checkpoints
from harness.training.determinism import explain_nondeterministic_ops, set_determinism
from harness.training.device import Precision, spare_cores
from harness.training.loop import Epoch, Hooks, Trainer
from harness.training.modality_fill import Filling, FillsAbsent, filling_for
from harness.training.ranks import JoinRanks, Ranks
from harness.training.step_mode import ON_CUDA, Recording
from harness.training.validation import RegionDice, Validation, validate_on_patches, validation_of, validation_scores


@dataclass(frozen=True)
class _Data:
    """Prepared cases of each part of the split, and how their values are normalised."""

    parts: Mapping[str, list[PreparedCase]]
    normaliser: Normaliser


@dataclass(frozen=True)
class _Windows:
    """What stands for the network in evaluation mode, from recordings; None where the network itself does its work.

    Attributes:
        of_cases: For windows of whole cases, in validation and test.
        of_patches: For patches of validation cases.
    """

    of_cases: nn.Module | None
    of_patches: nn.Module | None

    @classmethod
    def choose(
        cls, problem: Problem, network: nn.Module, device: torch.device, recording: Recording, ranks: int = 1
    ) -> Self:
        """Records nothing yet."""
        protocol = problem.spec.protocol
        sizes = protocol.inference.batch_size, protocol.sampling.batch_size
        return cls(*(recording.of_windows(network, protocol.training, device, size, ranks) for size in sizes))


def train_network(
    problem: Problem,
    folder: CellFolder,
    cache: Path,
    device: torch.device,
    reporter: Reporter,
    should_stop: Callable[[], bool],
    accumulate: int = 1,
    join_ranks: JoinRanks = Ranks.alone,
    recording: Recording = ON_CUDA,
    augments_on: str = "cuda",
) -> Trained:
    """Prepares the data, trains, and returns what tests need.

    Args:
        problem: Data, split and task of the cell.
        folder: Folder of the cell.
        cache: Folder of prepared data.
        device: Device to train on; with several processes that of the main one.
        reporter: Records the progress.
        should_stop: Asked after every training step.
        accumulate: Parts a batch is cut into.
        join_ranks: Joins the processes that train together, each on its part of every batch; the others read the data
            that is prepared by then.
        recording: What may be recorded.
        augments_on: Kind of device that augments batches.

    Raises:
        HarnessError: Something the user can put right.
        Interrupted: ``should_stop`` said so.
    """
    spec, protocol = problem.spec, problem.spec.protocol
    reporter.say("preparing data")
    data = _load(problem, cache, reporter.say)
    history: list[Epoch] = []
    size, step, augmentation = 1, "eager", PER_PATCH
    if spec.weights_file is not None:
        reporter.say("loading weights")
        network = _imported(problem, spec.weights_file).to(device)
        windows = _Windows.choose(problem, network, device, recording)
    else:
        network = _build(problem, data, "init").to(device)
        with join_ranks() as ranks:
            size = ranks.size
            recorder = recording.of_steps(protocol.training, device, size)
            step = "eager" if recorder is None else "recorded"
            windows = _Windows.choose(problem, network, device, recording, size)
            hooks = _hooks(problem, data, device, reporter, should_stop, windows)
            augmentation = _augmentation(problem, device, folder, ranks, augments_on)
            trainer = _trainer(problem, network, data, device, folder, hooks, accumulate, ranks, augmentation, recorder)
            reporter.begin(trainer.total_steps)
            history = trainer.run()
    tests = {case.name: case for case in data.parts["test"]}
    precision = Precision.choose(device, protocol.training, problem.task.spatial_dims)

    def predict(name: str) -> NDArray[np.uint8]:
        with precision.autocast(), explain_nondeterministic_ops(network):
            seen = windows.of_cases or network
            return segment_native(seen, tests[name], data.normaliser, protocol.patch_size, protocol.inference, device)

    parameters = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    return Trained(
        predict,
        lambda path: save_weights(network, Path(path), data.normaliser, data.parts["train"]),
        history,
        parameters,
        size,
        step,
        augmentation,
        count_patterns(problem.dataset.modalities, (case.absent for case in data.parts["train"])) if history else {},
    )


def train_for_validation(
    problem: Problem,
    folder: CellFolder,
    cache: Path,
    device: torch.device,
    reporter: Reporter,
    should_stop: Callable[[], bool],
    accumulate: int = 1,
    until: int | None = None,
    recording: Recording = ON_CUDA,
) -> tuple[list[Epoch], list[RegionDice]]:
    """Trains as :func:`train_network` does, to the end or until an epoch, and never opens a test case.

    Returns:
        One entry per epoch, and the validation scores of the weights that would be tested if training ended here.

    Raises:
        HarnessError: Something the user can put right.
        Interrupted: ``should_stop`` said so.
    """
    if problem.spec.protocol.sampling.cases == "training_and_validation":
        raise HarnessError(
            "The protocol trains on the validation cases, so nothing can be chosen by them.",
            hint="Set `sampling: {cases: training}` for tuning and for choosing the leading modality.",
        )
    reporter.say("preparing data")
    data = _load(problem, cache, reporter.say, ("train", "val"))
    network = _build(problem, data, "init").to(device)
    recorder = recording.of_steps(problem.spec.protocol.training, device)
    windows = _Windows.choose(problem, network, device, recording)
    hooks = _hooks(problem, data, device, reporter, should_stop, windows)
    ranks = Ranks()
    augmentation = _augmentation(problem, device, folder, ranks)
    trainer = _trainer(problem, network, data, device, folder, hooks, accumulate, ranks, augmentation, recorder)
    reporter.begin(trainer.total_steps)
    history = trainer.run(until)
    precision = Precision.choose(device, problem.spec.protocol.training, problem.task.spatial_dims)
    with precision.autocast(), explain_nondeterministic_ops(network):
        return history, _validate(problem, data, windows.of_cases or network, device)


def train_rank(
    spec: CellSpec,
    folder: CellFolder,
    cache: Path,
    device: torch.device,
    ranks: Ranks,
    accumulate: int,
    should_stop: Callable[[], bool],
) -> None:
    """Trains with the first process of a cell, which validates and writes.

    Raises:
        Interrupted: One of the processes was asked to stop.
    """
    set_determinism(spec.protocol.training.determinism, device)
    problem = open_problem(spec)
    data = _load(problem, cache, lambda _: None)
    network = _build(problem, data, "init").to(device)
    hooks = Hooks(
        validate=lambda _network, _epoch: Validation(math.nan, dead=False),
        fresh_weights=lambda: _build(problem, data, "restart").state_dict(),
        on_step=lambda _: None,
        on_epoch=lambda _: None,
        should_stop=should_stop,
    )
    augmentation = _augmentation(problem, device, folder, ranks)
    _trainer(problem, network, data, device, folder, hooks, accumulate, ranks, augmentation).run()


def _hooks(
    problem: Problem,
    data: _Data,
    device: torch.device,
    reporter: Reporter,
    should_stop: Callable[[], bool],
    windows: _Windows,
) -> Hooks:
    return Hooks(
        validate=_validation(problem, data, device, windows),
        fresh_weights=lambda: _build(problem, data, "restart").state_dict(),
        on_step=reporter.on_step,
        on_epoch=reporter.on_epoch,
        should_stop=should_stop,
    )


def _validation(
    problem: Problem, data: _Data, device: torch.device, windows: _Windows
) -> Callable[[nn.Module, int], Validation]:
    """Returns the validation that the protocol asks for, of the network after an epoch (1-based).

    Args:
        problem: Data, split and task of the cell.
        data: Prepared cases.
        device: Device of the network.
        windows: What stands for the network.
    """
    protocol, seed = problem.spec.protocol, derive(problem.spec.seed, "validation")
    if protocol.sampling.cases == "training_and_validation":
        return lambda _network, _epoch: Validation(math.nan, dead=False)
    if protocol.training.validate_on == "cases":
        return lambda network, _: validation_of(_validate(problem, data, windows.of_cases or network, device))
    count = protocol.training.validation_batches
    sampling = protocol.sampling.model_copy(update={"modality_dropout": None})
    batches = TrainingBatches(
        data.parts["val"], data.normaliser, protocol.patch_size, sampling, AugmentationSettings(), seed
    )

    def on_patches(network: nn.Module, epoch: int) -> Validation:
        steps = range(epoch * count, (epoch + 1) * count)
        seen = windows.of_patches or network
        return validate_on_patches(seen, (batches[step] for step in steps), problem.task.out_channels, device)

    return on_patches


def _validate(problem: Problem, data: _Data, network: nn.Module, device: torch.device) -> list[RegionDice]:
    protocol = problem.spec.protocol
    return validation_scores(
        network,
        data.parts["val"],
        problem.dataset.regions,
        data.normaliser,
        protocol.patch_size,
        protocol.inference,
        device,
    )


def _load(
    problem: Problem, cache: Path, say: Callable[[str], None], wanted: Sequence[str] = ("train", "val", "test")
) -> _Data:
    """Prepares the cases of the parts of the split, with as many processes as the cell may use threads."""
    protocol = problem.spec.protocol
    parts = {part: names for part, names in asdict(problem.split).items() if part in wanted}
    cases = prepare(
        problem.dataset,
        problem.reader,
        [name for names in parts.values() for name in names],
        protocol.preparation,
        protocol.patch_size,
        cache,
        lambda done, total: say(f"preparing data: {done} of {total} cases"),
        torch.get_num_threads(),
    )
    by_name = {case.name: case for case in cases}
    prepared = {part: [by_name[name] for name in names] for part, names in parts.items()}
    if protocol.sampling.cases == "training_and_validation":
        prepared["train"] = [*prepared["train"], *prepared["val"]]
    rates = protocol.sampling.missing_rates
    prepared["train"] = take_away(prepared["train"], rates, problem.dataset.modalities, problem.spec.seed)
    return _Data(
        prepared,
        Normaliser.fit(problem.dataset.normalisations, prepared["train"], protocol.preparation.normalisation_mask),
    )


def _build(problem: Problem, data: _Data, purpose: str) -> nn.Module:
    """Returns the network to be trained; where modalities may be absent, with what stands for them."""
    torch.manual_seed(derive(problem.spec.seed, purpose))
    network = problem.segmenter.build(problem.task, problem.options)
    if problem.fill is None:
        return network
    return FillsAbsent(network, filling_for(problem.fill, data.normaliser, data.parts["train"]))


def _imported(problem: Problem, weights: Path) -> nn.Module:
    """Returns a network with weights that somebody else trained, with what stood for absent modalities if any did."""
    network = problem.segmenter.build(problem.task, problem.options)
    load_weights(network, weights)
    filling = read_filling(weights)
    if filling is None and problem.is_incomplete:
        filling = Filling.zeros(len(problem.dataset.modalities))
    return network if filling is None else FillsAbsent(network, filling).eval()


def _trainer(
    problem: Problem,
    network: nn.Module,
    data: _Data,
    device: torch.device,
    folder: CellFolder,
    hooks: Hooks,
    accumulate: int,
    ranks: Ranks,
    augmentation: AugmentationPath,
    recorder: Recorder | None = None,
) -> Trainer:
    protocol, seed = problem.spec.protocol, problem.spec.seed
    batches = TrainingBatches(
        data.parts["train"],
        data.normaliser,
        protocol.patch_size,
        protocol.sampling,
        protocol.augmentation,
        seed,
        ranks.local_batch_indices(protocol.sampling.batch_size),
    )
    return Trainer(
        network,
        batches,
        protocol.training,
        Precision.choose(device, protocol.training, problem.task.spatial_dims),
        Checkpoints(folder.work),
        seed,
        _loader_workers(protocol.sampling.workers, device),
        hooks,
        accumulate,
        ranks,
        recorder,
        augmentation.where == "gpu",
    )


def _augmentation(
    problem: Problem, device: torch.device, folder: CellFolder, ranks: Ranks, augments_on: str = "cuda"
) -> AugmentationPath:
    """Returns where batches are augmented: where they were, if a training goes on. An obstacle goes into the log."""
    protocol = problem.spec.protocol
    continued = folder.work if Checkpoints(folder.work).exist() else None
    transforms = transforms_of(protocol.augmentation, protocol.patch_size)
    chosen = choose_augmentation(protocol.augmentation, transforms, device, continued, augments_on)
    if ranks.is_main:
        if chosen.obstacle:
            print(f"Batches are augmented on the CPU: {chosen.obstacle}.")
        if protocol.augmentation.device == "auto":
            chosen.keep(folder.work)
    return chosen


def _loader_workers(wanted: int | None, device: torch.device) -> int:
    """Returns how many processes make batches; no number depends on it."""
    if wanted is not None:
        return wanted
    return min(8, max(1, spare_cores(device))) if device.type == "cuda" else 0
