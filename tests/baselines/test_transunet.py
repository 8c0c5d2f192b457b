from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from golden import PRECISIONS, Arithmetic, Golden, unfilled, watch
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor, nn

from baselines.transunet import SEGMENTER
from harness.errors import HarnessError, StudyError
from harness.segmenters import Task
from harness.segmenters.released import import_weights
from harness.segmenters.size import measure

FACTS = json.loads((Path(__file__).parents[1] / "parity" / "baseline_facts.json").read_text())["TransUNet"]
OFFICIAL = SEGMENTER.official_task
BLOCKS = {"num_layers": 2}
COLOUR = ("red", "green", "blue")
SLICES = Task(COLOUR, None, 4, (128, 128))
SMALL = Task(("ct", "pet"), None, 3, (64, 64))
STAGES = {
    "transformer.embeddings.hybrid_model.root": "resnet.stem",
    "transformer.embeddings.hybrid_model.body.block1": "resnet.stages.0",
    "transformer.embeddings.hybrid_model.body.block2": "resnet.stages.1",
    "transformer.embeddings.hybrid_model": "resnet.stages.2",
    "transformer.embeddings.patch_embeddings": "embed",
    "transformer.encoder.layer.0": "blocks.0",
    "transformer.encoder.layer.11": "blocks.11",
    "transformer.encoder": "norm",
    "decoder.conv_more": "neck",
    **{f"decoder.blocks.{index}": f"decoder.{index}" for index in range(4)},
    "segmentation_head": "head",
}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("golden_name", "task"),
    [pytest.param("transunet", OFFICIAL, marks=pytest.mark.slow), ("transunet_128", SLICES)],
)
def test_function_is_the_authors(golden_name: str, task: Task, precision: Arithmetic) -> None:
    golden = Golden.load(golden_name, precision)
    network = unfilled(SEGMENTER, task, precision=precision)
    assert import_weights(network, golden.released(), SEGMENTER.load_translator()).complete
    modules = {theirs: network.get_submodule(ours) for theirs, ours in STAGES.items()}
    with torch.no_grad(), watch(modules) as seen:
        golden.check_output(network(golden.input))
    for path in golden.stages:
        golden.check_stage(path, seen[path])
    for path in golden.probes:
        golden.check_probe(path, seen[path])


@pytest.mark.parametrize(
    ("task", "facts"),
    [
        (OFFICIAL, FACTS),
        (Task(("t1", "t1ce", "t2", "flair"), None, 4, (128, 128)), FACTS["variants"]["common2d"]),
        (SLICES, FACTS["variants"]["common2d_3ch"]),
    ],
    ids=["native", "slices", "slices_3_channels"],
)
def test_parameters_equal_the_official_ones(task: Task, facts: dict[str, object]) -> None:
    with torch.device("meta"):
        network = SEGMENTER.build(task)
    shapes = Counter(str(list(part.shape)) for part in unfused(network))
    assert shapes == Counter(facts["param_shape_histogram"])
    assert sum(parameter.numel() for parameter in network.parameters()) == facts["params"]


def unfused(network: nn.Module) -> list[Tensor]:
    """Parameters with query, key and value apart, as the authors have them."""
    parts = [parameter.chunk(3) if ".qkv." in name else [parameter] for name, parameter in network.named_parameters()]
    return [part for split in parts for part in split]


@pytest.mark.filterwarnings("ignore:for positions")  # they are not copied into a network without values
def test_positions_of_released_weights_are_interpolated() -> None:
    positions = torch.randn(1, 64, 768)
    released = Golden.load("transunet_128").released_shapes() | {
        "transformer.embeddings.position_embeddings": positions
    }
    with torch.device("meta"):
        network = SEGMENTER.build(Task(COLOUR, None, 4, (96, 160)))
    translator = SEGMENTER.load_translator()
    report = import_weights(network, released, translator)
    assert report.complete
    assert report.resized == ("positions",)
    ours = translator(released, network).weights["positions"].reshape(6, 10, 768)
    theirs = positions.reshape(8, 8, 768)
    for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        torch.testing.assert_close(ours[corner], theirs[corner])


def test_released_weights_without_a_key_projection_are_refused() -> None:
    released = Golden.load("transunet_128").released_shapes()
    with torch.device("meta"):
        network = SEGMENTER.build(SLICES)
    del released["transformer.encoder.layer.3.attn.key.weight"]
    with pytest.raises(HarnessError, match=r"missing: blocks\.3\.attn\.qkv\.weight"):
        import_weights(network, released, SEGMENTER.load_translator())


@pytest.mark.parametrize("patch_size", [(64, 96), (48, 16), (128, 112)])
def test_any_patch_with_sides_of_16_works(patch_size: tuple[int, int]) -> None:
    network = SEGMENTER.build(Task(("ct",), None, 2, patch_size), {"preset": "tiny"}).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 1, *patch_size)).shape == (1, 2, *patch_size)


def test_patch_that_is_no_multiple_of_16_is_refused_with_the_nearest_valid_one() -> None:
    with pytest.raises(StudyError, match="96 x 128"):
        SEGMENTER.build(Task(("ct",), None, 2, (100, 120)), {"preset": "tiny"})


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(StudyError, match="num_heads 5 does not divide hidden_size 96"):
        SEGMENTER.parse_options({"preset": "tiny", "num_heads": 5})


def test_dropout_acts_on_tokens_and_mlps_only() -> None:
    network = SEGMENTER.build(SMALL, {"preset": "tiny", "dropout": 0.25})
    block = network.blocks[0]
    active = [name for name, part in network.named_modules() if isinstance(part, nn.Dropout) and part.p == 0.25]
    assert active[:3] == ["dropout", "blocks.0.mlp.drop1", "blocks.0.mlp.drop2"]
    assert block.attn.attn_drop.p == block.attn.proj_drop.p == 0.0


def r50_vit() -> nn.Module:
    """timm's R50+ViT-B/16 with the first of its Transformer blocks alone: the others have the same names."""
    return timm.create_model("vit_base_r50_s16_224", pretrained=False, num_classes=0, depth=BLOCKS["num_layers"])


@pytest.fixture(scope="module")
def hybrid() -> dict[str, Tensor]:
    """R50+ViT-B/16 with random weights, positions included."""
    torch.manual_seed(3)
    model = r50_vit()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    return dict(model.state_dict())


def googles(weights: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """The same tensors under the names and layouts of Google's checkpoint."""
    attention = "MultiHeadDotProductAttention_1"
    names = {
        "patch_embed.backbone.stem.conv.weight": "conv_root/kernel",
        "patch_embed.backbone.stem.norm": "gn_root",
        "patch_embed.proj": "embedding",
        "pos_embed": "Transformer/posembed_input/pos_embedding",
        "cls_token": "cls",
        "norm.": "Transformer/encoder_norm.",
    }
    parts = {
        "norm1": "LayerNorm_0",
        "norm2": "LayerNorm_2",
        "mlp.fc1": "MlpBlock_3/Dense_0",
        "mlp.fc2": "MlpBlock_3/Dense_1",
        "attn.proj": f"{attention}/out",
    }
    arrays = {}
    for name, tensor in weights.items():
        array = tensor.numpy()
        if name.startswith("patch_embed.backbone.stages."):
            _, _, _, stage, _, unit, rest = name.split(".", 6)
            rest = rest.replace("downsample.conv", "conv_proj").replace("downsample.norm", "gn_proj")
            name = f"block{int(stage) + 1}/unit{int(unit) + 1}/{rest.replace('norm', 'gn')}"
        elif name.startswith("blocks."):
            _, index, rest = name.split(".", 2)
            layer = f"Transformer/encoderblock_{index}"
            if rest.startswith("attn.qkv"):
                for part, third in zip(("query", "key", "value"), np.split(array, 3), strict=True):
                    shape = (768, 12, 64) if third.ndim == 2 else (12, 64)
                    kind = "kernel" if third.ndim == 2 else "bias"
                    arrays[f"{layer}/{attention}/{part}/{kind}"] = third.T.reshape(shape)
                continue
            part = next(theirs for theirs in parts if rest.startswith(theirs))
            name = f"{layer}/{parts[part]}{rest.removeprefix(part)}"
        else:
            beginning = next(theirs for theirs in names if name.startswith(theirs))
            name = names[beginning] + name.removeprefix(beginning)
        if name.endswith(".weight"):
            name = name.removesuffix(".weight") + ("/scale" if array.ndim == 1 else "/kernel")
        name = name.replace(".bias", "/bias")
        if array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)
        elif f"{attention}/out/kernel" in name:
            array = array.T.reshape(12, 64, 768)
        elif array.ndim == 2:
            array = array.T
        elif "gn" in name:
            array = array.reshape(1, 1, 1, -1)
        arrays[name] = array
    return arrays


@pytest.fixture(scope="module", params=[pytest.param("timm", marks=pytest.mark.slow), "google"])
def file(request: pytest.FixtureRequest, hybrid: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "timm":
        torch.save(hybrid, folder / "r50_vit.pth")
        return folder / "r50_vit.pth"
    np.savez(folder / "R50+ViT-B_16.npz", **googles(hybrid))
    return folder / "R50+ViT-B_16.npz"


def test_pretrained_weights_start_resnet_and_transformer(file: Path, hybrid: dict[str, Tensor]) -> None:
    ours = SEGMENTER.build(Task(COLOUR, None, 3, (224, 224)), {**BLOCKS, "pretrained": str(file)})
    state = ours.state_dict()
    assert torch.equal(state["positions"], hybrid["pos_embed"][:, 1:])
    theirs = r50_vit()
    theirs.load_state_dict(checkpoint_filter_fn(hybrid, theirs))
    tokens, image = torch.randn(1, 196, 768), torch.randn(1, 256, 8, 8)
    backbone = theirs.patch_embed.backbone
    with torch.no_grad():
        torch.testing.assert_close(ours.eval().blocks(tokens), theirs.eval().blocks(tokens), rtol=0, atol=1e-4)
        unit = backbone.stages[0].blocks[1]
        torch.testing.assert_close(ours.resnet.stages[0][1](image), unit(image), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(ours.embed.weight, theirs.patch_embed.proj.weight)
    for stage, unit in ((0, 0), (1, 3), (2, 8)):
        prefix = f"patch_embed.backbone.stages.{stage}.blocks.{unit}."
        for name, tensor in hybrid.items():
            if name.startswith(prefix):
                assert torch.equal(state[f"resnet.stages.{stage}.{unit}.{name.removeprefix(prefix)}"], tensor)


@pytest.mark.slow
def test_pretrained_weights_fit_other_modalities_and_patches(file: Path, hybrid: dict[str, Tensor]) -> None:
    task = Task(("a", "b", "c", "d"), None, 3, (96, 128))
    options = {**BLOCKS, "pretrained": str(file)}
    state = SEGMENTER.build(task, options).state_dict()
    colours = hybrid["patch_embed.backbone.stem.conv.weight"]
    torch.testing.assert_close(state["resnet.stem.0.weight"][:, 3], colours[:, 0] * 0.75)
    assert state["positions"].shape == (1, 48, 768)
    torch.testing.assert_close(state["positions"][:, 0], hybrid["pos_embed"][:, 1])
    assert measure(SEGMENTER, task, SEGMENTER.parse_options(options)).gflops > 1


def test_pretrained_file_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "vit.npz", **{"conv_root/kernel": np.zeros((7, 7, 3, 64), np.float32)})
    with pytest.raises(StudyError, match=r"does not hold R50\+ViT-B/16's weights"):
        SEGMENTER.build(SMALL, {"preset": "tiny", "pretrained": str(tmp_path / "vit.npz")})
