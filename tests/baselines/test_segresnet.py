from __future__ import annotations

import pytest
import torch
from monai.losses import DeepSupervisionLoss
from monai.networks.nets import SegResNet, SegResNetDS
from torch import nn

from baselines.segresnet import SEGMENTER
from baselines.segresnet_ds import SEGMENTER as SUPERVISED
from harness.errors import StudyError
from harness.segmenters import Segmenter, Task

MODALITIES = ("t1ce", "t1", "t2", "flair")
SLICES = Task(("ct", "pet"), None, 3, (32, 16))
OFFICIAL = [
    (SEGMENTER, 3, {}, 3, 4_702_227),
    (SEGMENTER, 3, {"preset": "paper"}, 4, 18_798_660),
    (SEGMENTER, 3, {"width": 8}, 4, 1_176_852),
    (SEGMENTER, 2, {"width": 8}, 4, 395_220),
    (SEGMENTER, 2, {}, 3, 1_576_851),
    (SEGMENTER, 2, {"preset": "paper"}, 4, 6_299_460),
    (SUPERVISED, 3, {}, 4, 87_167_760),
    (SUPERVISED, 3, {"preset": "class"}, 4, 19_916_804),
    (SUPERVISED, 2, {"preset": "class"}, 4, 6_643_460),
    (SUPERVISED, 2, {}, 4, 29_067_792),
]


@pytest.mark.parametrize(("segmenter", "dims", "options", "classes", "expected"), OFFICIAL)
def test_parameters_equal_the_official_ones(
    segmenter: Segmenter, dims: int, options: dict, classes: int, expected: int
) -> None:
    with torch.device("meta"):
        network = segmenter.build(Task(MODALITIES, None, classes, (128,) * dims), options)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def assert_equal(segmenter: Segmenter, options: dict, monais: nn.Module) -> None:
    ours = segmenter.build(SLICES, {"preset": "tiny", **options}).eval()
    assert ours.state_dict().keys() == monais.state_dict().keys()
    monais.load_state_dict(ours.state_dict())
    image = torch.randn(2, 2, *SLICES.patch_size)
    with torch.no_grad():
        assert torch.equal(ours(image), monais.eval()(image))


def test_functions_are_monais() -> None:
    assert_equal(SEGMENTER, {}, SegResNet(2, 8, 2, 3, dropout_prob=0.2, blocks_down=(1, 1, 1, 1)))
    assert_equal(SEGMENTER, {"blocks": (1, 2), "dropout": 0}, SegResNet(2, 8, 2, 3, blocks_down=(1, 2), blocks_up=(1,)))
    assert_equal(SUPERVISED, {}, SegResNetDS(2, 8, 2, 3, norm="instance", blocks_down=(1, 1, 1, 1), dsdepth=3))
    assert_equal(SUPERVISED, {"outputs": 1}, SegResNetDS(2, 8, 2, 3, norm="instance", blocks_down=(1, 1, 1, 1)))


def test_outputs_weigh_as_monais_loss_weighs_them() -> None:
    network = SUPERVISED.build(Task(("ct",), None, 2, (64, 64)), {"blocks": (1,) * 6, "outputs": 5}).train()
    assert network.deep_supervision_weights == DeepSupervisionLoss(nn.MSELoss()).get_weights(5)
    assert not hasattr(SUPERVISED.build(SLICES, {"preset": "tiny", "outputs": 1}), "deep_supervision_weights")


def test_every_output_needs_a_level() -> None:
    with pytest.raises(StudyError, match="outputs 4 is more than the 3 levels"):
        SUPERVISED.parse_options({"preset": "tiny", "outputs": 4})


@pytest.mark.parametrize(
    ("segmenter", "patch_size", "nearest"),
    [
        (SEGMENTER, (100, 128), "104 x 128"),
        (SUPERVISED, (30, 32, 32), "32 x 32 x 32"),
        (SUPERVISED, (8, 8), "16 x 16"),
    ],
)
def test_patch_it_cannot_take_is_refused_with_the_nearest_valid_one(
    segmenter: Segmenter, patch_size: tuple[int, ...], nearest: str
) -> None:
    with pytest.raises(StudyError, match=segmenter.name) as caught:
        segmenter.build(Task(("ct",), None, 2, patch_size), {"preset": "tiny"})
    assert nearest in str(caught.value)
