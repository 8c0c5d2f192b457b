"""Batches on their way to the device."""

from collections.abc import Iterator

import torch

from harness.data.batches.batches import Batch
from harness.training.device import Precision


def on_device(batches: Iterator[Batch], precision: Precision) -> Iterator[Batch]:
    """Yields the batches on the device, images in the memory format.

    On CUDA the copies run in a stream of their own. Whoever consumes the batches has only queued the work on the last
    one when the next is requested, so that it is copied while the device computes.
    """
    if precision.device.type != "cuda":
        for batch in batches:
            yield _move(batch, precision)
        return
    copies = torch.cuda.Stream(precision.device)  # type: ignore[no-untyped-call]
    for batch in batches:
        with torch.cuda.stream(copies):
            moved = _move(batch, precision)
        compute = torch.cuda.current_stream(precision.device)
        compute.wait_stream(copies)
        for tensor in moved:
            tensor.record_stream(compute)  # its memory is not handed out again before the work on it is done
        yield moved


def _move(batch: Batch, precision: Precision) -> Batch:
    images = batch.images.to(precision.device, non_blocking=True)
    # Re-ordered on the device: a copy that changes the format on its way waits for the host.
    return Batch(
        images.contiguous(memory_format=precision.memory_format), batch.labels.to(precision.device, non_blocking=True)
    )
