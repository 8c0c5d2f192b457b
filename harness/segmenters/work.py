"""Cost of a network's forward pass: arithmetic and memory traffic of every operation, and kept activations.

:func:`count` runs the network on torch's fake tensors, in training mode and mixed precision, so nothing is allocated
or computed. An operation reads its inputs and writes its outputs once: that is what PyTorch does without compilation.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from harness.segmenters.contract import Options, Segmenter, Task
from harness.segmenters.size import explained

#: What an operation computes in: 16 bits, float32 in tensor cores (convolutions, torch's default), or float32.
Rate = Literal["half", "tf32", "fp32"]


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        flops: Arithmetic; 1 MAC = 2 FLOPs, only matrix products and convolutions have any.
        traffic: Bytes read and written.
        rate: Arithmetic type.
    """

    flops: float
    traffic: float
    rate: Rate


@dataclass(frozen=True)
class Work:
    """A forward pass.

    Attributes:
        parameters: Trainable ones.
        operations: All that touch memory, in order; views do not.
        kept: Bytes kept for the backward pass.
    """

    parameters: int
    operations: tuple[Operation, ...]
    kept: float


def count(segmenter: Segmenter, task: Task, options: Options, batch: int, mixed: bool) -> Work:
    """Counts a forward pass in training mode.

    Args:
        segmenter: The network.
        task: Segmentation task.
        options: Options of the network.
        batch: Patches.
        mixed: Whether matrix products and convolutions compute in 16 bits.

    Raises:
        StudyError: The network cannot be built for the task or does not run.
    """
    with explained(segmenter):
        return _count(segmenter, task, options, batch, mixed)


def _count(segmenter: Segmenter, task: Task, options: Options, batch: int, mixed: bool) -> Work:
    kept: dict[int, int] = {}
    with FakeTensorMode():
        network = segmenter.build(task, options).train()
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        weights = {_storage(parameter) for parameter in network.parameters()}

        def keep(tensor: Tensor) -> Tensor:
            if _storage(tensor) not in weights:
                kept[_storage(tensor)] = tensor.untyped_storage().nbytes()
            return tensor

        counter = _Counter()
        images = torch.empty(batch, task.in_channels, *task.patch_size)
        with (
            sdpa_kernel(SDPBackend.MATH),  # the fused kernels of CPUs have no count
            torch.autocast("cpu", torch.bfloat16, enabled=mixed),
            saved_tensors_hooks(keep, lambda tensor: tensor),
            counter,
        ):
            output = network(images)
        del output
    return Work(sum(p.numel() for p in trained), tuple(counter.operations), float(sum(kept.values())))


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch declares no types here
    """Sees every operation that reaches a kernel."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        read, written = list(_tensors((args, kwargs))), list(_tensors(out))
        if not func.is_view and written:
            packet = func._overloadpacket
            formula = flop_registry.get(packet)
            flops = float(formula(*args, **kwargs, out_val=out)) if formula is not None else 0.0
            touched = {id(tensor): tensor.numel() * tensor.element_size() for tensor in (*read, *written)}
            half = bool(read) and read[0].element_size() == 2
            plain: Rate = "tf32" if packet is torch.ops.aten.convolution else "fp32"
            self.operations.append(Operation(flops, float(sum(touched.values())), "half" if half else plain))
        return out


def _tensors(values: Any) -> Iterator[Tensor]:
    return (value for value in tree_leaves(values) if isinstance(value, Tensor))


def _storage(tensor: Tensor) -> int:
    """Returns the identity of a tensor's memory."""
    shared: int = tensor.untyped_storage()._cdata
    return shared
