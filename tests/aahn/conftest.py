"""A network small enough to be built in milliseconds, and the released network's names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from aahn import SEGMENTER
from aahn.network import AAHN
from aahn.options import AAHNOptions
from harness.segmenters.contract import Task

MICRO: dict[str, Any] = {
    "width": 16,
    "leading_depths": (1, 0, 1, 0),
    "vit_depth": 1,
    "vit_dim": 12,
    "vit_heads": 2,
    "vit_head_dim": 4,
    "vit_mlp_dim": 8,
    "token_patch": 2,
    "head_width": 16,
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def released_folder() -> Path:
    """The folder of what the authors' code is known to compute."""
    return Path(__file__).parents[1] / "parity" / "aahn"


@pytest.fixture(scope="session")
def released_shapes(released_folder: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the released network's state dict, in its order."""
    names = json.loads((released_folder / "aahn_reference_state_dict.json").read_text())
    return {name: tuple(shape) for name, shape in names.items()}


@pytest.fixture
def micro() -> Callable[..., AAHN]:
    """Builds a micro AAHN; keywords are options, or parts of the task (the first four).

    ``awake`` gives what starts at zero another value: a block that starts as the identity hides its inside from any
    test.
    """

    def build(
        modalities: int = 3,
        leading: int | None = 1,
        classes: int = 3,
        patch: tuple[int, ...] = (32, 32),
        awake: bool = False,
        **options: Any,
    ) -> AAHN:
        task = Task(tuple(f"m{index}" for index in range(modalities)), leading, classes, patch)
        network = SEGMENTER.build(task, AAHNOptions(**{**MICRO, **options}))
        assert isinstance(network, AAHN)
        return wake(network) if awake else network

    return build


def wake(network: AAHN) -> AAHN:
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            # The few units of a micro channel attention can all be shut by their ReLU, which hides them too.
            if name.endswith("squeeze.bias"):
                parameter.fill_(1.0)
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_()
    return network
