"""Importing the authors' weights: what fits is loaded, what does not is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from aahn import SEGMENTER
from aahn.network import AAHN
from aahn.released_checkpoint import DEAD_PREFIXES, our_name, translate
from harness.errors import HarnessError
from harness.segmenters.released import import_weights, read_checkpoint

Build = Callable[..., AAHN]
Release = Callable[[AAHN], dict[str, Tensor]]
HEADS = 2


@pytest.fixture
def released_form(released_shapes: dict[str, tuple[int, ...]]) -> Release:
    """Returns a network's weights under the released names and layout, with dead entries beside them."""

    def convert(network: AAHN) -> dict[str, Tensor]:
        state, released = network.state_dict(), {}
        for name in released_shapes:
            if name.startswith(DEAD_PREFIXES):
                released[name] = torch.zeros(1)
                continue
            ours = our_name(name)
            if ours not in state:  # blocks this smaller network does not have
                continue
            tensor = state[ours]
            if name.endswith("to_qvk.weight"):  # ({q, k, v}, head, dimension) -> (dimension, {q, k, v}, head)
                rows, dim = tensor.shape
                tensor = tensor.reshape(3, HEADS, -1, dim).permute(2, 0, 1, 3).reshape(rows, dim)
            released[name] = tensor.clone()
        return released

    return convert


def test_every_live_name_has_one_place_of_its_own(released_shapes: dict[str, tuple[int, ...]]) -> None:
    live = [name for name in released_shapes if not name.startswith(DEAD_PREFIXES)]
    ours = [our_name(name) for name in live]
    assert None not in ours
    assert len(set(ours)) == len(live)
    assert our_name("mutual_trans1.g.weight") is None
    assert our_name("something.else") is None


def test_a_whole_network_comes_back(micro: Build, released_form: Release) -> None:
    source, target = micro(awake=True), micro()
    report = import_weights(target, released_form(source), translate)
    assert report.complete
    assert len(report.loaded) == len(target.state_dict())
    assert {name.partition(".")[0] for name in report.ignored} >= {"mutual_trans1", "GraphTrans"}
    for name, tensor in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], tensor), name


def test_translation_changes_neither_mapping(micro: Build, released_form: Release) -> None:
    network = micro()
    released = released_form(micro())
    before = {name: tensor.clone() for name, tensor in released.items()}
    translate(released, network)
    assert released.keys() == before.keys()
    assert all(torch.equal(released[name], before[name]) for name in before)


def test_missing_surplus_and_misshaped_entries_are_named(micro: Build, released_form: Release) -> None:
    network = micro()
    released = released_form(network)
    del released["dec1.transconv.bias"]
    released["conv1x1.bias"] = torch.zeros(7)
    released["newcomer.weight"] = torch.zeros(2)
    report = import_weights(network, released, translate, strict=False)
    assert report.missing == ("decoder.ups.0.up.bias",)
    assert report.surplus == ("newcomer.weight",)
    assert report.misshaped == (("decoder.classify.6.bias", (7,), (3,)),)
    assert not report.complete
    for word in ("missing: decoder.ups.0.up.bias", "surplus: newcomer.weight", "classify.6.bias (7,) instead of (3,)"):
        assert word in str(report)


def test_strict_loading_refuses_and_leaves_the_network_alone(micro: Build, released_form: Release) -> None:
    source, target = micro(classes=5, awake=True), micro()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    released = released_form(source)
    with pytest.raises(HarnessError, match=r"decoder\.classify\.6\.weight"):
        import_weights(target, released, translate)
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())
    report = import_weights(target, released, translate, strict=False)
    assert {name for name, _, _ in report.misshaped} == {"decoder.classify.6.weight", "decoder.classify.6.bias"}
    assert torch.equal(target.decoder.ups[0].up.weight, source.decoder.ups[0].up.weight)
    assert torch.equal(target.decoder.classify[6].bias, before["decoder.classify.6.bias"])


def test_another_patch_size_resizes_positions_and_names_the_graph(micro: Build, released_form: Release) -> None:
    source, target = micro(awake=True), micro(patch=(64, 64))
    report = import_weights(target, released_form(source), translate, strict=False)
    assert report.resized == tuple(f"transformer.stages.{stage}.vit.positions" for stage in range(3))
    assert {name.partition(".")[0] for name, _, _ in report.misshaped} == {"cmhgf"}
    assert torch.equal(target.transformer.stages[0].vit.positions[0], source.transformer.stages[0].vit.positions[0])


def test_a_file_of_the_authors_trainer_is_read(micro: Build, released_form: Release, tmp_path: Path) -> None:
    source, target = micro(awake=True), micro()
    content = {
        "epoch": 300,
        "state_dict": {f"model.{name}": tensor for name, tensor in released_form(source).items()},
        "optimizer_state_dict": {"state": {}, "param_groups": [{"lr": 1e-3}]},
        "lr_scheduler_state_dict": None,
        "plot_stuff": ([np.float64(0.5)], [np.float32(0.25)], [], [0.1]),
        "best_stuff": (None, np.float64(0.9), None),
    }
    path = tmp_path / "model_final_checkpoint.model"
    torch.save(content, path)
    assert import_weights(target, read_checkpoint(path), SEGMENTER.load_translator()).complete
    assert torch.equal(target.decoder.classify[6].bias, source.decoder.classify[6].bias)


def test_only_an_aahn_takes_the_authors_weights() -> None:
    with pytest.raises(TypeError, match="not Linear"):
        translate({}, torch.nn.Linear(1, 1))
