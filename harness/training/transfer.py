"""Batches on their way to the device."""

from collections.abc import Iterator

import torch

from harness.data.batches.batch_augmentation import BatchAugmentation
from harness.data.batches.batches import Batch
from harness.data.batches.raw_batch import RawBatch
from harness.training.device import Precision


def on_device(
    batches: Iterator[Batch] | Iterator[RawBatch], precision: Precision, augment: BatchAugmentation | None = None
) -> Iterator[Batch]:
    """Yields the batches on the device, images in the memory format.

    On CUDA copies and augmentation run in a stream of their own. Whoever consumes the batches has only queued the work
    on the last one when the next is requested, so that it is copied and augmented while the device computes.

    Args:
        batches: Batches in host memory, page-locked on CUDA.
        precision: Device and memory format.
        augment: Augments batches on the device that were not augmented before.
    """
    if precision.device.type != "cuda":
        for batch in batches:
            yield _move(batch, precision, augment)
        return
    copies = torch.cuda.Stream(precision.device)  # type: ignore[no-untyped-call]
    for batch in batches:
        with torch.cuda.stream(copies):
            moved = _move(batch, precision, augment)
        compute = torch.cuda.current_stream(precision.device)
        compute.wait_stream(copies)
        for tensor in moved:
            tensor.record_stream(compute)  # its memory is not handed out again before the work on it is done
        yield moved


def _move(batch: Batch | RawBatch, precision: Precision, augment: BatchAugmentation | None) -> Batch:
    if isinstance(batch, RawBatch):
        assert augment is not None
        images, labels = augment(batch.to(precision.device))
    else:
        images, labels = (tensor.to(precision.device, non_blocking=True) for tensor in batch)
    # Re-ordered on the device: a copy that changes the format on its way waits for the host.
    return Batch(images.contiguous(memory_format=precision.memory_format), labels)
