"""Determinism levels, and the operator and module that prevent the strict one.

``strict``: equal seeds give bitwise equal results on the same hardware with the same packages. torch refuses every
operator that cannot promise that, and the refusal is turned into words a person can act on. ``fast``: cuDNN measures
which of its kernels is fastest, and any operator may be used.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from harness.errors import TrainingError
from harness.training.settings import DeterminismLevel

#: cuBLAS sums in a fixed order only with a work space of its own; read when CUDA is first used.
_CUBLAS = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}

_REFUSAL = re.compile(r"(\S+)(?: when called with [^,]*?)? does not have a deterministic implementation")


def set_determinism(level: DeterminismLevel, device: torch.device) -> None:
    """Puts the whole process under a level; call it before the first work on ``device``."""
    strict = level == "strict"
    torch.use_deterministic_algorithms(strict, warn_only=False)
    if device.type == "cuda":
        for name, value in _CUBLAS.items():
            os.environ.setdefault(name, value)
        torch.backends.cudnn.deterministic = strict
        torch.backends.cudnn.benchmark = not strict


@contextmanager
def explain_nondeterministic_ops(network: nn.Module, locate: Callable[[], str] | None = None) -> Iterator[None]:
    """Turns torch's refusal inside the block into an error that names operator and module.

    Args:
        network: Network whose modules the error names.
        locate: Function that finds the module where the traceback does not show it, as in a backward pass.

    Raises:
        TrainingError: An operator has no deterministic form.
    """
    try:
        yield
    except RuntimeError as error:
        found = _REFUSAL.search(str(error))
        if found is None:
            raise
        module = _innermost(error.__traceback__, network) or (locate() if locate else "")
        where = f" in {module}" if module else ""
        raise TrainingError(
            f"The operator {found[1]}{where} has no deterministic form on this device.",
            hint="Set `training.determinism: fast` in the protocol, or replace the operator.",
        ) from error


def _innermost(trace: TracebackType | None, network: nn.Module) -> str:
    """Returns the module whose call the traceback ends in, in words; empty where it shows none."""
    names = {id(module): name for name, module in network.named_modules()}
    found = ""
    while trace is not None:
        module = trace.tb_frame.f_locals.get("self")
        if isinstance(module, nn.Module) and id(module) in names:
            found = _words(names[id(module)], module)
        trace = trace.tb_next
    return found


def _words(name: str, module: nn.Module) -> str:
    return f"`{name}` ({type(module).__name__})" if name else f"the network itself ({type(module).__name__})"


def find_nondeterministic_op(network: nn.Module, loss_of: Callable[[], Tensor]) -> str:
    """Returns the module, in words, whose backward pass is refused, by doing it again under observation.

    A backward pass runs in torch's own engine, where no traceback shows a module. So the forward pass notes which
    module each node of the graph comes from, and the backward pass which node it began last.

    Args:
        network: Network to observe; its gradients cannot be used afterwards.
        loss_of: Function that computes the loss again.
    """
    owners: dict[Any, str] = {}
    last: list[Any] = []
    try:
        with _noting_owners(network, owners):
            loss = loss_of()
        for node in _graph(loss.grad_fn, stop=()):
            node.register_prehook(lambda _, node=node: last.append(node))
        loss.backward()  # type: ignore[no-untyped-call]
    except RuntimeError:
        return owners.get(last[-1], "the loss") if last else "the loss"
    return ""


@contextmanager
def _noting_owners(network: nn.Module, owners: dict[Any, str]) -> Iterator[None]:
    """Notes for every node of the graph the innermost module that made it."""
    running: list[str] = []

    def note(values: Any) -> None:
        for tensor in (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)):
            for node in _graph(tensor.grad_fn, stop=owners):
                owners[node] = running[-1] if running else "the loss"

    with ExitStack() as hooks:
        for name, module in network.named_modules():

            def before(_: nn.Module, inputs: Any, words: str = _words(name, module)) -> None:
                if running:
                    note(inputs)  # what the surrounding module did since its last part is its own
                running.append(words)

            def after(_: nn.Module, __: Any, output: Any) -> None:
                note(output)
                running.pop()

            hooks.callback(module.register_forward_pre_hook(before).remove)
            hooks.callback(module.register_forward_hook(after).remove)
        yield


def _graph(start: Any, stop: Any) -> Iterator[Any]:
    """Yields the nodes of a graph from ``start`` backwards, as far as those in ``stop``."""
    seen, waiting = set(), [start]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen or node in stop:
            continue
        seen.add(node)
        waiting += [below for below, _ in node.next_functions]
        yield node
