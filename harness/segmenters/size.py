"""Cost of a network's forward pass, counted without arithmetic on torch's fake tensors.

:func:`measure` gives trainable parameters and compute. :func:`count` gives arithmetic and memory traffic of every
operation and the activations that are kept, in training mode and mixed precision. An operation reads its inputs and
writes its outputs once: that is what PyTorch does without compilation.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from harness.errors import HarnessError, StudyError
from harness.recording.host_contact import tensors_in
from harness.segmenters.contract import Options, Segmenter, Task

#: What torch imports at the first fake tensor; it takes a second.
NEEDED_TO_COUNT = ("torch._dynamo",)

#: What an operation computes in: 16 bits, float32 in tensor cores (convolutions, torch's default), or float32.
Rate = Literal["half", "tf32", "fp32"]


@dataclass(frozen=True)
class Size:
    """Size of a network.

    Attributes:
        parameters: Trainable ones.
        gflops: Compute of one forward pass at batch size 1; 1 MAC = 2 FLOPs, norms and activations uncounted.
    """

    parameters: int
    gflops: float


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        flops: Arithmetic; 1 MAC = 2 FLOPs, only matrix products and convolutions have any.
        traffic: Bytes read and written.
        rate: Arithmetic type.
        per_map: Whether it normalises each map of each image on its own (InstanceNorm), which GPUs do slowly.
    """

    flops: float
    traffic: float
    rate: Rate
    per_map: bool = False


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


def measure(segmenter: Segmenter, task: Task, options: Options) -> Size:
    """Measures a network without memory or arithmetic, on torch's fake tensors.

    Raises:
        StudyError: The network cannot be built for the task or does not run; the message says why.
    """
    counter = FlopCounterMode(display=False)
    with _explained(segmenter):
        fake = _build_fake(segmenter, task, options, training=False)
        # Written out as matrix products: torch counts nothing for the fused attention of CPUs.
        with fake.mode, counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            fake.forward(torch.empty(1, task.in_channels, *task.patch_size))
    parameters = sum(p.numel() for p in fake.parameters if p.requires_grad)
    return Size(parameters, counter.get_total_flops() / 1e9)


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
    kept: dict[int, int] = {}
    with _explained(segmenter):
        fake = _build_fake(segmenter, task, options, training=True)
        trained = [parameter for parameter in fake.parameters if parameter.requires_grad]
        weights = {_storage(parameter) for parameter in fake.parameters}

        def keep(tensor: Tensor) -> Tensor:
            if _storage(tensor) not in weights:
                kept[_storage(tensor)] = tensor.untyped_storage().nbytes()
            return tensor

        counter = _Counter()
        with (
            fake.mode,
            sdpa_kernel(SDPBackend.MATH),  # the fused kernels of CPUs have no count
            torch.autocast("cpu", torch.bfloat16, enabled=mixed),
            saved_tensors_hooks(keep, lambda tensor: tensor),
        ):
            images = torch.empty(batch, task.in_channels, *task.patch_size)
            with counter:
                output = fake.forward(images)
        del output
    return Work(sum(p.numel() for p in trained), tuple(counter.operations), float(sum(kept.values())))


@dataclass(frozen=True)
class _Fake:
    """A network of fake tensors.

    Attributes:
        mode: Where its tensors live.
        forward: Its forward pass.
        parameters: Its parameters.
    """

    mode: FakeTensorMode
    forward: Callable[[Tensor], Any]
    parameters: tuple[Tensor, ...]


def _build_fake(segmenter: Segmenter, task: Task, options: Options, *, training: bool) -> _Fake:
    """Builds a network of fake tensors; of real ones first where its constructor reads a tensor's value.

    Many do: rates of stochastic depth are often taken out of a tensor by ``item()``.
    """
    mode = FakeTensorMode()
    try:
        with mode:
            network = segmenter.build(task, options).train(training)
    except DataDependentOutputException:
        network = segmenter.build(task, options).train(training)
        tensors = [*network.named_parameters(), *network.named_buffers()]
        faked: dict[str, Tensor] = {name: mode.from_tensor(tensor) for name, tensor in tensors}
        return _Fake(
            mode,
            lambda images: functional_call(network, faked, (images,)),
            tuple(faked[name] for name, _ in network.named_parameters()),
        )
    return _Fake(mode, network, tuple(network.parameters()))


@contextmanager
def _explained(segmenter: Segmenter) -> Iterator[None]:
    """Names the network whose code raises within, be it an exit of the process.

    Raises:
        StudyError: It raised something.
    """
    try:
        yield
    except (HarnessError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        what = f"{type(error).__name__}: {str(error).strip()}".partition("\n")[0]
        hint = f"`harness check {segmenter.name}` says more."
        raise StudyError(f"{segmenter.name} cannot be built and run: {what}", hint=hint) from error


#: They give memory or another shape, and start no kernel.
_NO_KERNEL = frozenset({torch.ops.aten.empty, torch.ops.aten.empty_like, torch.ops.aten._unsafe_view})


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch declares no types here
    """Sees every operation that reaches a kernel."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        read, written = tensors_in((args, kwargs)), tensors_in(out)
        packet = func._overloadpacket
        if not func.is_view and written and packet not in _NO_KERNEL:
            formula = flop_registry.get(packet)
            flops = float(formula(*args, **kwargs, out_val=out)) if formula is not None else 0.0
            touched = {id(tensor): tensor.numel() * tensor.element_size() for tensor in (*read, *written)}
            half = bool(read) and read[0].element_size() == 2
            plain: Rate = "tf32" if packet is torch.ops.aten.convolution else "fp32"
            # InstanceNorm is a BatchNorm of one image that has every image's maps.
            per_map = packet is torch.ops.aten.native_batch_norm and read[0].shape[0] == 1
            rate: Rate = "half" if half else plain
            self.operations.append(Operation(flops, float(sum(touched.values())), rate, per_map))
        return out


def _storage(tensor: Tensor) -> int:
    """Returns the identity of a tensor's memory."""
    shared: int = tensor.untyped_storage()._cdata
    return shared
