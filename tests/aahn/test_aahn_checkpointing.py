"""Gradient checkpointing: other memory, the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from aahn.network import AAHN

Build = Callable[..., AAHN]
SIDE = 32


def kept_for_backward(network: AAHN, x: torch.Tensor) -> int:
    """Bytes of activations that the backward pass holds on to."""
    sizes: dict[int, int] = {}
    weights = {parameter.data_ptr() for parameter in network.parameters()}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in weights:
            sizes[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = network(x)
    del output
    return sum(sizes.values())


@pytest.mark.parametrize("options", [{}, {"dropout": 0.5}, {"leading_encoder": "smp/mit_b0"}], ids=str)
def test_every_number_is_the_same(micro: Build, options: dict[str, Any]) -> None:
    plain, checkpointed = micro(awake=True, **options), micro(checkpointing=True, **options)
    checkpointed.load_state_dict(plain.state_dict())
    x = torch.randn(2, 3, SIDE, SIDE)
    for network in (plain, checkpointed):
        torch.manual_seed(1)
        network(x).square().mean().backward()
    for (name, one), other in zip(plain.named_parameters(), checkpointed.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=0, atol=0, msg=name)
    for (name, one), other in zip(plain.named_buffers(), checkpointed.buffers(), strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=0, msg=name)


def test_every_number_is_the_same_where_processes_share_statistics(micro: Build) -> None:
    """SyncBatchNorm takes the place of BatchNorm2d there; alone, it computes the same, on a CPU too."""
    networks = micro(awake=True), micro(checkpointing=True)
    networks[1].load_state_dict(networks[0].state_dict())
    x = torch.randn(2, 3, SIDE, SIDE)
    for network in networks:
        torch.manual_seed(1)
        torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)(x).square().mean().backward()
    for (name, one), other in zip(networks[0].named_buffers(), networks[1].buffers(), strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=0, msg=name)


def test_it_keeps_less(micro: Build) -> None:
    x = torch.randn(2, 3, SIDE, SIDE)
    assert kept_for_backward(micro(checkpointing=True), x) < 0.5 * kept_for_backward(micro(), x)


@pytest.mark.slow
def test_the_compiler_still_sees_one_graph(micro: Build) -> None:
    network = micro(checkpointing=True, leading_encoder="smp/resnet18", dropout=0.0, awake=True)
    x = torch.randn(2, 3, SIDE, SIDE)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), network(x))
