"""Weights the authors released: read safely, translated to our names, checked entry by entry.

A segmenter that can take its authors' weights names a translator (``Segmenter.translator``).
The translator knows names and layouts; this module reads, checks, reports and loads.
"""

import pickle
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import HarnessError

#: Prefixes that trainers put in front of the network's own names.
_PREFIXES = ("module.", "model.")


@dataclass(frozen=True)
class Translation:
    """A released state dict in our names and layouts.

    Attributes:
        weights: Our name to tensor.
        sources: Our name to the released names its tensor was made of.
        ignored: Released names that never enter the released network's output.
        resized: Our names whose tensor was interpolated (positions of another patch size).
    """

    weights: Mapping[str, Tensor]
    sources: Mapping[str, tuple[str, ...]]
    ignored: frozenset[str] = frozenset()
    resized: frozenset[str] = field(default_factory=frozenset)


#: Maps a released state dict (names without trainer prefixes) to a :class:`Translation` for a network of ours.
Translator = Callable[[Mapping[str, Tensor], nn.Module], Translation]


@dataclass(frozen=True)
class ImportReport:
    """Outcome of every entry of an import.

    Attributes:
        loaded: Our names that were given a tensor.
        resized: Names among ``loaded`` whose tensor was interpolated.
        missing: Our names that nothing provides.
        surplus: Released names that our network has no use for.
        misshaped: Our names whose tensor has another shape, with the given and the needed shape.
        ignored: Released names that never enter the released network's output.
    """

    loaded: tuple[str, ...]
    resized: tuple[str, ...]
    missing: tuple[str, ...]
    surplus: tuple[str, ...]
    misshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    ignored: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every entry of our network was provided and nothing unknown was given."""
        return not (self.missing or self.surplus or self.misshaped)

    def __str__(self) -> str:
        misshaped = [f"{name} {given} instead of {needed}" for name, given, needed in self.misshaped]
        lines = [f"{len(self.loaded)} entries loaded, {len(self.ignored)} without effect ignored"]
        for what, names in (
            ("resized", self.resized),
            ("missing", self.missing),
            ("surplus", self.surplus),
            ("mis-shaped", misshaped),
        ):
            if names:
                more = f" and {len(names) - 8} more" if len(names) > 8 else ""
                lines.append(f"{len(names)} {what}: {', '.join(names[:8])}{more}")
        return "\n".join(lines)


def import_weights(
    network: nn.Module, released: Mapping[str, Tensor], translator: Translator, *, strict: bool = True
) -> ImportReport:
    """Loads released weights into a network of ours.

    Args:
        network: Built with the options the weights were trained with.
        released: Released names, without trainer prefixes, to tensors.
        translator: The segmenter's.
        strict: Refuse an incomplete match. Otherwise what fits is loaded and the rest keeps its initial values.

    Raises:
        HarnessError: ``strict``, and an entry is missing, surplus or mis-shaped; the network is left as it was.
    """
    translation = translator(released, network)
    expected = network.state_dict()
    fitting = {
        name: tensor
        for name, tensor in translation.weights.items()
        if name in expected and tensor.shape == expected[name].shape
    }
    used = {theirs for name in translation.weights if name in expected for theirs in translation.sources[name]}
    # Counters of BatchNorm carry no weights, and buffers computed from sizes are rebuilt; both may be absent.
    parameters = {name for name, _ in network.named_parameters(remove_duplicate=False)}
    statistics = {name for name in expected if name.endswith(("running_mean", "running_var"))}
    report = ImportReport(
        loaded=tuple(fitting),
        resized=tuple(sorted(translation.resized & fitting.keys())),
        missing=tuple(name for name in expected if name in parameters | statistics and name not in translation.weights),
        surplus=tuple(
            name
            for name in released
            if name not in used | translation.ignored and not name.endswith("num_batches_tracked")
        ),
        misshaped=tuple(
            (name, tuple(tensor.shape), tuple(expected[name].shape))
            for name, tensor in translation.weights.items()
            if name in expected and tensor.shape != expected[name].shape
        ),
        ignored=tuple(name for name in released if name in translation.ignored),
    )
    if strict and not report.complete:
        raise HarnessError(
            f"The released weights do not fit this network.\n{report}",
            hint="Build it with the options, modalities, classes and patch size of the weights, or use --partial.",
        )
    network.load_state_dict(fitting, strict=False)
    return report


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Reads the state dict of a checkpoint file without running code from it.

    Args:
        path: A file saved by torch: a state dict, or a dict that holds one under ``state_dict``, ``network_weights``
            (nnU-Net v2) or ``model``. nnU-Net v1's ``.model`` files are such.

    Returns:
        Names without the prefixes of trainers and data-parallel wrappers, to tensors on the CPU.

    Raises:
        HarnessError: The file is missing, not a checkpoint, or holds anything but tensors, numbers and containers.
    """
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "a pipe, a device or a socket"
        raise HarnessError(f"The checkpoint {path} is {what}, not a file.", hint="Name the file itself.")
    try:
        with torch.serialization.safe_globals(_numpy_types()):
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own words recommend to read the file unsafely: only the name of what was refused is taken
        refused = re.search(r"(?:GLOBAL |got <class ')([\w.]+)", str(error))
        what = f"reading it would run `{refused[1]}`" if refused else "it is not what torch.save writes"
        raise HarnessError(
            f"The checkpoint {path} cannot be read safely: {what}.",
            hint="Accepted are tensors, numbers, arrays of numbers and plain containers. If you trust the file, load "
            "it yourself and save its `state_dict` alone with torch.save.",
        ) from error
    except Exception as error:  # other kinds of files raise many kinds of errors
        what = str(error).partition("\n")[0] or "it ends too early"  # torch has no word for an empty file
        raise HarnessError(
            f"The checkpoint {path} cannot be read safely: {what}",
            hint="Expected is a file saved by torch that holds tensors, numbers and plain containers only.",
        ) from error
    state = content
    for key in ("state_dict", "network_weights", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            state = content[key]
            break
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise HarnessError(
            f"The checkpoint {path} holds no state dict.", hint="Expected is a mapping of names to tensors."
        )
    return {_bare(name): tensor for name, tensor in state.items()}


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _numpy_types() -> list[Any]:
    """Types that nnU-Net v1's loss curves contain: NumPy numbers and arrays, by the names of NumPy 1 and 2.

    These functions rebuild numbers from bytes and call nothing that the file names. ``object`` arrays are left out.
    """
    scalar, array = np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]
    kinds = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")
    return [
        *((scalar, f"numpy.{package}.multiarray.scalar") for package in ("core", "_core")),
        *((array, f"numpy.{package}.multiarray._reconstruct") for package in ("core", "_core")),
        np.ndarray,
        np.dtype,
        *(type(np.dtype(kind)) for kind in kinds),
    ]
