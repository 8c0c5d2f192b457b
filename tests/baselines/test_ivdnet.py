from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from golden import PRECISIONS, Arithmetic, Golden, unfilled, watch
from torch.nn import functional

from baselines.ivdnet import SEGMENTER
from baselines.ivdnet.released import our_name
from harness.errors import HarnessError, StudyError
from harness.segmenters import Task
from harness.segmenters.released import import_weights

FACTS = json.loads((Path(__file__).parents[1] / "parity" / "baseline_facts.json").read_text())["IVD-Net"]


def task(modalities: int, classes: int, *patch_size: int) -> Task:
    return Task(tuple(f"m{index}" for index in range(modalities)), None, classes, patch_size)


@pytest.mark.parametrize(
    ("facts", "classes"), [(FACTS, 2), (FACTS["variants"]["common2d"], 4)], ids=["official", "slices"]
)
def test_parameters_equal_the_official_ones(facts: dict, classes: int) -> None:
    _, modalities, *patch_size = facts["input"]
    with torch.device("meta"):
        network = SEGMENTER.build(task(modalities, classes, *patch_size))
    shapes = Counter(str(list(parameter.shape)) for parameter in network.parameters())
    assert shapes == Counter(facts["param_shape_histogram"])
    assert sum(parameter.numel() for parameter in network.parameters()) == facts["params"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_function_is_the_released_codes_on_every_level(precision: Arithmetic) -> None:
    golden = Golden.load("ivdnet", precision)
    network = unfilled(SEGMENTER, task(4, 2, 96, 96), precision=precision)
    report = import_weights(network, golden.released(), SEGMENTER.load_translator())
    assert report.complete
    assert not report.ignored
    stages = {stage: network.get_submodule(our_name(stage)) for stage in {*golden.stages, *golden.probes}}
    assert {"bridge", "down_4_3", "up_1"} <= stages.keys()  # the output alone is blind to the deep levels
    with torch.inference_mode(), watch(stages) as seen:
        output = network(golden.input)
    golden.check_output(output)
    for stage in golden.stages:
        golden.check_stage(stage, seen[stage])
    for probe in golden.probes:
        golden.check_probe(probe, seen[probe])


def test_weights_of_another_network_are_refused() -> None:
    released = {**Golden.load("ivdnet").released_shapes(), "other.weight": torch.ones(1)}
    with torch.device("meta"):
        network = SEGMENTER.build(task(4, 2, 64, 64))
    with pytest.raises(HarnessError, match=r"1 surplus: other\.weight"):
        import_weights(network, released, SEGMENTER.load_translator())


@pytest.mark.parametrize("modalities", [1, 2, 3, 8])
def test_widths_follow_the_number_of_modalities(modalities: int) -> None:
    network = SEGMENTER.build(task(modalities, 3, 32, 64), {"width": 2})
    entries = [network.get_submodule(f"encoders.{level}.0.entry.0").in_channels for level in range(4)]
    assert entries == [1, 2 * modalities, 6 * modalities, 14 * modalities]
    assert network.get_submodule("bridge.entry.0").in_channels == 30 * modalities
    assert network.eval()(torch.randn(1, modalities, 32, 64)).shape == (1, 3, 32, 64)


def test_links_over_levels_are_cropped_pooled_or_resized() -> None:
    image = torch.randn(1, 2, 8, 12)
    shrunk = {
        crop: SEGMENTER.build(task(2, 2, 32, 32), {"width": 1, "crop": crop}).shrink(image)
        for crop in ("centre", "pool", "resize")
    }
    assert torch.equal(shrunk["centre"], image[:, :, 2:6, 3:9])
    assert torch.equal(shrunk["pool"], functional.max_pool2d(image, 2))
    assert torch.allclose(shrunk["resize"], functional.avg_pool2d(image, 2))


def test_initialisation_is_xaviers() -> None:
    network = SEGMENTER.build(task(4, 2, 32, 32), {"width": 8})
    for weight, fans in (
        (network.get_submodule("bridge.exit.0").weight, 9 * (128 + 128)),
        (network.get_submodule("ups.0.0").weight, 9 * (128 + 64)),
    ):
        assert weight.std().item() == pytest.approx((2 / fans) ** 0.5, rel=0.02)
    scales = network.get_submodule("bridge.exit.1").weight
    assert scales.mean().item() == pytest.approx(1.0, abs=0.01)
    assert scales.std().item() == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize(
    ("patch_size", "crop", "nearest"),
    [((48, 100), "centre", "64 x 96"), ((8, 64), "centre", "32 x 64"), ((40, 100), "pool", "48 x 96")],
)
def test_patch_it_cannot_take_is_refused_with_the_nearest_valid_one(
    patch_size: tuple[int, ...], crop: str, nearest: str
) -> None:
    with pytest.raises(StudyError, match=nearest):
        SEGMENTER.build(task(1, 2, *patch_size), {"preset": "tiny", "crop": crop})


def test_multiples_of_16_are_enough_without_a_crop() -> None:
    network = SEGMENTER.build(task(2, 2, 48, 80), {"width": 1, "crop": "pool"}).eval()
    assert network(torch.randn(1, 2, 48, 80)).shape == (1, 2, 48, 80)
