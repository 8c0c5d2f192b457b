"""Trains a network by the harness's own loop, or takes imported weights as they are."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from harness.data.batches import TrainingBatches
from harness.data.cache import PreparedCase
from harness.data.contract import Case
from harness.data.normalisation import Normaliser
from harness.data.prepare import prepare
from harness.errors import HarnessError
from harness.execution.problem import Problem, Trained
from harness.execution.reporter import Reporter
from harness.inference.native_grid import segment_native
from harness.randomness import derive
from harness.results.store import CellFolder
from harness.training.checkpoint import Checkpoints
from harness.training.device import Arithmetic
from harness.training.loop import Epoch, Hooks, Trainer
from harness.training.validation import validation_dice

__all__ = ["train_network"]


def train_network(
    problem: Problem,
    folder: CellFolder,
    cache: Path,
    device: torch.device,
    reporter: Reporter,
    should_stop: Callable[[], bool],
) -> Trained:
    """Prepares the data, trains, and returns what tests need.

    Raises:
        HarnessError: Something the user can put right.
        Interrupted: ``should_stop`` said so.
    """
    spec, protocol = problem.spec, problem.spec.protocol
    reporter.say("preparing data")
    prepared = _prepare(problem, cache, reporter)
    normaliser = Normaliser.fit(problem.dataset.normalisations, prepared["train"])
    network = _build(problem, "init").to(device)
    history: list[Epoch] = []
    if spec.weights_file is not None:
        reporter.say("loading weights")
        _load_weights(network, spec.weights_file)
    else:
        history = _train(problem, network, prepared, normaliser, device, folder, reporter, should_stop)
    tests = {case.name: case for case in prepared["test"]}
    arithmetic = Arithmetic.choose(device, protocol.training, problem.task.spatial_dims)

    def predict(name: str, case: Case) -> NDArray[np.uint8]:
        del case
        with arithmetic.autocast():
            return segment_native(network, tests[name], normaliser, protocol.patch_size, protocol.inference, device)

    parameters = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    return Trained(predict, lambda path: _save_weights(network, path), history, parameters)


def _prepare(problem: Problem, cache: Path, reporter: Reporter) -> dict[str, list[PreparedCase]]:
    """Prepares training, validation and test cases, with as many processes as the cell may use threads."""
    protocol, parts = problem.spec.protocol, asdict(problem.split)
    cases = prepare(
        problem.dataset,
        problem.reader,
        [name for names in parts.values() for name in names],
        protocol.preparation,
        protocol.patch_size,
        cache,
        lambda done, total: reporter.say(f"preparing data: {done} of {total} cases"),
        torch.get_num_threads(),
    )
    by_name = {case.name: case for case in cases}
    return {part: [by_name[name] for name in names] for part, names in parts.items()}


def _build(problem: Problem, purpose: str) -> nn.Module:
    torch.manual_seed(derive(problem.spec.seed, purpose))
    return problem.segmenter.build(problem.task, problem.options)


def _train(
    problem: Problem,
    network: nn.Module,
    prepared: dict[str, list[PreparedCase]],
    normaliser: Normaliser,
    device: torch.device,
    folder: CellFolder,
    reporter: Reporter,
    should_stop: Callable[[], bool],
) -> list[Epoch]:
    spec, protocol = problem.spec, problem.spec.protocol
    batches = TrainingBatches(
        prepared["train"], normaliser, protocol.patch_size, protocol.sampling, protocol.augmentation, spec.seed
    )

    def validate(current: nn.Module) -> float:
        return validation_dice(
            current,
            prepared["val"],
            problem.dataset.regions,
            normaliser,
            protocol.patch_size,
            protocol.inference,
            device,
        )

    trainer = Trainer(
        network,
        batches,
        protocol.training,
        Arithmetic.choose(device, protocol.training, problem.task.spatial_dims),
        Checkpoints(folder.work),
        spec.seed,
        _loader_workers(protocol.sampling.workers, device),
        Hooks(
            validate=validate,
            fresh_weights=lambda: _build(problem, "restart").state_dict(),
            on_step=reporter.on_step,
            on_epoch=reporter.on_epoch,
            should_stop=should_stop,
        ),
    )
    reporter.begin(trainer.total_steps)
    return trainer.run()


def _loader_workers(wanted: int | None, device: torch.device) -> int:
    if wanted is not None:
        return wanted
    if device.type != "cuda":
        return 0  # the cores are busy with the network itself
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, max(1, cores // max(torch.cuda.device_count(), 1) - 1))


def _load_weights(network: nn.Module, path: Path) -> None:
    """Puts imported weights into the network that is tested.

    Raises:
        HarnessError: They are another network's, or of another task.
    """
    try:
        load_model(network, str(path))
    except (OSError, RuntimeError, SafetensorError) as error:
        first_lines = " ".join(str(error).split()[:60])
        raise HarnessError(
            f"The weights {path} do not fit: {first_lines}",
            hint="Options, modalities, classes and patch size must be those the weights were trained with.",
        ) from error
    network.eval()


def _save_weights(network: nn.Module, path: str) -> None:
    """Writes the weights; those that several names share (nnU-Net's encoder stands in its decoder too) once."""
    network.to(memory_format=torch.contiguous_format)
    save_model(network, path)
