"""Pretrained starts: weights from a file the user gives. Nothing is ever downloaded."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file
from torch import Tensor, nn

from harness.errors import HarnessError, StudyError
from harness.segmenters.released import read_checkpoint


def wanted(pretrained: str) -> bool:
    """Returns whether the option names a file."""
    return pretrained != "none"


def read(path: Path) -> dict[str, Tensor]:
    """Reads named tensors from a file of torch, of safetensors or of NumPy (``.npz``), without running code from it.

    Args:
        path: The file.

    Raises:
        StudyError: The file is absent, or holds anything else.
    """
    try:
        if path.suffix == ".safetensors":
            return {name: torch.from_numpy(array) for name, array in load_file(path).items()}
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in arrays}
        return read_checkpoint(path)
    except (OSError, ValueError, TypeError, LookupError, SafetensorError, HarnessError) as error:
        raise StudyError(
            f"pretrained: {path} cannot be read: {str(error).partition(chr(10))[0]}",
            hint="Give the path of a file with weights, or `none`.",
        ) from error


def load(network: nn.Module, weights: Mapping[str, Tensor], needed: set[str], what: str) -> None:
    """Loads pretrained weights into a network.

    Args:
        network: Network to initialise; its other parameters keep their initial values.
        weights: Names of the network's state dict to tensors.
        needed: Names that must be given.
        what: Description of the expected file for the message.

    Raises:
        StudyError: A needed tensor is absent, or one has another shape; the network is left as it was.
    """
    expected = network.state_dict()
    wrong = [name for name in sorted(needed) if name not in weights or weights[name].shape != expected[name].shape]
    if wrong:
        raise StudyError(
            f"pretrained: the file does not hold {what} for this network; {len(wrong)} tensors are absent or have "
            f"another shape, e.g. {wrong[0]}.",
            hint="Keep the paper's widths, depths and heads, or set `pretrained: none`.",
        )
    network.load_state_dict({name: tensor for name, tensor in weights.items() if name in needed}, strict=False)
