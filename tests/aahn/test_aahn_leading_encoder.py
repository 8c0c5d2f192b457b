"""Encoders of segmentation_models_pytorch as the leading branch."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from aahn import SEGMENTER
from aahn.leading_encoder import EncoderLeadingBranch
from aahn.network import AAHN
from harness.errors import StudyError
from harness.segmenters.contract import Task
from harness.segmenters.size import measure

Build = Callable[..., AAHN]
SIDE = 32


@pytest.fixture(autouse=True)
def empty_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Caches of this test alone, and no way to a network."""
    import huggingface_hub.constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("name", ["resnet18", "efficientnet-b0", "mit_b0"])
def test_it_trains_and_carries_nothing_useless(micro: Build, name: str) -> None:
    network = micro(leading_encoder=f"smp/{name}", awake=True)
    logits = network(torch.randn(2, 3, SIDE, SIDE))
    assert logits.shape == (2, 3, SIDE, SIDE)
    (logits * torch.randn_like(logits)).sum().backward()
    without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert without == []
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


def test_stages_are_at_the_levels_and_a_missing_one_is_left_out(micro: Build) -> None:
    for name, present in (("resnet18", [True] * 4), ("mit_b0", [False, True, True, True])):
        branch = micro(leading_encoder=f"smp/{name}").leading
        assert isinstance(branch, EncoderLeadingBranch)
        stages = branch.stages(torch.randn(1, 3, 64, 64))
        assert [stage is not None for stage in stages] == present
        shapes = [tuple(stage.shape) for stage in stages if stage is not None]
        assert shapes == [(1, 16 << level, 32 >> level, 32 >> level) for level in range(4) if present[level]]


def test_what_is_fused_at_a_level_reaches_the_next(micro: Build) -> None:
    network = micro(leading_encoder="smp/resnet18", awake=True).eval()
    seen: list[torch.Tensor] = []
    network.tcfaf[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(1, 3, SIDE, SIDE)
    other = x.clone()
    other[:, 2] += 1  # an auxiliary modality: it enters the leading branch through T-CFAF of level 1 alone
    network(x), network(other)
    assert not torch.allclose(seen[0], seen[1])


@pytest.mark.parametrize(("leading", "stem", "channels"), [(None, "repeat3", 3), (1, "single", 1)])
def test_any_number_of_leading_channels(micro: Build, leading: int | None, stem: str, channels: int) -> None:
    network = micro(leading=leading, leading_stem=stem, leading_encoder="smp/resnet18")
    assert network.leading.encoder.conv1.in_channels == channels
    assert network(torch.randn(2, 3, SIDE, SIDE)).shape == (2, 3, SIDE, SIDE)


def test_size_is_measured_without_memory(micro: Build) -> None:
    task = Task(("a", "b", "c"), 1, 3, (SIDE, SIDE))
    network = micro(leading_encoder="smp/mit_b0")
    size = measure(SEGMENTER, task, network.options)
    assert size.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert size.gflops > 0


def test_an_unknown_encoder_names_the_nearest(micro: Build) -> None:
    with pytest.raises(StudyError, match="'smp/resnet43'") as error:
        micro(leading_encoder="smp/resnet43")
    assert "resnet34" in error.value.hint
    with pytest.raises(StudyError, match="leading_encoder"):
        SEGMENTER.parse_options({"leading_encoder": "resnet34"})


def test_weights_need_an_encoder_to_go_into() -> None:
    with pytest.raises(StudyError, match="leading_weights needs"):
        SEGMENTER.parse_options({"leading_weights": "imagenet"})


def test_imagenet_weights_that_are_not_here_are_not_fetched(micro: Build) -> None:
    with pytest.raises(StudyError, match=r"ImageNet .*'resnet18'") as error:
        micro(leading_encoder="smp/resnet18", leading_weights="imagenet")
    assert "resnet18-*.pth" in error.value.hint
    assert "smp-hub/resnet18.imagenet" in error.value.hint


def test_weights_are_taken_from_a_cache_or_a_path(micro: Build, empty_caches: Path) -> None:
    from safetensors.torch import save_file
    from segmentation_models_pytorch.encoders import get_encoder

    encoder: nn.Module = get_encoder("resnet18", weights=None)
    state = {**encoder.state_dict(), "fc.weight": torch.zeros(1)}
    for path, weights in (
        (empty_caches / "hub" / "checkpoints" / "resnet18-0123.pth", "imagenet"),
        (empty_caches / "mine.safetensors", str(empty_caches / "mine.safetensors")),
    ):
        save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
        network = micro(leading_encoder="smp/resnet18", leading_weights=weights)
        assert torch.equal(network.leading.encoder.layer1[0].conv1.weight, state["layer1.0.conv1.weight"])
        single = micro(leading_encoder="smp/resnet18", leading_weights=weights, leading_stem="single")
        torch.testing.assert_close(single.leading.encoder.conv1.weight, state["conv1.weight"].sum(1, keepdim=True))


def test_weights_of_something_else_are_refused(micro: Build, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="neither `none` nor `imagenet` nor a file"):
        micro(leading_encoder="smp/resnet18", leading_weights=str(tmp_path / "absent.pth"))
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(StudyError, match="does not hold the weights of 'resnet18'"):
        micro(leading_encoder="smp/resnet18", leading_weights=str(tmp_path / "other.pth"))
    (tmp_path / "broken.pth").write_bytes(b"nothing")
    with pytest.raises(StudyError, match="cannot be read"):
        micro(leading_encoder="smp/resnet18", leading_weights=str(tmp_path / "broken.pth"))


def test_the_native_branch_imports_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Imported anew where the package cannot be imported, the network is built all the same."""
    package = "segmentation_models_pytorch"
    for name in {package, *sys.modules}:
        if name.partition(".")[0] == package:
            monkeypatch.setitem(sys.modules, name, None)
        elif name.partition(".")[0] == "aahn":
            monkeypatch.delitem(sys.modules, name)
    segmenter = importlib.import_module("aahn").SEGMENTER
    task = Task(("a",), 0, 2, (64, 64))
    segmenter.build(task, {"preset": "tiny"})
    with pytest.raises(ImportError):
        segmenter.build(task, {"preset": "tiny", "leading_encoder": "smp/resnet18"})
