from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from golden import ON_CPU, ON_GPU, Arithmetic, Golden, unfilled, watch

from baselines.nestedformer import SEGMENTER
from baselines.nestedformer.network import window_for
from baselines.nestedformer.released import our_name
from harness.errors import HarnessError, StudyError
from harness.segmenters import Task
from harness.segmenters.released import import_weights

FACTS = json.loads((Path(__file__).parents[1] / "parity" / "baseline_facts.json").read_text())["NestedFormer"]


def task(modalities: int, classes: int, *patch_size: int) -> Task:
    return Task(tuple(f"m{index}" for index in range(modalities)), None, classes, patch_size)


@pytest.mark.parametrize(
    ("facts", "classes"), [(FACTS, 3), (FACTS["variants"]["common3d"], 4)], ids=["official", "four_classes"]
)
def test_parameters_equal_the_official_ones(facts: dict, classes: int) -> None:
    _, modalities, *patch_size = facts["input"]
    with torch.device("meta"):
        network = SEGMENTER.build(task(modalities, classes, *patch_size))
    shapes = Counter(str(list(parameter.shape)) for parameter in network.parameters())
    assert shapes == Counter(facts["param_shape_histogram"])
    assert sum(parameter.numel() for parameter in network.parameters()) == facts["params"]
    dead = sum(network.get_parameter(name).numel() for name in network.dead_parameters)
    assert dead == FACTS["params_never_receiving_gradient"]


def test_parameters_follow_the_patch_size() -> None:
    with torch.device("meta"):
        network = SEGMENTER.build(task(4, 4, 64, 64, 64))
    assert sum(parameter.numel() for parameter in network.parameters()) == 6_145_802


@pytest.mark.parametrize(
    "precision",  # one convolution in double precision takes 29 GB
    [
        pytest.param(ON_CPU, marks=pytest.mark.slow, id="float32"),
        pytest.param(ON_GPU, marks=pytest.mark.cuda, id="cuda"),
    ],
)
def test_function_is_the_released_codes(precision: Arithmetic) -> None:
    golden = Golden.load("nestedformer", precision)
    network = unfilled(SEGMENTER, SEGMENTER.official_task, precision=precision)
    report = import_weights(network, golden.released(), SEGMENTER.load_translator())
    assert report.complete
    assert not report.ignored
    stages = {stage: network.get_submodule(our_name(stage)) for stage in {*golden.stages, *golden.probes}}
    with torch.inference_mode(), watch(stages) as seen:
        output = network(golden.input)
    golden.check_output(output)
    for stage in golden.stages:
        golden.check_stage(stage, seen[stage])
    for probe in golden.probes:
        golden.check_probe(probe, seen[probe])


def test_every_released_name_has_one_of_ours() -> None:
    shapes = Golden.load("nestedformer").facts["state_dict"]
    with torch.device("meta"):
        network = SEGMENTER.build(SEGMENTER.official_task)
    assert {our_name(name): tuple(shape) for name, shape in shapes.items()} == {
        name: tuple(tensor.shape) for name, tensor in network.state_dict().items()
    }


def test_weights_of_another_network_are_refused() -> None:
    network = SEGMENTER.build(task(1, 3, 32, 32))
    with pytest.raises(HarnessError, match=r"1 surplus: other\.weight"):
        import_weights(network, {"other.weight": torch.ones(1)}, SEGMENTER.load_translator())


def test_gates_weigh_the_maps_of_every_modality() -> None:
    plain, gated = (
        SEGMENTER.build(task(2, 3, 32, 32), {"preset": "tiny", "gating": gating}).eval()
        for gating in ("released", "paper")
    )
    added = {
        name: tuple(tensor.shape)
        for name, tensor in gated.state_dict().items()
        if name not in plain.state_dict() and name.endswith("weight")
    }
    assert added == {
        f"skips.{level}.gate.0.weight": (2 * width, 2 * width, 1, 1) for level, width in enumerate((8, 8, 16, 32))
    }
    gated.load_state_dict(plain.state_dict(), strict=False)
    for level in range(4):
        gate = gated.get_submodule(f"skips.{level}.gate.0")
        torch.nn.init.zeros_(gate.weight)
        torch.nn.init.constant_(gate.bias, 100.0)  # wide open
    image = torch.randn(1, 2, 32, 32)
    with torch.no_grad():
        assert torch.allclose(gated(image), plain(image), atol=1e-5)
        torch.nn.init.constant_(gated.get_submodule("skips.0.gate.0").bias, -100.0)
        assert not torch.allclose(gated(image), plain(image), atol=1e-2)


def test_windows_are_as_set_and_no_larger_than_the_grid() -> None:
    default, flat = (SEGMENTER.parse_options({"window_depth": depth}) for depth in (4, 2))
    assert window_for((8, 8, 8), default) == [4, 4, 4]
    assert window_for((8, 8, 8), flat) == [2, 4, 4]
    assert window_for((2, 8), default) == [2, 4]


@pytest.mark.parametrize(
    ("patch_size", "nearest"),
    [
        ((100, 128), "128 x 128"),
        ((90, 128), "64 x 128"),
        ((8, 64, 70), "32 x 64 x 64"),
        ((64, 48), None),
        ((160, 128), "128 x 128"),
    ],
)
def test_patch_it_cannot_take_is_refused_with_the_nearest_valid_one(
    patch_size: tuple[int, ...], nearest: str | None
) -> None:
    if nearest is None:
        SEGMENTER.build(task(1, 2, *patch_size), {"preset": "tiny"})
        return
    with pytest.raises(StudyError, match="nestedformer cannot take") as caught:
        SEGMENTER.build(task(1, 2, *patch_size), {"preset": "tiny"})
    assert nearest in str(caught.value)


def test_other_windows_take_other_patches() -> None:
    network = SEGMENTER.build(task(1, 2, 96, 96), {"preset": "tiny", "window_side": 3, "window_depth": 2}).eval()
    assert network(torch.randn(1, 1, 96, 96)).shape == (1, 2, 96, 96)


def test_coarsest_maps_are_exact_under_autocast_on_the_cpu() -> None:
    network = SEGMENTER.build(task(2, 3, 32, 32, 32), {"preset": "tiny"})
    modules = {"fuse": network.fuse, "masks": network.nmafa.cross.learn_tokens.masks}
    with watch(modules) as seen, torch.autocast("cpu", dtype=torch.bfloat16):
        network(torch.randn(1, 2, 32, 32, 32))
    assert {each.dtype for each in seen.values()} == {torch.float32}


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(StudyError, match="heads 5 does not divide the 128 channels"):
        SEGMENTER.parse_options({"heads": 5})


def test_slices_are_declared_an_adaptation() -> None:
    assert SEGMENTER.adapted_dims == {2}
