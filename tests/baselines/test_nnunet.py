from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from baselines.nnunet import SEGMENTER
from baselines.nnunet.network import architecture
from baselines.shared.supervision import output_weights
from harness.errors import StudyError
from harness.segmenters import Task

FULL = SEGMENTER.parse_options({})


def plans(dims: int, features: list[int]) -> dict[str, Any]:
    """Arguments as nnU-Net's planner writes them into a plans file."""
    stages = len(features)
    return {
        "n_stages": stages,
        "features_per_stage": features,
        "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
        "kernel_sizes": [[3] * dims] * stages,
        "strides": [[1] * dims] + [[2] * dims] * (stages - 1),
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }


@pytest.mark.parametrize(
    ("patch_size", "features"),
    [((64, 64), [8, 16, 32, 64, 64]), ((32, 32, 32), [8, 16, 32, 64])],
    ids=["2d", "3d"],
)
def test_initialisation_and_function_are_nnunets(patch_size: tuple[int, ...], features: list[int]) -> None:
    dims = len(patch_size)
    torch.manual_seed(5)
    ours = SEGMENTER.build(Task(("ct", "pet"), None, 3, patch_size), {"preset": "tiny"})
    torch.manual_seed(5)
    theirs = get_network_from_plans(
        "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        plans(dims, features),
        ["conv_op", "norm_op", "dropout_op", "nonlin"],
        input_channels=2,
        output_channels=3,
        deep_supervision=True,
    )
    state = theirs.state_dict()
    assert ours.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in ours.state_dict().items())
    image = torch.randn(2, 2, *patch_size)
    with torch.no_grad():
        for one, other in zip(ours(image), theirs(image), strict=True):
            assert torch.equal(one, other)
        theirs.decoder.deep_supervision = False
        assert torch.equal(ours.eval()(image), theirs.eval()(image))
        assert isinstance(ours.train()(image), list)


RESENC_BLOCKS = {4: [1, 3, 4, 6], 5: [1, 3, 4, 6, 6], 6: [1, 3, 4, 6, 6, 6], 7: [1, 3, 4, 6, 6, 6, 6]}


def resenc_plans(dims: int, features: list[int]) -> dict[str, Any]:
    """Arguments as nnU-Net's planner of residual encoders writes them into a plans file."""
    stages = len(features)
    planned = plans(dims, features)
    del planned["n_conv_per_stage"]
    return {**planned, "n_blocks_per_stage": RESENC_BLOCKS[stages], "n_conv_per_stage_decoder": [1] * (stages - 1)}


@pytest.mark.parametrize(
    ("patch_size", "features"),
    [((64, 64), [8, 16, 32, 64, 64]), ((32, 32, 32), [8, 16, 32, 64])],
    ids=["2d", "3d"],
)
def test_residual_encoder_is_nnunets(patch_size: tuple[int, ...], features: list[int]) -> None:
    task = Task(("ct", "pet"), None, 3, patch_size)
    torch.manual_seed(5)
    ours = SEGMENTER.build(task, {"preset": "tiny", "encoder": "resenc"})
    torch.manual_seed(5)
    theirs = get_network_from_plans(
        "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
        resenc_plans(len(patch_size), features),
        ["conv_op", "norm_op", "dropout_op", "nonlin"],
        input_channels=2,
        output_channels=3,
        deep_supervision=True,
    )
    state = theirs.state_dict()
    assert ours.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in ours.state_dict().items())
    image = torch.randn(2, 2, *patch_size)
    with torch.no_grad():
        for one, other in zip(ours(image), theirs(image), strict=True):
            assert torch.equal(one, other)
        theirs.decoder.deep_supervision = False
        assert torch.equal(ours.eval()(image), theirs.eval()(image))


def test_residual_encoder_has_the_official_parameters() -> None:
    facts = json.loads((Path(__file__).parents[1] / "parity" / "baseline_facts.json").read_text())
    expected = facts["nnUNet"]["variants"]["native_resenc_m_style"]
    with torch.device("meta"):
        network = SEGMENTER.build(SEGMENTER.official_task, {"encoder": "resenc"})
    shapes = Counter(str(list(parameter.shape)) for parameter in network.parameters())
    assert shapes == Counter(expected["param_shape_histogram"])
    assert sum(parameter.numel() for parameter in network.parameters()) == expected["params"] == 102_353_972


def test_residual_presets_are_one_network() -> None:
    found = {str(SEGMENTER.parse_options({"preset": f"resenc_{size}"})) for size in ("m", "l", "xl")}
    assert found == {str(SEGMENTER.parse_options({"encoder": "resenc"}))}


@pytest.mark.parametrize(("side", "stages"), [(128, 6), (256, 7)])
def test_residual_plan_is_nnunets(side: int, stages: int) -> None:
    planned = architecture((side, side), SEGMENTER.parse_options({"encoder": "resenc"}))
    expected = resenc_plans(2, [min(32 * 2**stage, 512) for stage in range(stages)])
    assert planned.keys() == expected.keys()
    assert all(planned[name] == expected[name] for name in ("n_blocks_per_stage", "n_conv_per_stage_decoder"))


def test_depth_of_the_plain_encoder_is_refused_for_the_residual_one() -> None:
    with pytest.raises(StudyError, match="convs_per_stage belongs to encoder plain"):
        SEGMENTER.parse_options({"encoder": "resenc", "convs_per_stage": 3})


@pytest.mark.parametrize(
    ("patch_size", "features"),
    [
        ((128, 128, 128), [32, 64, 128, 256, 320, 320]),
        ((128, 128), [32, 64, 128, 256, 512, 512]),
        ((256, 256), [32, 64, 128, 256, 512, 512, 512]),
    ],
)
def test_plan_is_nnunets(patch_size: tuple[int, ...], features: list[int]) -> None:
    planned = architecture(patch_size, FULL)
    expected = plans(len(patch_size), features)
    assert planned.keys() == expected.keys()
    for name in ("kernel_sizes", "strides"):
        assert [list(axis) for axis in planned[name]] == expected[name]
        del planned[name], expected[name]
    assert planned == expected


def test_a_short_axis_is_pooled_less_often() -> None:
    planned = architecture((128, 128, 16), FULL)
    assert torch.tensor(planned["strides"]).prod(dim=0).tolist() == [32, 32, 4]


def test_weights_halve_and_the_coarsest_output_has_none() -> None:
    assert output_weights(5) == pytest.approx([8 / 15, 4 / 15, 2 / 15, 1 / 15, 0])
    assert output_weights(1) == [1.0]


def test_dead_heads_are_declared() -> None:
    task = Task(("ct",), None, 2, (64, 64))
    deep = SEGMENTER.build(task, {"preset": "tiny"})
    assert deep.dead_parameters == {"decoder.seg_layers.0.weight", "decoder.seg_layers.0.bias"}
    single = SEGMENTER.build(task, {"preset": "tiny", "deep_supervision": False})
    assert not hasattr(single, "deep_supervision_weights")
    heads = {name for name, _ in single.named_parameters() if "seg_layers" in name}
    assert heads - single.dead_parameters == {"decoder.seg_layers.3.weight", "decoder.seg_layers.3.bias"}


@pytest.mark.parametrize(("patch_size", "valid"), [((100, 128), "112 x 128"), ((4, 8), "8 x 8")])
def test_patch_the_planner_would_change_is_refused_with_a_valid_one(patch_size: tuple[int, ...], valid: str) -> None:
    with pytest.raises(StudyError, match=valid):
        SEGMENTER.build(Task(("ct",), None, 2, patch_size), {"preset": "tiny"})


def test_cap_below_the_base_is_refused() -> None:
    with pytest.raises(StudyError, match="max_features 4 is below base_features 32"):
        SEGMENTER.parse_options({"max_features": 4})
