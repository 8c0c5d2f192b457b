"""Goldens: what the authors' own code computed, and how an independent network is compared with it.

No weights are stored. Every tensor is filled by a rule from its official name and shape, so that names, shapes and the
rule reproduce them:

    rng = numpy.random.default_rng(zlib.crc32(name)),  z = rng.standard_normal(shape, float32)

The first line that applies gives the value: running_var ``1 + 0.1 |z|``; running_mean ``0.1 z``; 1-D ``weight``
``1 + 0.1 z``; biases, names starting ``gamma``, positions and the like ``0.1 z``; anything else ``z`` over the square
root of the fan-in. The input is named ``input``.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from harness.segmenters import Segmenter, Task

GOLDENS = Path(__file__).parents[1] / "parity" / "goldens"


@dataclass(frozen=True)
class Arithmetic:
    """In what a network computes.

    Attributes:
        dtype: Type of weights and images.
        device: Device of both.
    """

    dtype: torch.dtype = torch.float32
    device: str = "cpu"

    @property
    def rounding(self) -> float:
        """How far the authors' float32 numbers may lie from ours, in distances between their float32 and float64 runs.

        From our float64 ones an equal network is 1 away, and those distances are stored with two digits; from our
        float32 ones, which are rounded too, 1.6 away at most on a CPU. An epsilon of 1e-5 instead of 1e-6 was 4.6 away.
        On a GPU cuDNN may choose kernels that round more (Winograd, Fourier): there float64 tells.
        """
        if self.dtype == torch.float64:
            return 1.1
        return 2.0 if self.device == "cpu" else 20.0


ON_CPU, ON_GPU = Arithmetic(), Arithmetic(device="cuda:0")

#: What every golden is compared in; double precision is slow on a CPU in three dimensions.
PRECISIONS = (
    pytest.param(ON_CPU, id="float32"),
    pytest.param(Arithmetic(torch.float64), marks=pytest.mark.slow, id="float64"),
    pytest.param(ON_GPU, marks=pytest.mark.cuda, id="float32-cuda"),
    pytest.param(Arithmetic(torch.float64, "cuda:0"), marks=pytest.mark.cuda, id="float64-cuda"),
)


def normal(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Returns the standard normal numbers that belong to a name."""
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, dtype=np.float32)


def fill(name: str, shape: tuple[int, ...], like_bias: bool = False) -> NDArray[np.float32]:
    """Returns the value of one state-dict entry."""
    z = normal(name, shape)
    last = name.rpartition(".")[2]
    if last == "running_var":
        return 1 + np.float32(0.1) * np.abs(z)
    if last == "running_mean":
        return np.float32(0.1) * z
    if last == "weight" and len(shape) == 1:
        return 1 + np.float32(0.1) * z
    if last == "bias" or last.startswith("gamma") or like_bias:
        return np.float32(0.1) * z
    return z / np.float32(math.sqrt(math.prod(shape[1:])))


@dataclass(frozen=True)
class Golden:
    """One golden: facts and arrays."""

    facts: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    precision: Arithmetic

    @classmethod
    def load(cls, name: str, precision: Arithmetic = ON_CPU) -> Golden:
        """Reads a golden.

        Args:
            name: Its name, e.g. ``transunet_128``.
            precision: Of the network that is compared with it.
        """
        with np.load(GOLDENS / f"{name}.npz", allow_pickle=False) as arrays:
            return cls(json.loads((GOLDENS / f"{name}.json").read_text()), dict(arrays), precision)

    def released(self) -> dict[str, Tensor]:
        """Returns the state dict by official names; entries that are left as constructed are absent."""
        left, like_bias = set(self.facts["not_filled"]), set(self.facts["treated_as_bias"])
        return {
            name: torch.from_numpy(fill(name, tuple(shape), name in like_bias))
            for name, shape in self.facts["state_dict"].items()
            if name not in left
        }

    def released_shapes(self) -> dict[str, Tensor]:
        """Returns the state dict by official names without values, on torch's ``meta`` device."""
        shapes = self.facts["state_dict"].items()
        return {name: torch.empty(shape, device="meta") for name, shape in shapes}

    @cached_property
    def input(self) -> Tensor:
        """The input batch, where the network computes."""
        images = torch.from_numpy(normal("input", tuple(self.facts["input_shape"])))
        return images.to(self.precision.device, self.precision.dtype)

    @property
    def _distance(self) -> Mapping[str, Any]:
        """Distances between the authors' float32 and float64 runs."""
        return self.facts["measured"]["float64_max_abs_diff"]

    def check_output(self, output: Tensor) -> None:
        """Asserts that the output equals the golden's.

        Args:
            output: (1, K, *spatial) of the kind the golden holds (logits or probabilities).
        """
        facts = self.facts["output"]
        assert output.dtype == self.precision.dtype
        output = output.cpu()
        assert list(output.shape) == facts["full_shape"]
        stride = facts["spatial_stride"]
        kept = output[(slice(None), slice(None), *(slice(None, None, stride),) * (output.ndim - 2))]
        difference = np.abs(kept.numpy() - self.arrays[facts["array"]]).max()
        self._check("output", difference, self._distance["output"])
        if "channel_stats" in self.arrays:
            flat = output[0].double().flatten(1)
            stats = torch.stack([flat.mean(1), flat.std(1), flat.amin(1), flat.amax(1)], dim=1).numpy()
            difference = np.abs(stats - self.arrays["channel_stats"]).max()
            self._check("channel statistics", difference, self._distance["output"])

    def check_stage(self, path: str, output: Tensor) -> None:
        """Asserts mean, SD and largest value of a module's output, in units of its SD."""
        expected = self.arrays[f"stage_{path}"]
        values = output.cpu().double()
        found = np.array([values.mean().item(), values.std().item(), values.abs().max().item()])
        difference = np.abs(found - expected) / max(expected[1], 1e-3)
        self._check(f"{path}: mean, SD", difference[:2].max(), self._distance["stage_mean_std_relative_to_std"])
        self._check(f"{path}: largest", difference[2], self._distance["stage_max_relative_to_std"])

    def check_probe(self, path: str, output: Tensor) -> None:
        """Asserts every n-th value of a module's output, in the authors' layout, in units of its SD."""
        facts = self.facts["probes"][path]
        assert list(output.shape) == facts["shape"], f"{path}: {list(output.shape)} is not the authors' layout"
        expected = self.arrays[f"probe_{path}"]
        got = output.flatten()[:: facts["step"]].cpu().numpy()
        difference = np.abs(got - expected).max() / float(expected.std())
        self._check(path, difference, self._distance["probes_relative_to_std"][path])

    @property
    def present(self) -> Tensor | None:
        """Modalities that the golden's network was told of, ``(1, M)``; ``None`` where it takes no mask."""
        mask = self.facts.get("mask")
        return None if mask is None else torch.tensor([mask]).to(self.precision.device, self.precision.dtype)

    def check_network(
        self,
        network: nn.Module,
        our_name: Callable[[str], str],
        *,
        as_theirs: Callable[[str, Tensor], Tensor] = lambda _, x: x,
        without: frozenset[str] = frozenset(),
    ) -> None:
        """Runs a network that has the golden's weights, and asserts output, stages and probes.

        Args:
            network: In eval mode.
            our_name: Module path of the authors' to ours.
            as_theirs: Path and our module's output to what theirs returns.
            without: Paths that are no module of ours.
        """
        paths = {*self.stages, *self.probes} - without
        images = (self.input,) if self.present is None else (self.input, self.present)
        with torch.inference_mode(), watch({path: network.get_submodule(our_name(path)) for path in paths}) as seen:
            output = network(*images)
        kind = self.facts["output"]["kind"]
        self.check_output(output.softmax(dim=1) if kind.startswith("probabilities") else output)
        for path in paths:
            output = as_theirs(path, seen[path])
            if path in self.stages:
                self.check_stage(path, output)
            if path in self.probes:
                self.check_probe(path, output)

    def _check(self, what: str, difference: float, distance: float) -> None:
        if self.precision.dtype == torch.float32:
            distance = max(distance, 1e-7)  # sums of rounded numbers depend on the machine's order
        times = difference / distance
        limit = self.precision.rounding
        assert times <= limit, f"{what} differs by {difference:.1e}, {times:.1f} times the authors' own rounding"

    @property
    def stages(self) -> list[str]:
        """Module paths that the golden has statistics of."""
        return [name.removeprefix("stage_") for name in self.arrays if name.startswith("stage_")]

    @property
    def probes(self) -> list[str]:
        """Module paths that the golden has values of."""
        return list(self.facts["probes"])


#: Methods that the functions of ``torch.nn.init`` draw with, some of which no mode can see.
_DRAWS = frozenset({Tensor.normal_, Tensor.uniform_, Tensor.erfinv_})


class _Unfilled(TorchFunctionMode):
    """Skips the random initialisation of ``torch.nn.init``."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _DRAWS or getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def unfilled(
    segmenter: Segmenter,
    task: Task | None,
    options: Mapping[str, Any] | None = None,
    precision: Arithmetic = ON_CPU,
) -> nn.Module:
    """Builds a network in eval mode that is given all its weights afterwards: initial ones are not drawn.

    Args:
        segmenter: Builds it.
        task: Segmentation task.
        options: As a study would give them.
        precision: Of its weights.
    """
    assert task is not None
    with _Unfilled():
        return segmenter.build(task, options).to(precision.device, precision.dtype).eval()


@contextmanager
def watch(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Records what modules return on their first call, as returned.

    Args:
        modules: Name to module.

    Yields:
        Name to a copy of the output (the first tensor where there are several); filled while the network runs.
    """
    seen: dict[str, Tensor] = {}

    def record(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            first = output if isinstance(output, Tensor) else next(iter(output))
            seen.setdefault(name, first.detach().clone())

        return hook

    handles = [module.register_forward_hook(record(name)) for name, module in modules.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
