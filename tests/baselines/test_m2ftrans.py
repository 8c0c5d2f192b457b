from __future__ import annotations

import pytest
import torch
from golden import PRECISIONS, Arithmetic, Golden, unfilled

from baselines.m2ftrans import SEGMENTER
from baselines.m2ftrans.released import our_name, translate
from harness.errors import StudyError
from harness.segmenters import Task
from harness.segmenters.conformance.recorded import check_recorded
from harness.segmenters.released import import_weights

SLICES = Task(("flair", "t1", "t2"), None, 3, (32, 48))
#: Modules there and methods here; they return the transformer's maps, and features weighed by attention.
WITHOUT = frozenset({"Bottleneck", "weight_attention"})


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["m2ftrans", "m2ftrans_missing2"])
def test_function_is_the_released_codes(name: str, precision: Arithmetic) -> None:
    golden = Golden.load(name, precision)
    network = unfilled(SEGMENTER, SEGMENTER.official_task, precision=precision)
    assert import_weights(network, golden.released(), translate).complete
    golden.check_network(network, our_name, without=WITHOUT)


def test_every_released_entry_has_its_place() -> None:
    golden = Golden.load("m2ftrans")
    with torch.device("meta"):
        network = SEGMENTER.build(SEGMENTER.official_task)
    translated = translate(golden.released_shapes(), network).weights
    assert {name: tensor.shape for name, tensor in translated.items()} == {
        name: tensor.shape for name, tensor in network.state_dict().items()
    }
    assert SEGMENTER.official_parameters == golden.facts["trainable_params"]


def test_the_second_version_has_the_measured_parameters() -> None:
    with torch.device("meta"):
        network = SEGMENTER.build(Task(("f", "c", "t1", "t2"), None, 4, (128, 128, 128)), {"preset": "v2"})
    assert sum(parameter.numel() for parameter in network.parameters()) == 13_489_820


def test_training_sees_the_fused_output_every_modality_and_coarser_maps() -> None:
    network = SEGMENTER.build(SLICES, {"preset": "tiny"}).train()
    outputs = network(torch.randn(2, 3, 32, 48))
    assert len(outputs) == len(network.deep_supervision_weights) == 1 + 3 + 5
    assert {tuple(logits.shape) for logits in outputs} == {(2, 3, 32, 48)}


@pytest.mark.slow
def test_drawn_sets_can_be_recorded() -> None:
    check_recorded(SEGMENTER, SLICES, {"preset": "tiny", "drop_modalities": True})


@pytest.mark.parametrize(("patch_size", "nearest"), [((100, 128), "96 x 128"), ((16, 32, 32), "32 x 32 x 32")])
def test_patch_it_cannot_take_is_refused_with_the_nearest_valid_one(patch_size: tuple[int, ...], nearest: str) -> None:
    with pytest.raises(StudyError, match="m2ftrans") as caught:
        SEGMENTER.build(Task(("ct",), None, 2, patch_size), {"preset": "tiny"})
    assert nearest in str(caught.value)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(StudyError, match="num_heads 3 does not divide the 256 channels"):
        SEGMENTER.parse_options({"num_heads": 3})
