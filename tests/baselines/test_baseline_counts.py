"""Our networks have the parameters of the official implementations, tensor by tensor."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.segmenters import SEGMENTERS, Task

MEASURED = Path(__file__).parents[1] / "parity" / "baselines"

UNUSED_VECTORS = {"unetr": 24}
"""Scales and biases of MONAI's 12 unused layer norms, 768 wide, which we do not build."""

CONFIGURATIONS = [
    ("unetr", "btcv", 14, {"proj_type": "perceptron"}),
    ("unetr", "msd_brain", 4, {}),
    ("unetr", "slices", 4, {}),
    ("nnunet", "volumes", 4, {}),
    ("nnunet", "slices", 4, {}),
    ("nnunet", "volumes_one_output", 4, {"deep_supervision": False}),
]


def measured(name: str, configuration: str) -> dict[str, Any]:
    return json.loads((MEASURED / f"{name}.json").read_text())["configurations"][configuration]


@pytest.mark.parametrize(("name", "configuration", "classes", "options"), CONFIGURATIONS)
def test_parameters_equal_the_official_ones(
    name: str, configuration: str, classes: int, options: Mapping[str, Any]
) -> None:
    expected = measured(name, configuration)
    _, channels, *patch = expected["input"]
    task = Task(tuple(f"m{index}" for index in range(channels)), None, classes, tuple(patch))
    with torch.device("meta"):
        network = SEGMENTERS.get(name).build(task, options)
    shapes = Counter(str(list(parameter.shape)) for parameter in network.parameters())
    theirs = Counter(expected["param_shape_histogram"])
    theirs["[768]"] -= UNUSED_VECTORS.get(name, 0)
    assert shapes == +theirs
    unused = 768 * UNUSED_VECTORS.get(name, 0)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected["params"] - unused


@pytest.mark.parametrize("name", ["unetr", "nnunet"])
def test_declared_official_configuration_is_the_measured_one(name: str) -> None:
    segmenter = SEGMENTERS.get(name)
    expected = next(iter(json.loads((MEASURED / f"{name}.json").read_text())["configurations"].values()))
    assert segmenter.official_task is not None
    _, channels, *patch = expected["input"]
    assert (segmenter.official_task.in_channels, list(segmenter.official_task.patch_size)) == (channels, patch)
    unused = 768 * UNUSED_VECTORS.get(name, 0)
    assert unused == expected["params_never_receiving_gradient"]
    assert segmenter.official_parameters == expected["params"] - unused
