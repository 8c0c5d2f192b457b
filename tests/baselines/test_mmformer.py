from __future__ import annotations

import pytest
import torch
from golden import PRECISIONS, Arithmetic, Golden, unfilled

from baselines.mmformer import SEGMENTER
from baselines.mmformer.released import our_name, translate
from harness.errors import StudyError
from harness.segmenters import Task
from harness.segmenters.conformance.recorded import check_recorded
from harness.segmenters.released import import_weights

SLICES = Task(("flair", "t1", "t2"), None, 3, (32, 48))
#: The product with the mask is a module there.
WITHOUT = frozenset({"masker"})


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["mmformer", "mmformer_missing2"])
def test_function_is_the_released_codes(name: str, precision: Arithmetic) -> None:
    golden = Golden.load(name, precision)
    network = unfilled(SEGMENTER, SEGMENTER.official_task, precision=precision)
    assert import_weights(network, golden.released(), translate).complete
    golden.check_network(network, our_name, without=WITHOUT)


def test_every_released_entry_has_its_place() -> None:
    golden = Golden.load("mmformer")
    released = golden.released_shapes()
    with torch.device("meta"):
        network = SEGMENTER.build(SEGMENTER.official_task)
    translation = translate(released, network)
    assert {name: tensor.shape for name, tensor in translation.weights.items()} == {
        name: tensor.shape for name, tensor in network.state_dict().items()
    }
    unused = sum(released[name].numel() for name in translation.ignored)
    assert unused == 262_656
    assert SEGMENTER.official_parameters + unused == golden.facts["trainable_params"]


def test_training_sees_the_fused_output_every_modality_and_coarser_levels() -> None:
    network = SEGMENTER.build(SLICES, {"preset": "tiny"}).train()
    outputs = network(torch.randn(2, 3, 32, 48))
    assert len(outputs) == len(network.deep_supervision_weights) == 1 + 3 + 4
    assert {tuple(logits.shape) for logits in outputs} == {(2, 3, 32, 48)}


def test_drawn_sets_can_be_recorded() -> None:
    check_recorded(SEGMENTER, SLICES, {"preset": "tiny", "drop_modalities": True})


@pytest.mark.parametrize(("patch_size", "nearest"), [((100, 128), "96 x 128"), ((16, 32, 32), "32 x 32 x 32")])
def test_patch_it_cannot_take_is_refused_with_the_nearest_valid_one(patch_size: tuple[int, ...], nearest: str) -> None:
    with pytest.raises(StudyError, match="mmformer") as caught:
        SEGMENTER.build(Task(("ct",), None, 2, patch_size), {"preset": "tiny"})
    assert nearest in str(caught.value)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(StudyError, match="num_heads 3 does not divide hidden_size 512"):
        SEGMENTER.parse_options({"num_heads": 3})
