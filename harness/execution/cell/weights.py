"""The weights of a finished cell, with what a prediction needs besides.

That is how intensities are normalised, what stood for absent modalities where a training dropped some, and which voxel
sizes the training saw.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model
from torch import nn

from harness.data.preparation.cache import PreparedCase
from harness.data.preparation.normalisation import Normaliser
from harness.errors import HarnessError
from harness.training.modality_fill import Filling, FillsAbsent

T = TypeVar("T")

#: Least and greatest voxel size in mm along right, anterior and superior.
SpacingRange = tuple[tuple[float, float, float], tuple[float, float, float]]

_KEY, _FILLING, _SPACING = "normaliser", "absent_modalities", "training_spacing"


def save_weights(network: nn.Module, path: Path, normaliser: Normaliser, training: Sequence[PreparedCase] = ()) -> None:
    """Writes the weights; those that several names share (nnU-Net's encoder stands in its decoder too) once.

    What fills absent modalities is written beside them: the weights keep the names they have without it.

    Args:
        network: Trained network.
        path: File to write.
        normaliser: Normaliser fitted on the training cases.
        training: Training cases, whose voxel sizes are noted.
    """
    facts = {_KEY: json.dumps(normaliser.to_json())}
    if training:
        along = list(zip(*(case.geometry.spacing for case in training), strict=True))
        facts[_SPACING] = json.dumps([list(map(min, along)), list(map(max, along))])
    if isinstance(network, FillsAbsent):
        facts[_FILLING] = json.dumps(asdict(network.filling))
        network = network.network
    network.to(memory_format=torch.contiguous_format)
    save_model(network, str(path), facts)


def load_weights(network: nn.Module, path: Path) -> None:
    """Puts weights into a network and sets it to evaluation mode.

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


def read_normaliser(path: Path) -> Normaliser | None:
    """Returns how the training normalised, or None where the file does not say (weights of an older version).

    Raises:
        HarnessError: The file cannot be read.
    """
    return _read(path, _KEY, Normaliser.from_json)


def read_filling(path: Path) -> Filling | None:
    """Returns what filled absent modalities, or None for weights of a training that dropped none.

    Raises:
        HarnessError: The file cannot be read.
    """
    return _read(path, _FILLING, TypeAdapter(Filling).validate_python)


def read_training_spacing(path: Path) -> SpacingRange | None:
    """Returns which voxel sizes the training cases had, or None where the file does not say (of an older version).

    Raises:
        HarnessError: The file cannot be read.
    """
    return _read(path, _SPACING, TypeAdapter(SpacingRange).validate_python)


def _read(path: Path, key: str, parse: Callable[[Any], T]) -> T | None:
    try:
        with safe_open(str(path), framework="pt") as file:
            stored = (file.metadata() or {}).get(key)
        return None if stored is None else parse(json.loads(stored))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise HarnessError(f"The weights {path} cannot be read: {error}", hint="Run the cell again.") from error
