from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from golden import PRECISIONS, Arithmetic, Golden, unfilled, watch
from torch import Tensor

from baselines.nnformer import SEGMENTER
from baselines.nnformer.attention import released_index
from baselines.nnformer.network import NnFormer
from baselines.nnformer.released import translate
from baselines.shared.windows import relative_position_index
from harness.errors import HarnessError, StudyError
from harness.segmenters import Task
from harness.segmenters.released import import_weights

FACTS = json.loads((Path(__file__).parents[1] / "parity" / "baseline_facts.json").read_text())["nnFormer"]
SLICES = Task(("ct", "pet"), None, 3, (64, 96))
VOLUMES = Task(("ct", "pet"), None, 3, (64, 32, 32))
TUMOUR = SEGMENTER.official_task
SYNAPSE = Task(("ct",), None, 14, (64, 128, 128))
SYNAPSE_OPTIONS = {
    "width": 192,
    "num_heads": 6,
    "token_size": [2, 4, 4],
    "decoder_heads": "matched",
    "deep_supervision": True,
}

#: Modules of the golden and ours; maps have channels last here, tokens in a row there.
STAGES = {
    "model_down.patch_embed": "embed",
    "model_down.norm0": "norms.0",
    "model_down.norm1": "norms.1",
    "model_down.norm2": "norms.2",
    "model_down.layers.3": "levels.3",
    "model_down.norm3": "norms.3",
    "decoder.layers.2": "decoder.0",
    "decoder.layers.1": "decoder.1",
    "decoder.layers.0.Upsample": "decoder.2.up",
    "decoder.layers.0.blocks.0": "decoder.2.fuse",
    "decoder.layers.0": "decoder.2",
    "final.0": "heads.0",
}


@pytest.mark.parametrize(
    ("facts", "task", "options"),
    [
        (FACTS, TUMOUR, SEGMENTER.official_options),
        (FACTS["variants"]["native_tumor_deep_supervision"], TUMOUR, {"deep_supervision": True}),
        (FACTS["variants"]["native_synapse"], SYNAPSE, SYNAPSE_OPTIONS),
    ],
    ids=["tumour", "tumour_deep_supervision", "synapse"],
)
def test_parameters_are_the_official_ones(facts: Mapping[str, Any], task: Task, options: Mapping[str, Any]) -> None:
    with torch.device("meta"):
        network = SEGMENTER.build(task, options)
    shapes = Counter(str(list(parameter.shape)) for parameter in network.parameters())
    assert shapes == Counter(facts["param_shape_histogram"])
    assert sum(parameter.numel() for parameter in network.parameters()) == facts["params"]
    assert not network.dead_parameters


def test_declared_official_configuration_is_the_measured_one() -> None:
    assert FACTS["params"] == SEGMENTER.official_parameters
    assert FACTS["input"] == [1, TUMOUR.in_channels, *TUMOUR.patch_size]


def test_every_released_entry_has_its_place() -> None:
    golden = Golden.load("nnformer")
    released = {n: tensor for n, tensor in golden.released_shapes().items() if n not in golden.facts["not_filled"]}
    with torch.device("meta"):
        network = SEGMENTER.build(TUMOUR)
    translation = translate(released, network)
    expected = {name: value.shape for name, value in network.state_dict().items()}
    assert {name: value.shape for name, value in translation.weights.items()} == expected
    assert {name for names in translation.sources.values() for name in names} == released.keys()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_official_configuration_equals_the_released_code(precision: Arithmetic) -> None:
    golden = Golden.load("nnformer", precision)
    network = unfilled(SEGMENTER, TUMOUR, precision=precision)
    report = import_weights(network, golden.released(), translate)
    assert report.complete
    with torch.inference_mode(), watch({t: network.get_submodule(o) for t, o in STAGES.items()}) as seen:
        logits = network(golden.input)
    assert seen.keys() == set(golden.stages)
    golden.check_output(logits)
    for path in golden.stages:
        golden.check_stage(path, seen[path])
    for path in golden.probes:
        golden.check_probe(path, seen[path].flatten(1, 3))


@pytest.mark.parametrize(("window", "rows"), [((4, 4, 4), 115), ((8, 8, 8), 547)])
def test_released_index_reaches_few_rows(window: tuple[int, ...], rows: int) -> None:
    index = released_index(window)
    assert index.unique().tolist() == list(range(rows))
    assert len(relative_position_index(window).unique()) == math.prod(2 * side - 1 for side in window)
    first, last = 0, len(index) - 1
    assert index[first, first] == (window[0] - 1) * (5 * window[0] - 1)
    assert (index[last, first], index[first, last]) == (rows - 1, 0)


@pytest.mark.parametrize("window", [(4, 4), (8, 4), (4, 4, 1), (1, 1, 1)])
def test_released_index_is_the_correct_one_where_theirs_has_no_fault_or_no_row(window: tuple[int, ...]) -> None:
    assert torch.equal(released_index(window), relative_position_index(window))


@pytest.mark.parametrize("task", [SLICES, VOLUMES], ids=["2d", "3d"])
def test_relative_index_matters_in_volumes_only(task: Task) -> None:
    networks = [SEGMENTER.build(task, {"preset": "tiny", "relative_index": kind}) for kind in ("released", "correct")]
    networks[1].load_state_dict(networks[0].state_dict())
    image = torch.randn(1, 2, *task.patch_size)
    with torch.no_grad():
        released, correct = (network.eval()(image) for network in networks)
    assert torch.equal(released, correct) is (task.spatial_dims == 2)


def test_matched_heads_change_the_decoders_tables_only() -> None:
    released, matched = (
        SEGMENTER.build(SLICES, {"preset": "tiny", "decoder_heads": kind}).state_dict()
        for kind in ("released", "matched")
    )
    other = {name for name in released if released[name].shape != matched[name].shape}
    assert all(name.endswith(".position_bias.table") for name in other)
    assert len(other) == 6
    assert all(name.startswith("decoder.") for name in other)


def test_weights_of_the_released_index_are_refused_by_the_correct_one() -> None:
    index = {"model_down.layers.0.blocks.0.attn.relative_position_index": released_index((4, 4, 4))}
    options = {"preset": "tiny"}
    assert translate(index, SEGMENTER.build(VOLUMES, options)).ignored == index.keys()
    with pytest.raises(HarnessError, match="relative_index: released"):
        translate(index, SEGMENTER.build(VOLUMES, {**options, "relative_index": "correct"}))


def test_deep_supervision_returns_three_outputs_with_halved_weights() -> None:
    network = SEGMENTER.build(SLICES, {"preset": "tiny", "deep_supervision": True})
    image = torch.randn(1, 2, 64, 96)
    sizes = [tuple(output.shape[2:]) for output in network.train()(image)]
    assert sizes == [(64, 96), (32, 48), (16, 24)]
    assert network.deep_supervision_weights == pytest.approx([4 / 7, 2 / 7, 1 / 7])
    assert isinstance(network.eval()(image), Tensor)
    assert not hasattr(SEGMENTER.build(SLICES, {"preset": "tiny"}), "deep_supervision_weights")


def test_windows_shift_where_a_map_holds_several() -> None:
    with torch.device("meta"):
        network = SEGMENTER.build(TUMOUR)
    assert isinstance(network, NnFormer)
    shifts = [[block.shift for block in level] for level in network.levels]
    assert shifts == [[(0, 0, 0), (2, 2, 2)], [(0, 0, 0), (2, 2, 2)], [(0, 0, 0)] * 2, [(0, 0, 0)] * 2]
    assert [level.refine.shift for level in network.decoder] == [(0, 0, 0), (2, 2, 2), (2, 2, 2)]
    assert [level.fuse.shift for level in network.decoder] == [(0, 0, 0)] * 3


def test_paths_are_dropped_as_in_the_released_code() -> None:
    with torch.device("meta"):
        network = SEGMENTER.build(TUMOUR)
    encoder = [block.drop_path.drop_prob for level in network.levels for block in level]
    assert encoder == pytest.approx([0.2 * block / 7 for block in range(8)])
    decoder = [rate for level in network.decoder for rate in (level.fuse.drop_path, level.refine.drop_path)]
    assert [rate.drop_prob for rate in decoder] == pytest.approx([0.2 * block / 5 for block in range(6)])


def test_a_map_that_windows_do_not_divide_is_padded() -> None:
    network = SEGMENTER.build(Task(("ct",), None, 2, (160, 96)), {"preset": "tiny"}).eval()
    assert [tuple(level[0].padding) for level in network.levels] == [(0, 0), (0, 0), (6, 0), (3, 0)]
    assert [level[0].window for level in network.levels] == [(4, 4), (4, 4), (8, 6), (4, 3)]
    image = torch.randn(1, 1, 160, 96)
    with torch.no_grad():
        assert network(image).shape == (1, 2, 160, 96)


def test_biases_of_windows_of_one_token_are_declared_dead() -> None:
    network = SEGMENTER.build(Task(("ct",), None, 2, (32, 32, 32)), {"preset": "tiny"})
    assert network.dead_parameters == {f"levels.3.{block}.attention.position_bias.table" for block in range(2)}


@pytest.mark.parametrize(
    ("patch_size", "options", "nearest"),
    [
        ((100, 128), {}, "96 x 128"),
        ((40, 32, 48), {}, "32 x 32 x 64"),
        ((4, 16), {}, "32 x 32"),
        ((16, 64, 40), {"token_size": [2, 4, 1]}, "16 x 64 x 40"),
        ((20, 64, 44), {"token_size": [2, 4, 1]}, "16 x 64 x 48"),
    ],
)
def test_patch_that_is_no_multiple_of_8_tokens_is_refused_with_the_nearest_valid_one(
    patch_size: tuple[int, ...], options: dict[str, Any], nearest: str
) -> None:
    task = Task(("ct",), None, 2, patch_size)
    if nearest == " x ".join(map(str, patch_size)):
        output = SEGMENTER.build(task, {"preset": "tiny", **options}).eval()(torch.randn(1, 1, *patch_size))
        assert output.shape[2:] == patch_size
        return
    with pytest.raises(StudyError, match="Nearest valid patch_size") as caught:
        SEGMENTER.build(task, {"preset": "tiny", **options})
    assert nearest in str(caught.value.hint)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 7}, "14 heads do not divide width 96"),
        ({"num_heads": 5, "decoder_heads": "matched"}, "5 heads do not divide width 96"),
        ({"token_size": 3}, "token_size"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        SEGMENTER.parse_options(options)


def test_token_size_of_other_axes_is_refused() -> None:
    with pytest.raises(StudyError, match="does not fit a patch of 2 axes"):
        SEGMENTER.build(SLICES, {"preset": "tiny", "token_size": [2, 4, 4]})


def test_slices_are_declared_an_adaptation() -> None:
    assert SEGMENTER.adapted_dims == {2}
