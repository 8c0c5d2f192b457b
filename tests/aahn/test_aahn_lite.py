"""Preset ``lite``: its limits, its switches, the patch sizes it takes, and the suite that every network passes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from aahn import SEGMENTER
from aahn.anatomy import measure_parts
from harness.segmenters.conformance import run
from harness.segmenters.contract import Task

MOST_PARAMETERS, MOST_FLOPS = 30_000_000, 15_000_000_000

SWITCHES: list[dict[str, Any]] = [
    {},
    *({"cmhgf": value} for value in ("concat", "cma")),
    {"leading": None},
    {"leading_encoder": "smp/resnet18"},
]
#: They take parts or channels out.
SMALLER: list[dict[str, Any]] = [
    *({"tcfaf": value} for value in ("none", "ca", "cma")),
    *({"cmhgf": value} for value in ("no_skip", "no_gnn")),
    {"auxiliary": "others"},
    {"leading_stem": "single"},
]


def size(modalities: int, leading: int | None, classes: int, patch: tuple[int, int], **options: Any) -> tuple[int, int]:
    """Parameters, and FLOPs of one image (1 MAC = 2 FLOPs)."""
    task = Task(tuple(f"m{index}" for index in range(modalities)), leading, classes, patch)
    with torch.device("meta"):
        network = SEGMENTER.build(task, {"preset": "lite", **options}).eval()
        x = torch.zeros(1, modalities, *patch)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        assert network(x).shape == (1, classes, *patch)
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops()


@pytest.mark.parametrize(
    "switch", [*SWITCHES, *(pytest.param(each, marks=pytest.mark.slow) for each in SMALLER)], ids=str
)
def test_no_switch_takes_it_over_its_limits(switch: dict[str, Any]) -> None:
    switch = dict(switch)
    parameters, flops = size(4, switch.pop("leading", 1), 4, (128, 128), **switch)
    assert parameters <= MOST_PARAMETERS
    assert flops <= MOST_FLOPS


@pytest.mark.parametrize("modalities", [pytest.param(1, marks=pytest.mark.slow), 8])
def test_no_dataset_takes_it_over_its_limits(modalities: int) -> None:
    parameters, flops = size(modalities, 0, 8, (128, 128))
    assert parameters <= MOST_PARAMETERS
    assert flops <= MOST_FLOPS


@pytest.mark.parametrize("patch", [pytest.param((32, 32), marks=pytest.mark.slow), (256, 224)])
def test_patch_sides_are_multiples_of_32(patch: tuple[int, int]) -> None:
    parameters, _ = size(4, 1, 4, patch)
    assert parameters <= MOST_PARAMETERS


def test_its_parts_are_the_whole_of_it() -> None:
    task = SEGMENTER.official_task
    assert task is not None
    parts = measure_parts(task, SEGMENTER.parse_options({"preset": "lite"}))
    parameters, flops = size(4, 1, 4, (128, 128))
    assert sum(part.parameters for part in parts.values()) == parameters
    assert sum(part.gflops for part in parts.values()) == pytest.approx(flops / 1e9)


@pytest.mark.slow
def test_the_conformance_suite_passes() -> None:
    """The suite builds the preset ``tiny``; here that word stands for ``lite``."""
    results = run(replace(SEGMENTER, presets={"tiny": SEGMENTER.presets["lite"]}))
    assert len(results) > 50
    assert [result.message for result in results if not result.passed] == []
