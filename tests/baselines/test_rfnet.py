from __future__ import annotations

import pytest
import torch
from golden import PRECISIONS, Arithmetic, Golden, unfilled
from torch import Tensor

from baselines.rfnet import SEGMENTER
from baselines.rfnet.released import our_name, translate
from harness.errors import StudyError
from harness.segmenters import Task
from harness.segmenters.conformance.recorded import check_recorded
from harness.segmenters.released import import_weights

SLICES = Task(("flair", "t1", "t2"), None, 3, (16, 24))


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["rfnet", "rfnet_missing2"])
def test_function_is_the_released_codes(name: str, precision: Arithmetic) -> None:
    golden = Golden.load(name, precision)
    network = unfilled(SEGMENTER, SEGMENTER.official_task, precision=precision)
    assert import_weights(network, golden.released(), translate).complete

    def as_theirs(path: str, output: Tensor) -> Tensor:
        return output.softmax(dim=1) if "prm_generator" in path else output

    golden.check_network(network, our_name, as_theirs=as_theirs)


def test_every_released_entry_has_its_place() -> None:
    released = Golden.load("rfnet").released_shapes()
    with torch.device("meta"):
        network = SEGMENTER.build(SEGMENTER.official_task)
    translated = translate(released, network).weights
    assert {name: tensor.shape for name, tensor in translated.items()} == {
        name: tensor.shape for name, tensor in network.state_dict().items()
    }


def test_training_sees_the_fused_output_every_modality_and_every_map() -> None:
    network = SEGMENTER.build(SLICES, {"preset": "tiny"}).train()
    outputs = network(torch.randn(2, 3, 16, 24))
    assert len(outputs) == len(network.deep_supervision_weights) == 1 + 3 + 4
    assert {tuple(logits.shape) for logits in outputs} == {(2, 3, 16, 24)}


def test_maps_learn_from_their_own_outputs_alone() -> None:
    network = SEGMENTER.build(SLICES, {"preset": "tiny"}).train()
    outputs = network(torch.randn(2, 3, 16, 24))
    outputs[0].square().mean().backward(retain_graph=True)
    assert all(parameter.grad is None for name, parameter in network.named_parameters() if name.startswith("maps."))
    outputs[-1].square().mean().backward()
    assert network.get_parameter("maps.0.classify.1.weight").grad is not None


def test_an_absent_modality_learns_nothing() -> None:
    network = SEGMENTER.build(SLICES, {"preset": "tiny"}).train()
    outputs = network(torch.randn(2, 3, 16, 24), torch.tensor([[1.0, 0, 1]] * 2))
    torch.stack([logits.square().mean() for logits in outputs]).sum().backward()
    gradients = [
        sum(float(parameter.grad.abs().sum()) for parameter in encoder.parameters()) for encoder in network.encoders
    ]
    assert gradients[1] == 0
    assert min(gradients[0], gradients[2]) > 0


def test_drawn_sets_change_in_training_and_can_be_recorded() -> None:
    drawing = SEGMENTER.build(SLICES, {"preset": "tiny"}).train()
    images = torch.randn(4, 3, 16, 24)
    with torch.no_grad():
        assert len({float(drawing(images)[0].sum()) for _ in range(4)}) > 1
        still = SEGMENTER.build(SLICES, {"preset": "tiny", "drop_modalities": False}).train()
        assert torch.equal(still(images)[0], still.eval()(images))
    check_recorded(SEGMENTER, SLICES, {"preset": "tiny", "drop_modalities": True})


@pytest.mark.parametrize(("patch_size", "nearest"), [((100, 128), "104 x 128"), ((8, 16, 16), "16 x 16 x 16")])
def test_patch_it_cannot_take_is_refused_with_the_nearest_valid_one(patch_size: tuple[int, ...], nearest: str) -> None:
    with pytest.raises(StudyError, match="rfnet") as caught:
        SEGMENTER.build(Task(("ct",), None, 2, patch_size), {"preset": "tiny"})
    assert nearest in str(caught.value)
