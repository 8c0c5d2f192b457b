from __future__ import annotations

import pytest
import torch
from golden import PRECISIONS, Arithmetic, Golden, unfilled

from baselines.a2fseg import SEGMENTER
from baselines.a2fseg.released import translate
from harness.errors import StudyError
from harness.segmenters import Task
from harness.segmenters.conformance.recorded import check_recorded
from harness.segmenters.released import import_weights

SLICES = Task(("t1", "t1ce", "t2"), None, 3, (16, 24))
#: A U-Net and the averages' decoder are modules there and several calls here.
WITHOUT = frozenset({"fusion_decoder", "modality_specific_models.3"})


def our_module(path: str) -> str:
    """Our module of a module of the released network."""
    for theirs, here in {
        "modality_specific_models": "unets",
        "fusion_decoder": "decoder",
        "conv_blocks_context": "encoder.stages",
        "conv_blocks_localization": "stages",
        "tu.": "ups.",
        "modality_aware_modules": "attentions",
        "lastconv.0": "join",
        "output": "head",
    }.items():
        path = path.replace(theirs, here)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["a2fseg", "a2fseg_missing2"])
def test_function_is_the_released_codes(name: str, precision: Arithmetic) -> None:
    golden = Golden.load(name, precision)
    task = Task(("t1", "t1ce", "t2", "flair"), None, 3, (64, 64, 64))
    network = unfilled(SEGMENTER, task, {"poolings": 5}, precision)
    assert import_weights(network, golden.released(), translate).complete
    golden.check_network(network, our_module, without=WITHOUT)


def test_every_released_entry_has_its_place() -> None:
    released = Golden.load("a2fseg").released_shapes()
    with torch.device("meta"):
        network = SEGMENTER.build(SEGMENTER.official_task)
    translation = translate(released, network)
    assert {name: tensor.shape for name, tensor in translation.weights.items()} == {
        name: tensor.shape for name, tensor in network.state_dict().items()
    }
    unused = sum(released[name].numel() for name in translation.ignored)
    assert SEGMENTER.official_parameters + unused == Golden.load("a2fseg").facts["trainable_params"]


def test_slices_have_the_measured_parameters() -> None:
    with torch.device("meta"):
        network = SEGMENTER.build(Task(("a", "b", "c", "d"), None, 4, (128, 128)))
        unused = SEGMENTER.build(Task(("a", "b"), None, 4, (128, 128))).unets[0].encoder
    count = sum(parameter.numel() for module in (network, unused) for parameter in module.parameters())
    assert count == 93_488_320


def test_absent_modalities_are_left_out_of_mean_and_attention() -> None:
    """A network that lacks a modality computes what one of the others alone computes."""
    three = SEGMENTER.build(SLICES, {"preset": "tiny"}).eval()
    two = SEGMENTER.build(Task(("t1", "t2"), None, 3, (16, 24)), {"preset": "tiny"}).eval()
    weights = {
        name.replace(".1.", ".2.", 1) if name.startswith(("unets.1", "attentions.1")) else name: name
        for name in two.state_dict()
    }
    two.load_state_dict({ours: three.state_dict()[theirs] for theirs, ours in weights.items()})
    images = torch.randn(2, 3, 16, 24)
    with torch.no_grad():
        torch.testing.assert_close(three(images, torch.tensor([[1.0, 0, 1]] * 2)), two(images[:, [0, 2]]))


def test_training_sees_every_modality_and_the_averages_at_every_level() -> None:
    network = SEGMENTER.build(SLICES, {"preset": "tiny"}).train()
    outputs = network(torch.randn(1, 3, 16, 24))
    sizes = [(16, 24), *[size for size in ((16, 24), (8, 12), (4, 6)) for _ in range(4)]]
    assert [tuple(logits.shape[2:]) for logits in outputs] == sizes
    assert network.deep_supervision_weights == pytest.approx([2 / 3, *[w for w in (2 / 3, 1 / 3, 0) for _ in range(4)]])


def test_drawn_modalities_can_be_recorded() -> None:
    check_recorded(SEGMENTER, SLICES, {"preset": "tiny", "poolings": 2})


@pytest.mark.parametrize(("patch_size", "valid"), [((100, 128), "112 x 128"), ((4, 8), "8 x 8")])
def test_patch_it_cannot_take_is_refused_with_a_valid_one(patch_size: tuple[int, ...], valid: str) -> None:
    with pytest.raises(StudyError, match=valid):
        SEGMENTER.build(Task(("ct", "pet"), None, 2, patch_size))
