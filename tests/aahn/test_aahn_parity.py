"""The official configuration computes what the authors' released code computes.

No weights are stored. Every tensor of the released network is filled from its name by a rule, imported as a released
checkpoint would be, and the output and every stage are compared with what the authors' code gave (float32, eval mode).

These are 410 million numbers: the slow tests hold ours and the plain network to them, and the quick one ours to the
plain network, every module of it in small.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import unfilled
from plain_aahn import PlainAAHN
from plain_pair import compare, pair
from torch import Tensor, nn

from aahn import SEGMENTER
from aahn.network import AAHN
from aahn.released_checkpoint import DEAD_PREFIXES, MODULE_NAMES, translate
from harness.segmenters.released import import_weights

Shapes = dict[str, tuple[int, ...]]
#: Rounding of the authors' run and of ours, in SDs of what is compared: of logits; of a stage's mean and SD; of its
#: largest value.
LOGITS, MOMENTS, LARGEST = 5e-6, 1e-6, 5e-5


def normal(name: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, dtype=np.float32)


def fill(name: str, shape: tuple[int, ...]) -> Tensor:
    last = name.rpartition(".")[2]
    if last == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.long)
    z = normal(name, shape)
    tenth = np.float32(0.1)
    if last == "running_var":
        z = 1 + tenth * np.abs(z)
    elif last == "weight" and len(shape) == 1:
        z = 1 + tenth * z
    elif last in ("running_mean", "bias", "cls_token", "pos_emb1D") or last.startswith("gamma"):
        z = tenth * z
    else:
        z /= np.float32(math.sqrt(math.prod(shape[1:])))
    return torch.from_numpy(z)


def statistics(x: Tensor) -> np.ndarray:
    x = x.double()
    return np.array([x.mean().item(), x.std().item(), x.abs().max().item()])


def record(into: dict[str, np.ndarray], stage: str) -> Callable[[nn.Module, object, Tensor], None]:
    def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
        into[stage] = statistics(output)

    return hook


@pytest.fixture(
    scope="module",
    params=[pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda:0", marks=pytest.mark.cuda)],
)
def official(request: pytest.FixtureRequest, released_shapes: Shapes) -> nn.Module:
    """AAHN in its official configuration, with the weights of the golden."""
    network = unfilled(SEGMENTER, SEGMENTER.official_task, SEGMENTER.official_options)
    assert isinstance(network, AAHN)
    assert import_weights(
        network, {name: fill(name, shape) for name, shape in released_shapes.items()}, translate
    ).complete
    return network.to(request.param)


def test_official_configuration_equals_the_released_code(released_folder: Path, official: nn.Module) -> None:
    golden = np.load(released_folder / "aahn_reference_golden.npz")
    stages = [name for name in golden if name.startswith("stage_")]
    seen: dict[str, np.ndarray] = {}
    for stage in stages:
        official.get_submodule(MODULE_NAMES[stage.removeprefix("stage_")]).register_forward_hook(record(seen, stage))
    logits = run(official, torch.float32)

    assert seen.keys() == set(stages)
    # On a GPU cuDNN may choose kernels that round more; there the test in double precision tells.
    times = 1 if next(official.parameters()).device.type == "cpu" else 10
    for stage in stages:
        difference = np.abs(seen[stage] - golden[stage]) / golden[stage][1]
        assert difference[:2].max() < times * MOMENTS, stage
        assert difference[2] < times * LARGEST, stage
    assert np.abs(logits - golden["logits"]).max() < times * LOGITS * golden["logits"].std()


@pytest.mark.slow
def test_the_plain_network_equals_the_released_code(released_folder: Path, released_shapes: Shapes) -> None:
    golden = np.load(released_folder / "aahn_reference_golden.npz")["logits"]
    with torch.device("meta"):
        plain = PlainAAHN()
    weights = {name: fill(name, shape) for name, shape in released_shapes.items()}
    plain.load_state_dict(weights, assign=True)
    assert np.abs(run(plain.eval(), torch.float32) - golden).max() < LOGITS * golden.std()


def test_the_plain_path_computes_the_same() -> None:
    """In float64, where rounding cannot hide a difference; batch norm amplifies it a thousandfold in the gradients."""
    plain, ours = pair(32)
    assert max(compare(plain.double(), ours.double(), 32)) < 1e-9


def test_the_plain_path_is_as_large_as_the_released_one() -> None:
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in PlainAAHN().parameters()) == 410_521_332


@pytest.mark.slow
def test_only_the_authors_rounding_remains_in_double_precision(released_folder: Path, official: nn.Module) -> None:
    golden = np.load(released_folder / "aahn_reference_golden.npz")["logits"]
    rounded, exact = (run(official, precision) for precision in (torch.float32, torch.float64))
    assert np.abs(golden - exact).max() < 3 * np.abs(rounded - exact).max()


def run(network: nn.Module, precision: torch.dtype) -> np.ndarray:
    """Logits of the golden's input."""
    device = next(network.parameters()).device
    images = torch.from_numpy(normal("input", (1, 4, 128, 128))).to(device, precision)
    with torch.inference_mode():
        logits: np.ndarray = network.to(precision)(images).cpu().numpy()
    return logits


def test_dead_entries_are_what_our_network_lacks(released_shapes: Shapes) -> None:
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    count = {
        dead: sum(
            math.prod(shape)
            for name, shape in released_shapes.items()
            if name.startswith(DEAD_PREFIXES) is dead and not name.endswith(buffers)
        )
        for dead in (True, False)
    }
    assert count == {True: 2_828_640, False: SEGMENTER.official_parameters}
