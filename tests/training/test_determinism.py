"""Levels of determinism: strict results are bitwise equal, and what prevents them is named."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn

from harness.errors import TrainingError
from harness.training.determinism import explain_nondeterministic_ops, find_nondeterministic_op, set_determinism

CPU = torch.device("cpu")


@pytest.fixture
def strict():
    set_determinism("strict", CPU)
    yield
    set_determinism("fast", CPU)


class Put(nn.Module):
    """``put_`` without accumulation has no deterministic form, not even on a CPU."""

    def forward(self, images):
        index = torch.zeros(4, dtype=torch.long)
        return images.clone().put_(index, images.flatten()[:4])


class ForwardOnly(torch.autograd.Function):
    @staticmethod
    def forward(context, images):
        return images * 2

    @staticmethod
    def backward(context, gradient):
        return gradient.clone().put_(torch.zeros(4, dtype=torch.long), gradient.flatten()[:4])


class PutInBackward(nn.Module):
    def forward(self, images):
        return ForwardOnly.apply(images)


class Host(nn.Module):
    """A network whose ``body.middle`` is given; around it stand in-place and functional operators."""

    def __init__(self, middle):
        super().__init__()
        self.body = nn.ModuleDict({"stem": nn.Conv2d(1, 2, 1), "middle": middle, "relu": nn.ReLU(inplace=True)})
        self.head = nn.Conv2d(2, 1, 1)

    def forward(self, images):
        features = self.body["middle"](self.body["stem"](images) * 2) + 1
        return self.head(self.body["relu"](features))


def loss_of(network):
    return network(torch.ones(1, 1, 4, 4)).square().mean()


@pytest.mark.usefixtures("strict")
def test_an_operator_without_a_deterministic_form_is_named_with_its_module():
    network = Host(Put())
    with (
        pytest.raises(TrainingError, match=r"put_ in `body\.middle` \(Put\)") as error,
        explain_nondeterministic_ops(network),
    ):
        network(torch.ones(1, 1, 4, 4))
    assert "training.determinism: fast" in error.value.hint


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("depth", ["inside", "around"])
def test_a_backward_pass_is_searched_for_the_module(depth):
    network = Host(PutInBackward())
    if depth == "around":
        network = nn.Sequential(nn.Conv2d(1, 1, 1), network)
    words = r"put_ in `(1\.)?body\.middle` \(PutInBackward\)"
    with (
        pytest.raises(TrainingError, match=words),
        explain_nondeterministic_ops(network, lambda: find_nondeterministic_op(network, lambda: loss_of(network))),
    ):
        loss_of(network).backward()


@pytest.mark.usefixtures("strict")
def test_a_functional_operator_belongs_to_the_module_that_calls_it():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)

        def forward(self, images):
            return self.second(ForwardOnly.apply(self.first(images)))

    network = nn.Sequential(Functional(), nn.ReLU())
    assert find_nondeterministic_op(network, lambda: loss_of(network)) == "`0` (Functional)"


@pytest.mark.usefixtures("strict")
def test_the_loss_is_blamed_where_it_is_at_fault():
    network = nn.Conv2d(1, 1, 1)
    assert (
        find_nondeterministic_op(network, lambda: ForwardOnly.apply(network(torch.ones(1, 1, 4, 4))).sum())
        == "the loss"
    )


def test_other_errors_pass_unchanged():
    with pytest.raises(RuntimeError, match="something else"), explain_nondeterministic_ops(nn.ReLU()):
        raise RuntimeError("something else")


def test_fast_allows_every_operator():
    set_determinism("fast", CPU)
    assert Host(Put())(torch.ones(1, 1, 4, 4)).shape == (1, 1, 4, 4)


def test_strict_on_a_gpu_fixes_cudnn_and_cublas(monkeypatch):
    """The settings alone: they need no GPU to be made."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    try:
        set_determinism("strict", torch.device("cuda"))
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        set_determinism("fast", CPU)
        os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
