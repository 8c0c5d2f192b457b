"""Frameworks that train and predict by themselves (nnU-Net as a whole), scored like any network.

A segmenter that names a ``runner`` receives the cases of the split instead of batches, and returns label maps.
Data, split, scoring and the store stay the harness's; test labels never leave it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.segmenters.contract import Options, Task

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ExternalCase:
    """One case on its native grid.

    Attributes:
        images: (M, X, Y, Z) float32, intensities as in the files.
        label: (X, Y, Z) uint8; None for a test case.
        affine: (4, 4) voxel index to RAS mm.
    """

    images: NDArray[np.float32]
    label: NDArray[np.uint8] | None
    affine: NDArray[np.float64]


@dataclass(frozen=True)
class ExternalEpoch:
    """One epoch of the framework's own training.

    Attributes:
        loss: Mean training loss.
        val_dice: The framework's own validation score; NaN where it has none.
        lr: Learning rate.
        seconds: Wall time.
    """

    loss: float
    val_dice: float
    lr: float
    seconds: float


@dataclass(frozen=True)
class ExternalProblem:
    """A training and prediction task for an external framework.

    Attributes:
        task: Modalities, number of classes; the patch size is the protocol's, the framework may plan its own.
        labels: Label value to name, background included.
        slice_axis: Voxel axis along which two-dimensional networks cut slices.
        train: Names of the training cases.
        val: Names of the validation cases.
        test: Names of the test cases.
        load: Reads a case; labels of test cases are withheld.
        folder: Folder of the framework's files; an interrupted run continues from them.
        epochs: Epochs, from the protocol.
        steps_per_epoch: Steps per epoch, from the protocol.
        seed: The cell's seed.
        device: Device to train on.
        on_epoch: Call it after each epoch with the history so far.
        should_stop: Call it after each epoch; where it returns an exception, save and raise that exception.
    """

    task: Task
    labels: Mapping[int, str]
    slice_axis: int
    train: Sequence[str]
    val: Sequence[str]
    test: Sequence[str]
    load: Callable[[str], ExternalCase]
    folder: Path
    epochs: int
    steps_per_epoch: int
    seed: int
    device: torch.device
    on_epoch: Callable[[list[ExternalEpoch]], None]
    should_stop: Callable[[], Exception | None]


@dataclass(frozen=True)
class ExternalResult:
    """Result of an external framework.

    Attributes:
        predict: Name of a test case to its label map (X, Y, Z) uint8 on the native grid.
        parameters: Trainable parameters of the network it planned.
        weights: Weights of the trained network.
        history: One entry per epoch.
    """

    predict: Callable[[str], NDArray[np.uint8]]
    parameters: int
    weights: Mapping[str, torch.Tensor]
    history: Sequence[ExternalEpoch]


#: ``runner`` of a :class:`harness.segmenters.contract.Segmenter`.
Runner = Callable[[ExternalProblem, Options], ExternalResult]
