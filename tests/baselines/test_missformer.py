from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from golden import PRECISIONS, Arithmetic, Golden, unfilled, watch
from timm.models.pvt_v2 import Block as PVTBlock

from baselines.missformer import SEGMENTER
from baselines.missformer.blocks import Block
from baselines.missformer.bridge import join, split
from harness.errors import HarnessError, StudyError
from harness.segmenters import Task
from harness.segmenters.released import import_weights

FACTS = json.loads((Path(__file__).parents[1] / "parity" / "baseline_facts.json").read_text())["MISSFormer"]
OFFICIAL = SEGMENTER.official_task
SLICES = Task(("t1", "t1ce", "t2", "flair"), None, 4, (128, 128))
KEEP = {"dead_layers": "keep"}
STAGES = {
    "backbone.patch_embed1": "encoder.0.embed",
    **{f"backbone.norm{level + 1}": f"encoder.{level}.norm" for level in range(4)},
    "bridge.bridge_layer1.attn.scale_reduce": "bridge.0.attn.reduce",
    "bridge.bridge_layer1": "bridge.0",
    "bridge.bridge_layer4": "bridge.3",
    "decoder_3": "expand",
    "decoder_2": "decoder.0",
    "decoder_1": "decoder.1",
    "decoder_0.layer_former_2": "decoder.2.blocks.1",
    "decoder_0.layer_up": "decoder.2.expand",
    "decoder_0": "head",
}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    "options",
    [pytest.param({}, id="drop"), pytest.param(KEEP, marks=pytest.mark.slow, id="keep")],  # these change no output
)
def test_function_is_the_authors(options: Mapping[str, str], precision: Arithmetic) -> None:
    golden = Golden.load("missformer", precision)
    network = unfilled(SEGMENTER, OFFICIAL, options, precision)
    report = import_weights(network, golden.released(), SEGMENTER.load_translator())
    assert set(report.ignored) == (set() if options else set(golden.facts["no_effect_on_output"]))
    modules = {theirs: network.get_submodule(ours) for theirs, ours in STAGES.items()}
    with torch.no_grad(), watch(modules) as seen:
        golden.check_output(network(golden.input))
    for path in golden.stages:
        golden.check_stage(path, seen[path])
    for path in golden.probes:
        tokens = seen[path] if seen[path].ndim == 3 else seen[path].flatten(1, 2)
        golden.check_probe(path, tokens)


@pytest.mark.parametrize(
    ("task", "facts"),
    [
        (OFFICIAL, FACTS),
        (SLICES, FACTS["variants"]["common2d"]),
        (Task(SLICES.modalities, None, 4, (224, 224)), FACTS["variants"]["common2d_224"]),
    ],
    ids=["native", "slices", "slices_224"],
)
def test_parameters_equal_the_official_ones(task: Task, facts: dict[str, object]) -> None:
    with torch.device("meta"):
        network = SEGMENTER.build(task, KEEP)
    shapes = Counter(str(list(parameter.shape)) for parameter in network.parameters())
    assert shapes == Counter(facts["param_shape_histogram"])
    assert sum(parameter.numel() for parameter in network.parameters()) == facts["params"]


def test_dead_layers_are_those_of_the_released_network() -> None:
    with torch.device("meta"):
        dropped, kept = (SEGMENTER.build(OFFICIAL, options) for options in ({}, KEEP))
    parameters = dict(kept.named_parameters())
    assert dropped.dead_parameters == frozenset()
    assert set(dict(dropped.named_parameters())) == set(parameters) - kept.dead_parameters
    dead = sum(parameters[name].numel() for name in kept.dead_parameters)
    assert dead == FACTS["params_never_receiving_gradient"]


def test_dead_layers_get_no_gradient_and_all_others_do() -> None:
    network = SEGMENTER.build(Task(("ct",), None, 2, (64, 64)), {"preset": "tiny", **KEEP})
    network(torch.randn(1, 1, 64, 64)).square().mean().backward()
    silent = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert silent == network.dead_parameters


def test_checkpoint_without_dead_layers_needs_a_network_without_them() -> None:
    golden = Golden.load("missformer")
    dead = set(golden.facts["no_effect_on_output"])
    released = {name: tensor for name, tensor in golden.released_shapes().items() if name not in dead}
    with torch.device("meta"):
        dropped, kept = (SEGMENTER.build(OFFICIAL, options) for options in ({}, KEEP))
    assert import_weights(dropped, released, SEGMENTER.load_translator()).complete
    with pytest.raises(HarnessError, match="166 missing"):
        import_weights(kept, released, SEGMENTER.load_translator())


def test_sequence_of_all_scales_is_cut_back_into_the_maps() -> None:
    channels, sizes = (4, 8, 20, 32), [(8, 16), (4, 8), (2, 4), (1, 2)]
    maps = [torch.randn(3, *size, count) for size, count in zip(sizes, channels, strict=True)]
    tokens = join(maps)
    assert tokens.shape == (3, (64 + 2 * 16 + 5 * 4 + 8) * 2, 4)
    assert torch.equal(tokens[:, 128:130].flatten(1), maps[1][:, 0, 0])
    assert all(torch.equal(*pair) for pair in zip(split(tokens, channels, sizes), maps, strict=True))


def test_block_without_its_norm_and_identity_is_pvts() -> None:
    ours, theirs = Block(32, 2, 4, spares=False).eval(), PVTBlock(32, 2, sr_ratio=4, qkv_bias=True).eval()
    weights = {
        name.replace("mlp.dwconv", "ffn.depthwise").replace("mlp.", "ffn."): tensor
        for name, tensor in theirs.state_dict().items()
    }
    missing, unexpected = ours.load_state_dict(weights, strict=False)
    assert (missing, unexpected) == (["ffn.norm.weight", "ffn.norm.bias"], [])
    image = torch.randn(2, 8, 12, 32)
    attended = image.flatten(1, 2) + theirs.attn(theirs.norm1(image.flatten(1, 2)), [8, 12])
    with torch.no_grad(), watch({"norm2": ours.norm2}) as seen:
        ours(image)
        torch.testing.assert_close(seen["norm2"].flatten(1, 2), theirs.norm2(attended), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("patch_size", [(64, 96), (32, 32), (128, 160)])
def test_any_patch_with_sides_of_32_works(patch_size: tuple[int, int]) -> None:
    network = SEGMENTER.build(Task(("ct",), None, 2, patch_size), {"preset": "tiny"}).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 1, *patch_size)).shape == (1, 2, *patch_size)


def test_patch_that_is_no_multiple_of_32_is_refused_with_the_nearest_valid_one() -> None:
    with pytest.raises(StudyError, match="96 x 128"):
        SEGMENTER.build(Task(("ct",), None, 2, (100, 120)), {"preset": "tiny"})


def test_unknown_choice_of_dead_layers_is_refused() -> None:
    with pytest.raises(StudyError, match="dead_layers"):
        SEGMENTER.parse_options({"dead_layers": "bury"})
