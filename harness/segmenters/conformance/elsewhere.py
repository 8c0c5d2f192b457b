"""Which operators of a network read or make tensors on another device than the network's."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from harness.recording.host_contact import tensors_in

#: What an operator that is known gives, from its arguments.
_Again = Callable[[Any], Any]


class Elsewhere(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch declares no types here
    """Records operators that read or make a tensor on another device than ``meta``; scalars may come from any device.

    What an operator gives on ``meta`` depends on sizes alone, which torch takes long to find: they are found once.

    Attributes:
        seen: Names of these operators.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known: dict[Any, _Again] = {}
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._look(func, (args, kwargs))
        key = None if func.is_view else _sizes((func, args, kwargs))
        if key in self._known:
            return self._known[key](args)
        out = func(*args, **(kwargs or {}))
        self._look(func, out)
        if key is not None and (again := _again(func, args, out)):
            self._known[key] = again
        return out

    def _look(self, func: Any, values: Any) -> None:
        if any(not tensor.is_meta and tensor.ndim for tensor in tensors_in(values)):
            self.seen.add(str(func))


def _sizes(values: Any) -> Any:
    """Returns what an operator takes, with sizes, strides, type and device for each tensor, as a dictionary's key."""
    if isinstance(values, Tensor):
        return values.shape, values.stride(), values.dtype, values.device
    if isinstance(values, list | tuple):
        return tuple([_sizes(value) for value in values])
    if isinstance(values, dict):
        return tuple([(name, _sizes(value)) for name, value in values.items()])
    return type(values), values  # 1, 1.0 and True are equal


def _again(func: Any, args: Any, out: Any) -> _Again | None:
    """Returns what gives an operator's result for other tensors of the same sizes; ``None`` where it has to be asked.

    Args:
        func: The operator.
        args: What it took.
        out: What it gave.
    """
    if func._schema.is_mutable:
        return (lambda args: args[0]) if args and out is args[0] else None
    if isinstance(out, Tensor) and out.is_meta:
        return lambda _: _like(out)
    if isinstance(out, tuple) and all(isinstance(one, Tensor) and one.is_meta for one in out):
        return lambda _: tuple([_like(one) for one in out])
    return None


def _like(out: Tensor) -> Tensor:
    return torch.empty_strided(out.shape, out.stride(), dtype=out.dtype, device=out.device)
