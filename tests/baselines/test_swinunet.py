from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import timm
import torch
from golden import PRECISIONS, Arithmetic, Golden, unfilled, watch
from safetensors.torch import save_file
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn

from baselines.shared.windows import WindowAttention, fit, in_windows, merge, partition, shift_mask
from baselines.swinunet import SEGMENTER
from harness.errors import StudyError
from harness.segmenters import Task
from harness.segmenters.released import import_weights
from harness.segmenters.size import measure

FACTS = json.loads((Path(__file__).parents[1] / "parity" / "baseline_facts.json").read_text())["SwinUNet"]
OFFICIAL = SEGMENTER.official_task
SLICES = Task(("t1", "t1ce", "t2", "flair"), None, 4, (128, 128))
SMALL = Task(("ct", "pet"), None, 3, (64, 64))
STAGES = {
    "patch_embed": "embed",
    "layers.0": "encoder.0",
    "layers.1": "encoder.1",
    "layers.2": "encoder.2",
    "norm": "norm",
    "layers_up.0": "expand",
    "concat_back_dim.1": "decoder.0.fuse",
    "layers_up.1": "decoder.0",
    "layers_up.2": "decoder.1",
    "norm_up": "norm_up",
    "up": "up",
    "output": "head",
}
NARROW = {"embed_dim": 32, "heads": 2}
SWIN = {"window_size": 8, "img_size": 64, "num_classes": 10, "embed_dim": 32, "num_heads": (2, 4, 8, 16)}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("golden_name", "task"),
    [pytest.param("swinunet", OFFICIAL, marks=pytest.mark.slow), ("swinunet_128", SLICES)],
)
def test_function_is_the_authors(golden_name: str, task: Task, precision: Arithmetic) -> None:
    golden = Golden.load(golden_name, precision)
    network = unfilled(SEGMENTER, task, precision=precision)
    assert import_weights(network, golden.released(), SEGMENTER.load_translator()).complete
    modules = {f"swin_unet.{theirs}": network.get_submodule(ours) for theirs, ours in STAGES.items()}
    with torch.no_grad(), watch(modules) as seen:
        golden.check_output(network(golden.input))
    for path in golden.stages:
        golden.check_stage(path, seen[path])
    for path in golden.probes:
        golden.check_probe(path, seen[path].flatten(1, 2))


@pytest.mark.parametrize(
    ("task", "options", "facts"),
    [
        (OFFICIAL, {}, FACTS),
        (SLICES, {}, FACTS["variants"]["common2d"]),
        (SLICES, {"window": 4}, FACTS["variants"]["common2d_w4"]),
        (Task(SLICES.modalities, None, 4, (224, 224)), {}, FACTS["variants"]["common2d_224"]),
    ],
    ids=["native", "slices", "slices_window4", "slices_224"],
)
def test_parameters_equal_the_official_ones(task: Task, options: dict[str, int], facts: dict[str, object]) -> None:
    with torch.device("meta"):
        network = SEGMENTER.build(task, options)
    shapes = Counter(str(list(parameter.shape)) for parameter in network.parameters())
    assert shapes == Counter(facts["param_shape_histogram"])
    assert sum(parameter.numel() for parameter in network.parameters()) == facts["params"]


def test_buffers_of_a_released_checkpoint_are_ignored() -> None:
    golden = Golden.load("swinunet_128")
    released = golden.released_shapes() | {name: torch.zeros(1) for name in golden.facts["not_filled"]}
    with torch.device("meta"):
        network = SEGMENTER.build(SLICES)
    report = import_weights(network, released, SEGMENTER.load_translator())
    assert set(report.ignored) == set(golden.facts["not_filled"])


@pytest.mark.parametrize(
    ("patch_size", "window"),
    [
        ((224, 224), (7, 7)),
        ((448, 224), (7, 7)),
        ((128, 128), (8, 8)),
        ((64, 64), (8, 8)),
        ((96, 128), (6, 8)),
        ((160, 32), (5, 8)),
    ],
)
def test_window_nearest_to_the_papers_is_taken(patch_size: tuple[int, int], window: tuple[int, int]) -> None:
    network = SEGMENTER.build(Task(("ct",), None, 2, patch_size), {"preset": "tiny"}).eval()
    assert network.encoder[0].blocks[0].window_size == window
    with torch.no_grad():
        assert network(torch.randn(1, 1, *patch_size)).shape == (1, 2, *patch_size)


def test_patch_that_is_no_multiple_of_32_is_refused_with_the_nearest_valid_one() -> None:
    with pytest.raises(StudyError, match="96 x 128"):
        SEGMENTER.build(Task(("ct",), None, 2, (100, 120)), {"preset": "tiny"})


def test_window_that_does_not_tile_the_patch_is_refused_with_those_that_do() -> None:
    with pytest.raises(StudyError, match="Windows that fit: 2, 4, 8, 16, 32") as caught:
        SEGMENTER.build(SLICES, {"preset": "tiny", "window": 7})
    assert "7 x 7" in caught.value.message
    with pytest.raises(StudyError, match="leave `window` out"):
        SEGMENTER.build(Task(("ct",), None, 2, (96, 128)), {"preset": "tiny", "window": 8})


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(StudyError, match="heads 5 does not divide embed_dim 32"):
        SEGMENTER.parse_options({"preset": "tiny", "heads": 5})


def test_drop_path_rates_are_mirrored() -> None:
    network = SEGMENTER.build(SMALL, {"embed_dim": 32, "heads": 2})
    rates = [
        [getattr(block.drop_path1, "drop_prob", 0.0) for block in level.blocks]
        for level in [*network.encoder, *network.decoder]
    ]
    assert rates[3][-1] == pytest.approx(0.2)
    assert rates[4:] == rates[2::-1]


def test_decoder_can_be_as_shallow_as_in_the_paper() -> None:
    network = SEGMENTER.build(SMALL, {"preset": "tiny", "decoder_depths": [1, 2, 3]})
    assert [len(level.blocks) for level in network.decoder] == [3, 2, 1]


@pytest.fixture(scope="module")
def swin() -> dict[str, Tensor]:
    """timm's Swin-T, narrower, with random weights, and six blocks at 1/16."""
    torch.manual_seed(3)
    return dict(timm.create_model("swin_tiny_patch4_window7_224", pretrained=False, **SWIN).state_dict())


def microsofts(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under the names of Microsoft's checkpoint."""
    renamed = {}
    for name, tensor in weights.items():
        if ".downsample." in name:
            _, level, rest = name.split(".", 2)
            name = f"layers.{int(level) - 1}.{rest}"
        renamed[name.replace("head.fc.", "head.")] = tensor
    return renamed


@pytest.mark.parametrize("source", ["timm", "microsoft"])
def test_pretrained_weights_start_encoder_and_mirrored_decoder(
    source: str, swin: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "swin.pth"
    torch.save(swin if source == "timm" else {"model": microsofts(swin)}, path)
    network = SEGMENTER.build(
        Task(("a", "b", "c"), None, 3, (64, 64)), {**NARROW, "pretrained": str(path)}
    ).state_dict()
    mlp = "blocks.1.mlp.fc1.weight"
    for level, decoder in ((0, 2), (1, 1), (2, 0)):
        theirs = swin[f"layers.{level}.{mlp}"]
        assert torch.equal(network[f"encoder.{level}.{mlp}"], theirs)
        assert torch.equal(network[f"decoder.{decoder}.{mlp}"], theirs)
        merging = swin[f"layers.{level + 1}.downsample.reduction.weight"]
        assert torch.equal(network[f"encoder.{level}.merge.reduction.weight"], merging)
    assert torch.equal(network["embed.proj.weight"], swin["patch_embed.proj.weight"])
    assert torch.equal(network["norm.weight"], swin["norm.weight"])


def test_pretrained_encoder_computes_what_swin_computes(swin: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "swin.pth"
    torch.save(swin, path)
    network = SEGMENTER.build(Task(("a", "b", "c"), None, 3, (64, 64)), {**NARROW, "pretrained": str(path)}).eval()
    theirs = timm.create_model("swin_tiny_patch4_window7_224", pretrained=False, **SWIN, depths=(2, 2, 2, 2))
    theirs.load_state_dict(swin, strict=False)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad(), watch({"norm": network.norm}) as seen:
        network(image)
        expected = theirs.eval().forward_features(image)
    torch.testing.assert_close(seen["norm"], expected, rtol=0, atol=1e-5)


def test_pretrained_weights_fit_other_modalities_and_windows(swin: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "swin.pth"
    torch.save(swin, path)
    task = Task(("a", "b", "c", "d"), None, 3, (96, 64))
    network = SEGMENTER.build(task, {**NARROW, "pretrained": str(path)}).state_dict()
    stem, colours = network["embed.proj.weight"], swin["patch_embed.proj.weight"]
    torch.testing.assert_close(stem[:, :3], colours * 0.75)
    torch.testing.assert_close(stem[:, 3], colours[:, 0] * 0.75)
    assert network["encoder.0.blocks.0.attn.relative_position_bias_table"].shape == (11 * 15, 2)


def test_pretrained_file_that_does_not_fit_is_refused(swin: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "swin.pth"
    torch.save(swin, path)
    with pytest.raises(StudyError, match="does not hold Swin-T's weights"):
        SEGMENTER.build(SMALL, {"embed_dim": 48, "pretrained": str(path)})
    path.write_text("text")
    with pytest.raises(StudyError, match="cannot be read"):
        SEGMENTER.build(SMALL, {"pretrained": str(path)})
    with pytest.raises(StudyError, match="cannot be read"):
        SEGMENTER.build(SMALL, {"pretrained": str(tmp_path / "absent.npz")})


@pytest.mark.slow
def test_size_of_a_pretrained_network_is_measured(swin: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(swin, tmp_path / "swin.pth")
    save_file({name: tensor.contiguous() for name, tensor in swin.items()}, tmp_path / "swin.safetensors")
    files = ("none", *(str(tmp_path / f"swin{suffix}") for suffix in (".pth", ".safetensors")))
    options = [SEGMENTER.parse_options({**NARROW, "pretrained": file}) for file in files]
    assert len({measure(SEGMENTER, SMALL, each) for each in options}) == 1


def test_size_is_the_published_one() -> None:
    size = measure(SEGMENTER, SLICES, SEGMENTER.parse_options({}))
    assert size.parameters == FACTS["variants"]["common2d"]["params"]
    assert size.gflops == pytest.approx(FACTS["variants"]["common2d"]["gflops"], rel=1e-3)


@pytest.mark.parametrize(
    ("grid", "window", "shift"),
    [((8, 16), (4, 4), (2, 2)), ((4, 8), (4, 4), (2, 2)), ((14, 14), (7, 7), (3, 3)), ((8, 12), (4, 6), (2, 3))],
)
def test_shared_window_attention_is_timms(
    grid: tuple[int, int], window: tuple[int, int], shift: tuple[int, int]
) -> None:
    block = SwinTransformerBlock(32, grid, 4, window_size=window, shift_size=shift).eval()
    block.norm1 = nn.Identity()
    nn.init.zeros_(block.mlp.fc2.weight), nn.init.zeros_(block.mlp.fc2.bias)  # what remains is tokens and attention
    window, shift = fit(grid, window, shift)
    assert (window, shift) == (block.window_size, block.shift_size)
    attention = WindowAttention(32, window, 4)
    table = block.attn.relative_position_bias_table.detach()
    weights = block.attn.state_dict() | {"position_bias.table": table}
    attention.load_state_dict({name: weights[name] for name in attention.state_dict()})
    mask = shift_mask(grid, window, shift)
    tokens = torch.randn(3, *grid, 32)
    with torch.no_grad():
        ours = in_windows(lambda x: attention(x, mask), tokens, window=window, shift=shift)
        torch.testing.assert_close(tokens + ours, block(tokens), rtol=0, atol=1e-6)


def test_windows_of_volumes_keep_what_is_apart_apart() -> None:
    grid, window, shift = (4, 6, 8), (2, 3, 4), (1, 1, 2)
    tokens = torch.randn(2, *grid, 8)
    assert torch.equal(merge(partition(tokens, window), window, grid), tokens)
    attention, mask = WindowAttention(8, window, 2), shift_mask(grid, window, shift)
    tokens.requires_grad_()
    output = in_windows(lambda x: attention(x, mask), tokens, window=window, shift=shift)
    (seen,) = torch.autograd.grad(output[0, 0, 0, 0].sum(), tokens)
    # the first voxel shares its shifted window with the other faces of the volume, and must not see them
    reached = (seen[0].abs().sum(-1) > 1e-20).nonzero()
    assert reached.amax(0).tolist() == [0, 0, 1]
