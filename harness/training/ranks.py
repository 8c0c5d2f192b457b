"""Several processes that train one network together, each on its part of every batch.

What they compute is what one process computes on the whole batch, up to rounding and the random draws of dropout: the
parts are those of the same batch, the loss (batch Dice too) is taken over the outputs of all, and BatchNorm takes its
statistics over all (SyncBatchNorm). So the number of processes is not part of a cell's identity; it is recorded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import FileStore, Store  # type: ignore[attr-defined]

from harness.errors import TrainingError

#: The others wait this long for what only the main process does: validation of all cases, say.
_MAIN_ONLY_TIMEOUT = timedelta(hours=24)

#: Within this time all must have started.
_START_TIMEOUT = timedelta(minutes=10)


class Ranks:
    """One process alone, which has the whole batch; what the processes do together is trivial."""

    rank = 0
    size = 1

    @classmethod
    def alone(cls) -> AbstractContextManager[Ranks]:
        """Returns what joins nobody; a :data:`JoinRanks`."""
        return nullcontext(cls())

    @property
    def is_main(self) -> bool:
        """Whether this process validates, writes checkpoints and reports progress."""
        return self.rank == 0

    def local_batch_indices(self, batch_size: int) -> range:
        """Returns the positions within a batch that this process works on.

        Raises:
            TrainingError: The batch cannot be divided equally.
        """
        if batch_size % self.size:
            raise TrainingError(
                f"A batch of {batch_size} cannot be divided equally among {self.size} processes.",
                hint="Choose a number of GPUs a cell that divides `sampling.batch_size`.",
            )
        # Every so many: where each process cuts its part into smaller ones, these together are the parts that one
        # process would cut the batch into.
        return range(self.rank, batch_size, self.size)

    def prepare(self, network: nn.Module) -> nn.Module:
        """Returns the network with whatever its layers need to see the whole batch."""
        return network

    def wrap(self, network: nn.Module) -> nn.Module:
        """Returns the module whose forward and backward passes keep the gradients of all equal."""
        return network

    def gather(self, output: Tensor | list[Tensor], labels: Tensor) -> tuple[Tensor | list[Tensor], Tensor]:
        """Returns outputs and labels of the whole batch; gradients flow into this process's part."""
        return output, labels

    def any(self, value: bool) -> bool:
        """Returns whether any process says so."""
        return value

    def broadcast(self, value: float) -> float:
        """Returns the main process's value."""
        return value


#: Joins the processes that train together, for a ``with`` block.
JoinRanks = Callable[[], AbstractContextManager[Ranks]]


class JoinedRanks(Ranks):
    """One of several processes, after :func:`join`.

    Args:
        rank: Number of the process, from 0.
        size: Number of processes.
        device: Device of the process.
    """

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        self.rank = rank
        self.size = size
        self._device = device
        # Single numbers travel by gloo, whatever gradients travel by: the GPU need not be waited for.
        self._cpu_group = dist.new_group(backend="gloo", timeout=_MAIN_ONLY_TIMEOUT)

    def prepare(self, network: nn.Module) -> nn.Module:
        """Turns BatchNorm into SyncBatchNorm.

        Raises:
            TrainingError: There is BatchNorm, and the device is no GPU, for which SyncBatchNorm does not exist.
        """
        normalises = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
        if normalises and self._device.type != "cuda":
            raise TrainingError(
                "A network with BatchNorm cannot be trained by several processes on a CPU.",
                hint="torch has SyncBatchNorm for GPUs only; train this cell in one process.",
            )
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return converted

    def wrap(self, network: nn.Module) -> nn.Module:
        """Returns the network under DistributedDataParallel."""
        devices = [self._device] if self._device.type == "cuda" else None
        # Some networks have parameters that no step uses; buffers are equal in all processes already.
        return nn.parallel.DistributedDataParallel(
            network, device_ids=devices, find_unused_parameters=True, broadcast_buffers=False
        )

    def gather(self, output: Tensor | list[Tensor], labels: Tensor) -> tuple[Tensor | list[Tensor], Tensor]:
        """Gathers the parts.

        Every process computes the loss of the whole batch, and its gradient by its own part only. DDP takes the mean
        of these, so that the loss, multiplied by the number of processes, has the gradient of one process.
        """
        if isinstance(output, Tensor):
            return self._gather_tensor(output), self._gather_tensor(labels)
        return [self._gather_tensor(one) for one in output], self._gather_tensor(labels)

    def _gather_tensor(self, own: Tensor) -> Tensor:
        own = own.contiguous()
        parts = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(parts, own.detach())
        parts[self.rank] = own
        return torch.cat(parts)

    def any(self, value: bool) -> bool:
        """Returns whether any process says so; each waits for all others."""
        message = torch.tensor([float(value)])
        dist.all_reduce(message, op=dist.ReduceOp.MAX, group=self._cpu_group)  # type: ignore[arg-type]
        return bool(message)

    def broadcast(self, value: float) -> float:
        """Returns the main process's value; the others wait for it."""
        message = torch.tensor([value], dtype=torch.float64)
        dist.broadcast(message, src=0, group=self._cpu_group)  # type: ignore[arg-type]
        return float(message)


@contextmanager
def join(
    rank: int, size: int, device: torch.device, rendezvous_file: Path, check: Callable[[], None] = lambda: None
) -> Iterator[Ranks]:
    """Joins the processes that train one network.

    Args:
        rank: Number of this process.
        size: Number of processes.
        device: Device of this process.
        rendezvous_file: File through which the processes find each other; all can reach it, and it does not exist yet.
        check: Function called while the process waits for others; raises where one of them will not come.

    Raises:
        TrainingError: Not all came in time.
    """
    store = FileStore(str(rendezvous_file), size)
    _await_all(store, rank, size, check)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_START_TIMEOUT)
    try:
        yield JoinedRanks(rank, size, device)
    finally:
        dist.destroy_process_group()


def _await_all(store: Store, rank: int, size: int, check: Callable[[], None]) -> None:
    """Waits until every process is there; torch itself would wait for one that died until its time limit."""
    store.set(f"here/{rank}", "")
    deadline = time.monotonic() + _START_TIMEOUT.total_seconds()
    while not store.check([f"here/{other}" for other in range(size)]):
        check()
        if time.monotonic() > deadline:
            raise TrainingError(
                f"Not all of {size} processes started within {_START_TIMEOUT.total_seconds() / 60:.0f} minutes.",
                hint="Look at the cell's log.",
            )
        time.sleep(0.05)
