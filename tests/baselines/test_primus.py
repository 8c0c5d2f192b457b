from __future__ import annotations

from typing import Any

import pytest
import torch
from dynamic_network_architectures.architectures.primus import PrimusV3
from nnunetv2.training.nnUNetTrainer.primus import primus_trainers

from baselines.primus import SEGMENTER
from harness.errors import StudyError
from harness.segmenters import Task

MODALITIES = ("t1", "t1ce", "t2", "flair")
OFFICIAL = [
    ("small", "v1", 96, 24_543_232),
    ("small", "v1", 128, 25_480_960),
    ("small", "v2", 128, 25_648_384),
    ("small", "v3", 128, 72_085_031),
    ("base", "v1", 128, 96_529_980),
    ("base", "v2", 128, 95_937_084),
    ("paper", "v1", 160, 153_657_284),
    ("paper", "v3", 128, 206_953_575),
    ("large", "v1", 128, 330_050_636),
]


@pytest.mark.parametrize(("preset", "version", "side", "expected"), OFFICIAL)
def test_parameters_equal_the_official_ones(preset: str, version: str, side: int, expected: int) -> None:
    with torch.device("meta"):
        network = SEGMENTER.build(Task(MODALITIES, None, 4, (side,) * 3), {"preset": preset, "version": version})
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


class Plan:
    """What nnU-Net's trainers read of a plan."""

    patch_size = (32, 32, 32)


@pytest.mark.parametrize(
    ("preset", "trainer"),
    [
        ("paper", "M"),
        ("small", "S"),
        pytest.param("base", "B", marks=pytest.mark.slow),
        pytest.param("large", "L", marks=pytest.mark.slow),
    ],
)
def test_presets_are_those_of_nnunets_trainers(preset: str, trainer: str) -> None:
    make: Any = getattr(primus_trainers, f"nnUNet_Primus_{trainer}_Trainer")
    with torch.device("meta"):
        theirs = make.build_network_architecture(None, Plan(), 2, 3)
        ours = SEGMENTER.build(Task(("ct", "pet"), None, 3, Plan.patch_size), {"preset": preset})
    assert repr(ours) == repr(theirs)  # widths, depths, rates and norms of every module
    shapes = [{name: tuple(p.shape) for name, p in network.named_parameters()} for network in (ours, theirs)]
    assert shapes[0] == shapes[1]


def test_function_is_the_librarys() -> None:
    ours = SEGMENTER.build(Task(("ct", "pet"), None, 3, (16, 32, 24)), {"preset": "tiny", "version": "v3"}).eval()
    theirs = PrimusV3(2, 96, (8, 8, 8), 3, 3, 4, (16, 32, 24)).eval()
    theirs.load_state_dict(ours.state_dict())
    image = torch.randn(2, 2, 16, 32, 24)
    with torch.no_grad():
        assert torch.equal(ours(image), theirs(image))


def test_patch_that_is_no_multiple_of_8_is_refused_with_the_nearest_valid_one() -> None:
    with pytest.raises(StudyError, match="8 voxels per side") as caught:
        SEGMENTER.build(Task(("ct",), None, 2, (30, 32, 100)), {"preset": "tiny"})
    assert "32 x 32 x 104" in str(caught.value)


def test_slices_are_refused() -> None:
    with pytest.raises(StudyError, match="works in 3D"):
        SEGMENTER.build(Task(("ct",), None, 2, (64, 64)), {"preset": "tiny"})


def test_heads_must_hold_rotations_of_three_axes() -> None:
    with pytest.raises(StudyError, match="width 100 is not a multiple of 24"):
        SEGMENTER.parse_options({"preset": "tiny", "width": 100})
