"""Importing the authors' weights: what fits is loaded, what does not is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from aahn.network import AAHN
from aahn.released_checkpoint import (
    DEAD_PREFIXES,
    load_released_checkpoint,
    load_released_weights,
    our_name,
    read_checkpoint,
    translate,
)
from harness.errors import HarnessError

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
    report = load_released_weights(target, released_form(source))
    assert report.complete
    assert len(report.loaded) == len(target.state_dict())
    assert {name.partition(".")[0] for name in report.ignored} >= {"mutual_trans1", "GraphTrans"}
    for name, tensor in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], tensor), name


def test_translation_changes_neither_mapping(micro: Build, released_form: Release) -> None:
    released, expected = released_form(micro()), micro().state_dict()
    before = {name: tensor.clone() for name, tensor in released.items()}
    translate(released, expected, HEADS)
    assert released.keys() == before.keys()
    assert all(torch.equal(released[name], before[name]) for name in before)


def test_missing_surplus_and_misshaped_entries_are_named(micro: Build, released_form: Release) -> None:
    network = micro()
    released = released_form(network)
    del released["dec1.transconv.bias"]
    released["conv1x1.bias"] = torch.zeros(7)
    released["newcomer.weight"] = torch.zeros(2)
    _, report = translate(released, network.state_dict(), HEADS)
    assert report.missing == ("decoder.ups.0.up.bias",)
    assert report.surplus == ("newcomer.weight",)
    assert report.misshaped == (("conv1x1.bias", (7,), (3,)),)
    assert not report.complete
    for word in ("missing: decoder.ups.0.up.bias", "surplus: newcomer.weight", "conv1x1.bias (7,) instead of (3,)"):
        assert word in str(report)


def test_strict_loading_refuses_and_leaves_the_network_alone(micro: Build, released_form: Release) -> None:
    source, target = micro(classes=5, awake=True), micro()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    released = released_form(source)
    with pytest.raises(HarnessError, match=r"conv1x1\.weight"):
        load_released_weights(target, released)
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())
    report = load_released_weights(target, released, strict=False)
    assert {name for name, _, _ in report.misshaped} == {"conv1x1.weight", "conv1x1.bias"}
    assert torch.equal(target.decoder.ups[0].up.weight, source.decoder.ups[0].up.weight)
    assert torch.equal(target.decoder.classify[6].bias, before["decoder.classify.6.bias"])


def test_another_patch_size_resizes_positions_and_names_the_graph(micro: Build, released_form: Release) -> None:
    source, target = micro(awake=True), micro(patch=(64, 64))
    report = load_released_weights(target, released_form(source), strict=False)
    assert report.resized == ("vit1.pos_emb1D", "vit2.pos_emb1D", "vit3.pos_emb1D")
    assert {name.partition(".")[0] for name, _, _ in report.misshaped} == {"GraphTrans"}
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
    assert load_released_checkpoint(target, path).complete
    assert torch.equal(target.decoder.classify[6].bias, source.decoder.classify[6].bias)


def test_a_bare_state_dict_is_read(tmp_path: Path) -> None:
    torch.save({"module.model.a": torch.ones(2)}, tmp_path / "bare.pt")
    assert read_checkpoint(tmp_path / "bare.pt").keys() == {"a"}


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1 + 1",)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.model"
    torch.save({"state_dict": {"a": torch.ones(1)}, "plot_stuff": Payload()}, path)
    with pytest.raises(HarnessError, match="cannot be read"):
        read_checkpoint(path)


def test_absent_broken_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="cannot be read"):
        read_checkpoint(tmp_path / "absent.model")
    (tmp_path / "broken.model").write_bytes(b"not a checkpoint")
    with pytest.raises(HarnessError, match="cannot be read"):
        read_checkpoint(tmp_path / "broken.model")
    torch.save([1, 2, 3], tmp_path / "list.model")
    with pytest.raises(HarnessError, match="no state dict"):
        read_checkpoint(tmp_path / "list.model")
