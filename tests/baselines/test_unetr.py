from __future__ import annotations

import pytest
import torch
from golden import watch
from monai.networks.nets import UNETR
from torch import Tensor

from baselines.unetr import SEGMENTER
from harness.errors import StudyError
from harness.segmenters import Task

TASKS = [
    Task(("ct", "pet"), None, 3, (64, 48)),
    Task(("ct", "pet"), None, 3, (32, 16, 32)),
]


@pytest.mark.parametrize("task", TASKS, ids=["2d", "3d"])
@pytest.mark.parametrize("projection", ["conv", "perceptron"])
def test_function_is_monais(task: Task, projection: str) -> None:
    ours = SEGMENTER.build(task, {"preset": "tiny", "proj_type": projection})
    monais = UNETR(
        in_channels=2,
        out_channels=3,
        img_size=task.patch_size,
        feature_size=8,
        hidden_size=96,
        mlp_dim=192,
        num_heads=4,
        proj_type=projection,
        spatial_dims=task.spatial_dims,
    )
    missing, unexpected = monais.load_state_dict(ours.state_dict(), strict=False)
    assert not unexpected
    assert {name.split(".")[-2] for name in missing} == {"norm_cross_attn"}
    image = torch.randn(2, 2, *task.patch_size)
    with torch.no_grad():
        assert torch.equal(ours.eval()(image), monais.eval()(image))


def test_initialisation_is_monais() -> None:
    task = TASKS[0]
    torch.manual_seed(5)
    ours = SEGMENTER.build(task, {"preset": "tiny"}).state_dict()
    torch.manual_seed(5)
    monais = UNETR(2, 3, task.patch_size, 8, 96, 192, 4, spatial_dims=2).state_dict()
    assert all(torch.equal(value, monais[name]) for name, value in ours.items())


@pytest.mark.parametrize("task", TASKS, ids=["2d", "3d"])
@pytest.mark.parametrize(("skips", "blocks"), [("released", (4, 7, 10)), ("paper", (3, 6, 9))])
def test_decoder_reads_the_blocks_it_is_told_to(task: Task, skips: str, blocks: tuple[int, ...]) -> None:
    network = SEGMENTER.build(task, {"preset": "tiny", "skips": skips}).eval()
    read: list[Tensor] = []
    for encoder in (network.encoder2, network.encoder3, network.encoder4):
        encoder.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    names = {f"{block}": network.vit.blocks[block - 1] for block in blocks}
    with torch.no_grad(), watch({**names, "last": network.vit.norm}) as written:
        network.decoder5.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
        network(torch.randn(1, 2, *task.patch_size))
    for features, block in zip(read, [*names, "last"], strict=True):
        assert torch.equal(features.flatten(2).transpose(1, 2), written[block])


def test_skips_of_the_paper_keep_every_weight() -> None:
    released, paper = (SEGMENTER.build(TASKS[0], {"preset": "tiny", "skips": skips}) for skips in ("released", "paper"))
    paper.load_state_dict(released.state_dict())
    image = torch.randn(1, 2, *TASKS[0].patch_size)
    with torch.no_grad():
        assert not torch.equal(paper.eval()(image), released.eval()(image))


@pytest.mark.parametrize(
    ("patch_size", "nearest"),
    [((100, 128), "96 x 128"), ((40, 32, 32), "48 x 32 x 32"), ((4, 16), "16 x 16")],
)
def test_patch_that_is_no_multiple_of_16_is_refused_with_the_nearest_valid_one(
    patch_size: tuple[int, ...], nearest: str
) -> None:
    with pytest.raises(StudyError, match=nearest) as caught:
        SEGMENTER.build(Task(("ct",), None, 2, patch_size), {"preset": "tiny"})
    assert "16 voxels" in caught.value.message


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(StudyError, match="num_heads 5 does not divide hidden_size 96"):
        SEGMENTER.parse_options({"preset": "tiny", "num_heads": 5})


def test_slices_are_declared_an_adaptation() -> None:
    assert SEGMENTER.adapted_dims == {2}
