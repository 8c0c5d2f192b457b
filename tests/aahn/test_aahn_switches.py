"""Every switch builds, trains, and changes exactly what it names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from aahn.network import AAHN
from harness.errors import StudyError

Build = Callable[..., AAHN]
SIDE = 32  # of a micro network's patch

VARIANTS: list[dict[str, Any]] = [
    {},
    {"tcfaf": "none"},
    {"tcfaf": "ca"},
    {"tcfaf": "cma"},
    {"cmhgf": "concat"},
    {"cmhgf": "cma"},
    {"cmhgf": "no_skip"},
    {"cmhgf": "no_gnn"},
    {"tcfaf": "none", "cmhgf": "concat"},
    {"auxiliary": "others"},
    {"leading_stem": "single"},
    {"leading": None},
    {"dropout": 0.0},
]


def module_types(network: AAHN) -> dict[str, str]:
    return {name: type(module).__name__ for name, module in network.named_modules()}


def shapes(network: AAHN) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_every_parameter_gets_a_finite_gradient(micro: Build, variant: dict[str, Any]) -> None:
    network = micro(**variant, awake=True)
    logits = network(torch.randn(2, 3, SIDE, SIDE))
    assert logits.shape == (2, 3, SIDE, SIDE)
    (logits * torch.randn_like(logits)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, f"no gradient reaches {name}"
        assert torch.isfinite(parameter.grad).all(), name
        # A constant added to every energy of a row, or before a batch norm, cancels: those biases get rounding noise.
        if not name.endswith("bias"):
            assert parameter.grad.any(), f"the gradient of {name} is zero"


@pytest.mark.parametrize(
    ("variant", "gone"),
    [
        ({"tcfaf": "none"}, ("channel_attention", "cross_attention")),
        ({"tcfaf": "ca"}, ("cross_attention",)),
        ({"tcfaf": "cma"}, ("channel_attention",)),
    ],
    ids=str,
)
def test_tcfaf_takes_out_exactly_the_halves_it_names(
    micro: Build, variant: dict[str, Any], gone: tuple[str, ...]
) -> None:
    full, cut = shapes(micro()), shapes(micro(**variant))
    removed = {name for name in full if any(f".{part}." in name for part in gone)}
    assert removed
    assert cut == {name: shape for name, shape in full.items() if name not in removed}


def test_level_1_never_has_cross_modality_attention(micro: Build) -> None:
    network = micro()
    assert [level.cross_attention is not None for level in network.tcfaf] == [False, True, True, True]
    assert [level.channel_attention is not None for level in network.tcfaf] == [True] * 4


@pytest.mark.parametrize("variant", ["concat", "cma", "no_gnn"])
def test_cmhgf_changes_nothing_outside_itself(micro: Build, variant: str) -> None:
    full, changed = shapes(micro()), shapes(micro(cmhgf=variant))
    assert full.keys() != changed.keys()
    outside = {name: shape for name, shape in full.items() if not name.startswith("cmhgf.")}
    assert outside == {name: shape for name, shape in changed.items() if not name.startswith("cmhgf.")}


def test_cmhgf_no_gnn_drops_only_the_node_updates(micro: Build) -> None:
    full, cut = shapes(micro()), shapes(micro(cmhgf="no_gnn"))
    assert full.keys() - cut.keys() == {name for name in full if "_update." in name}
    assert not cut.keys() - full.keys()


def test_cmhgf_no_skip_differs_by_the_leading_map_alone(micro: Build) -> None:
    full, cut = micro(awake=True), micro(cmhgf="no_skip")
    cut.load_state_dict(full.state_dict())
    leading, transformer = torch.randn(2, 128, 2, 2), torch.randn(2, 128, 2, 2)
    torch.testing.assert_close(full.cmhgf(leading, transformer) - leading, cut.cmhgf(leading, transformer))


def test_baseline_has_neither_module(micro: Build) -> None:
    kinds = set(module_types(micro(tcfaf="none", cmhgf="concat")).values())
    assert not kinds & {"ChannelAttention", "CrossModalityAttention", "GraphFusion", "NodeSimilarity"}
    assert "VisionTransformer" in kinds


def test_auxiliary_others_hides_the_leading_modality_from_the_transformer(micro: Build) -> None:
    every, others = micro(), micro(auxiliary="others")
    changed = {name for name, shape in shapes(every).items() if shapes(others)[name] != shape}
    assert changed == {"transformer.stem.0.weight"}
    x = torch.randn(1, 3, SIDE, SIDE)
    own, seen = others.modalities(x)
    assert torch.equal(own, x[:, 1:2].expand(-1, 3, -1, -1))
    assert torch.equal(seen, x[:, [0, 2]])
    assert torch.equal(every.modalities(x)[1], x)


def test_auxiliary_others_needs_another_modality(micro: Build) -> None:
    with pytest.raises(StudyError, match="auxiliary: others") as error:
        micro(modalities=1, leading=0, auxiliary="others")
    assert "auxiliary: all" in error.value.hint


def test_leading_stem_changes_the_stem_alone(micro: Build) -> None:
    thrice, once = shapes(micro()), shapes(micro(leading_stem="single"))
    changed = {name for name, shape in thrice.items() if once[name] != shape}
    assert changed == {"leading.levels.0.entry.0.weight"}
    assert once["leading.levels.0.entry.0.weight"][1] == 1


def test_without_a_leading_modality_both_branches_see_everything(micro: Build) -> None:
    x = torch.randn(1, 3, SIDE, SIDE)
    for auxiliary in ("all", "others"):
        own, others = micro(leading=None, auxiliary=auxiliary).modalities(x)
        assert torch.equal(own, x)
        assert torch.equal(others, x)


def test_leading_modality_changes_the_function_not_the_size(micro: Build) -> None:
    first, second = micro(leading=0, awake=True).eval(), micro(leading=2).eval()
    second.load_state_dict(first.state_dict())
    x = torch.randn(1, 3, SIDE, SIDE)
    assert not torch.allclose(first(x), second(x))
