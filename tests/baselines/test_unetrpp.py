from __future__ import annotations

import pytest
import torch
from golden import PRECISIONS, Arithmetic, Golden, unfilled

from baselines.unetrpp import SEGMENTER
from baselines.unetrpp.network import PairedAttention
from baselines.unetrpp.released import our_name, translate
from harness.errors import StudyError
from harness.segmenters import Task
from harness.segmenters.released import import_weights


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_function_is_the_released_codes(precision: Arithmetic) -> None:
    golden = Golden.load("unetrpp", precision)
    network = unfilled(SEGMENTER, SEGMENTER.official_task, precision=precision)
    assert import_weights(network, golden.released(), translate).complete
    golden.check_network(network, our_name)


@pytest.mark.parametrize("supervised", [True, False])
def test_every_released_entry_has_its_place(supervised: bool) -> None:
    golden = Golden.load("unetrpp")
    with torch.device("meta"):
        network = SEGMENTER.build(SEGMENTER.official_task, {"deep_supervision": supervised})
    translation = translate(golden.released_shapes(), network)
    assert {name: tensor.shape for name, tensor in translation.weights.items()} == {
        name: tensor.shape for name, tensor in network.state_dict().items()
    }
    heads = {"out2.conv.conv.weight", "out2.conv.conv.bias", "out3.conv.conv.weight", "out3.conv.conv.bias"}
    assert translation.ignored == (set() if supervised else heads)
    assert SEGMENTER.official_parameters == golden.facts["trainable_params"]


def test_places_attend_to_projected_places_and_are_put_back_as_released() -> None:
    """Against the sums, written out for one head."""
    torch.manual_seed(0)
    attention = PairedAttention(6, 4, 3, 1, 0.0).eval()
    tokens = torch.randn(1, 6, 4)
    with torch.no_grad():
        query, key, of_channels, of_places = attention.qkvv(tokens)[0].split(4, dim=1)
        unit_query, unit_key = query / query.norm(dim=0), key / key.norm(dim=0)
        by_channel = of_channels @ (unit_query.T @ unit_key).softmax(dim=1).T
        projected = attention.project.T
        by_place = (unit_query @ (projected @ key).T).softmax(dim=1) @ (projected @ of_places)
        expected = by_channel + by_place.T.reshape(6, 4)
        torch.testing.assert_close(attention(tokens)[0], expected)


def test_training_sees_three_resolutions() -> None:
    network = SEGMENTER.build(Task(("ct", "pet"), None, 3, (64, 32)), {"preset": "tiny"}).train()
    assert [tuple(logits.shape) for logits in network(torch.randn(2, 2, 64, 32))] == [
        (2, 3, 64, 32), (2, 3, 16, 8), (2, 3, 8, 4)
    ]  # fmt: skip
    assert network.deep_supervision_weights == pytest.approx([4 / 7, 2 / 7, 1 / 7])


def test_groups_follow_the_channels_that_come_in_as_far_as_they_divide() -> None:
    for modalities, groups in ((1, 1), (3, 1), (4, 4), (6, 2)):
        task = Task(tuple(f"m{index}" for index in range(modalities)), None, 2, (64, 64))
        network = SEGMENTER.build(task, {"preset": "tiny"})
        assert [down[1].num_groups for down in network.downs] == [groups, 8, 16, 32]


@pytest.mark.parametrize(("patch_size", "nearest"), [((100, 128), "96 x 128"), ((32, 32, 32), "64 x 64 x 64")])
def test_patch_it_cannot_take_is_refused_with_the_nearest_valid_one(patch_size: tuple[int, ...], nearest: str) -> None:
    with pytest.raises(StudyError, match="unetrpp") as caught:
        SEGMENTER.build(Task(("ct",), None, 2, patch_size), {"preset": "tiny"})
    assert nearest in str(caught.value)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(StudyError, match="num_heads 5 does not divide width 32"):
        SEGMENTER.parse_options({"num_heads": 5})
