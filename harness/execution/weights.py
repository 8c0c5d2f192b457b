"""The weights of a finished cell, with what a prediction needs besides: how intensities are normalised."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model
from torch import nn

from harness.data.normalisation import Normaliser
from harness.errors import HarnessError

__all__ = ["load_weights", "read_normaliser", "save_weights"]

_KEY = "normaliser"


def save_weights(network: nn.Module, path: Path, normaliser: Normaliser) -> None:
    """Writes the weights; those that several names share (nnU-Net's encoder stands in its decoder too) once."""
    network.to(memory_format=torch.contiguous_format)
    save_model(network, str(path), {_KEY: json.dumps(normaliser.to_json())})


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
    try:
        with safe_open(str(path), framework="pt") as file:
            stored = (file.metadata() or {}).get(_KEY)
        return None if stored is None else Normaliser.from_json(json.loads(stored))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise HarnessError(f"The weights {path} cannot be read: {error}", hint="Run the cell again.") from error
