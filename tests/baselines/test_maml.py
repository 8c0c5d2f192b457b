from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from golden import PRECISIONS, Arithmetic, Golden, unfilled, watch

from baselines.maml import SEGMENTER
from baselines.shared.modality_unet import plan_strides
from baselines.shared.supervision import output_weights
from harness.errors import HarnessError, StudyError
from harness.segmenters import Task
from harness.segmenters.released import import_weights

FACTS = json.loads((Path(__file__).parents[1] / "parity" / "baseline_facts.json").read_text())["MAML"]


def task(modalities: int, classes: int, *patch_size: int) -> Task:
    return Task(tuple(f"m{index}" for index in range(modalities)), None, classes, patch_size)


@pytest.mark.parametrize("facts", [FACTS, *FACTS["variants"].values()], ids=["official", *FACTS["variants"]])
def test_parameters_equal_the_official_ones(facts: dict) -> None:
    _, modalities, *patch_size = facts["input"]
    with torch.device("meta"):
        network = SEGMENTER.build(task(modalities, 4, *patch_size))
    shapes = Counter(str(list(parameter.shape)) for parameter in network.parameters())
    assert shapes == Counter(facts["param_shape_histogram"])
    assert sum(parameter.numel() for parameter in network.parameters()) == facts["params"]


def ours(stage: str) -> str:
    """Our module of a module of the released network's decoders or fusion."""
    for theirs, here in {
        "modality_specific_models": "unets",
        "conv_blocks_context": "encoder.stages",
        "conv_blocks_localization": "stages",
        "tu.": "ups.",
        "seg_outputs": "heads",
        "fusion": "mix",
        "modality_aware_modules": "attentions",
        "output": "head",
    }.items():
        stage = stage.replace(theirs, here)
    return stage


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", [pytest.param("maml", marks=pytest.mark.slow), "maml_2d"])
def test_function_is_the_released_codes(name: str, precision: Arithmetic) -> None:
    golden = Golden.load(name, precision)
    _, modalities, *patch_size = golden.input.shape
    network = unfilled(SEGMENTER, task(modalities, 4, *patch_size), {"poolings": 5}, precision).train()
    report = import_weights(network, golden.released(), SEGMENTER.load_translator())
    assert report.complete
    assert not report.ignored
    stages = {stage: network.get_submodule(ours(stage)) for stage in golden.stages}
    assert golden.probes
    assert stages.keys() >= set(golden.probes)
    with torch.inference_mode(), watch(stages) as seen:  # the modalities' own heads run in training mode only
        first, *_ = network(golden.input)
    golden.check_output(first)  # in eval mode it is the same, see test_both_modes_compute_the_same
    for stage in golden.stages:
        golden.check_stage(stage, seen[stage])
    for probe in golden.probes:
        golden.check_probe(probe, seen[probe])


def test_weights_of_another_network_are_refused() -> None:
    released = Golden.load("maml_2d").released_shapes()
    with torch.device("meta"):
        network = SEGMENTER.build(task(2, 4, 128, 128), {"poolings": 5})
    with pytest.raises(HarnessError, match=r"surplus: modality_specific_models\.2"):
        import_weights(network, released, SEGMENTER.load_translator())


def test_outputs_come_level_by_level_with_the_authors_weights() -> None:
    network = SEGMENTER.build(task(2, 3, 128, 128), {"preset": "tiny", "poolings": None}).train()
    outputs = network(torch.randn(1, 2, 128, 128))
    assert [tuple(logits.shape[2:]) for logits in outputs] == [
        (128, 128), *[(side, side) for side in (128, 64, 32, 16, 8) for _ in range(2)]
    ]  # fmt: skip
    assert network.deep_supervision_weights == pytest.approx(
        [8 / 15, *[weight / 15 for weight in (8, 4, 2, 1, 0) for _ in range(2)]]
    )
    assert sum(network.deep_supervision_weights) == pytest.approx(2 + 8 / 15)
    assert network.dead_parameters == {"unets.0.heads.0.weight", "unets.1.heads.0.weight"}


def test_both_modes_compute_the_same() -> None:
    network = SEGMENTER.build(task(3, 2, 32, 16, 32), {"preset": "tiny"})
    image = torch.randn(2, 3, 32, 16, 32)
    with torch.no_grad():
        assert torch.equal(network.train()(image)[0], network.eval()(image))


def test_without_deep_supervision_no_own_head_is_trained() -> None:
    network = SEGMENTER.build(task(2, 3, 32, 32), {"base_features": 8, "deep_supervision": False}).train()
    assert isinstance(network(torch.randn(1, 2, 32, 32)), torch.Tensor)
    assert not hasattr(network, "deep_supervision_weights")
    assert network.dead_parameters == {name for name, _ in network.named_parameters() if ".heads." in name}


def test_a_single_level_keeps_its_weight() -> None:
    assert output_weights(1) == [1.0]


def test_depth_follows_nnunets_rule_or_the_option() -> None:
    assert plan_strides((128, 128, 16), None, "maml") == [
        (1, 1, 1),
        (2, 2, 2),
        (2, 2, 2),
        (2, 2, 1),
        (2, 2, 1),
        (2, 2, 1),
    ]
    assert plan_strides((64, 64), 5, "maml") == [(1, 1)] + [(2, 2)] * 5


@pytest.mark.parametrize(
    ("patch_size", "poolings", "valid"),
    [
        ((100, 128), None, "112 x 128"),
        ((4, 8), None, "8 x 8"),
        ((100, 128), 5, "96 x 128"),
        ((32, 32), 5, "64 x 64"),
    ],
)
def test_patch_it_cannot_halve_is_refused_with_a_valid_one(
    patch_size: tuple[int, ...], poolings: int | None, valid: str
) -> None:
    with pytest.raises(StudyError, match=valid):
        SEGMENTER.build(task(1, 2, *patch_size), {"preset": "tiny", "poolings": poolings})


def test_cap_below_the_base_is_refused() -> None:
    with pytest.raises(StudyError, match="max_features 4 is below base_features 16"):
        SEGMENTER.parse_options({"max_features": 4})
