"""What a recording cannot hold: values that the host reads, tensors that it sends, numbers that it draws."""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

#: Operators that copy a tensor, perhaps to another device.
_COPIES = frozenset({"_to_copy", "copy_"})

#: Operators that read their indices if these are masks.
_INDEXING = frozenset({"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"})


@contextmanager
def host_contact(network: nn.Module, device: torch.device) -> Iterator[list[str]]:
    """Notes how the host takes part in what the block computes; a recording would break on it or freeze it.

    Seen are values that are read back, sizes that depend on values, copies from and to the host, and draws from the
    global generators of Python, NumPy and, on another device than the CPU, torch's CPU generator.

    Args:
        network: Network whose modules are named.
        device: Device of the network.

    Yields:
        The findings, in words, complete when the block ends.
    """
    found: list[str] = []
    before = _generators(device)
    with _Watch(network, device, found):
        yield found
    after = _generators(device)
    found += [f"the network draws from {name}, on the host" for name in after if after[name] != before[name]]


def _generators(device: torch.device) -> dict[str, Any]:
    """Returns the states of generators on the host, by name."""
    kind, keys, *rest = np.random.get_state()
    states: dict[str, Any] = {"`random`": random.getstate(), "`numpy.random`": (kind, np.asarray(keys).tobytes(), rest)}
    if device.type != "cpu":
        states["torch's CPU generator"] = torch.default_generator.get_state().numpy().tobytes()
    return states


class _Watch(TorchDispatchMode):
    """Sees every operator."""

    def __init__(self, network: nn.Module, device: torch.device, found: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._names = {id(module): name for name, module in network.named_modules()}
        self._device = device
        self._found = found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if what := waiting(func, args, self._device.type) or _copying(func, args, out):
            text = f"{self._where()} {what} ({func.overloadpacket.__name__})"
            if text not in self._found:
                self._found.append(text)
        return out

    def _where(self) -> str:
        """Returns the module that is at work, in words."""
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            owner = frame.f_locals.get("self")
            if isinstance(owner, nn.Module) and id(owner) in self._names:
                name = self._names[id(owner)]
                return f"`{name}` ({type(owner).__name__})" if name else f"the network itself ({type(owner).__name__})"
            frame = frame.f_back
        return "the loss"


def tensors_in(values: Any) -> list[Tensor]:
    """Returns the tensors among what an operator takes or gives, in order.

    Args:
        values: A tensor, another value, or lists, tuples and dictionaries of these.
    """
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, dict):
        values = values.values()
    elif not isinstance(values, list | tuple):
        return []
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple | dict):
            found += tensors_in(value)
    return found


def waiting(func: Any, args: Any, device: str) -> str:
    """Returns how an operator makes the host wait for a value on a device, in words; empty where it does not.

    Args:
        func: Operator, as torch's dispatch modes see it.
        args: Its arguments.
        device: Kind of device, e.g. ``cuda``.
    """
    if all(tensor.device.type != device for tensor in tensors_in(args)):
        return ""
    if torch.Tag.data_dependent_output in func.tags:
        return "reads a value back from the device"
    if func.overloadpacket.__name__ in _INDEXING:
        masks = any(tensor.dtype in (torch.bool, torch.uint8) for tensor in tensors_in(args[1]))
        return "indexes by a mask, whose size is read back from the device" if masks else ""
    if torch.Tag.dynamic_output_shape in func.tags:
        return "makes a tensor whose size is read back from the device"
    return ""


def _copying(func: Any, args: Any, out: Any) -> str:
    """Returns between which devices an operator copies, in words; empty where it does not."""
    name = func.overloadpacket.__name__
    if name == "lift_fresh" and out.device.type != "cpu":  # `torch.tensor(numbers, device=...)`
        return "copies numbers from the host"
    if name not in _COPIES:
        return ""
    source = args[1 if name == "copy_" else 0]
    if source.device.type == out.device.type:
        return ""
    return f"copies a tensor {'to' if out.device.type == 'cpu' else 'from'} the host"
