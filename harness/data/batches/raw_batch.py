"""A batch on its way to the device that augments it."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from torch import Tensor

from harness.data.batches.draws import Rows, Step


class RawBatch(NamedTuple):
    """A batch as it was read, and what its augmentation drew.

    Attributes:
        images: (B, M, *region) float32, normalised.
        labels: (B, *region) uint8; where the body is marked, 0 outside it and a class plus 1 inside.
        rows: (n,) int64, for each transform in order the patches or channels (patch x M + channel) that it changes;
            the last ones are the channels of absent modalities.
        values: Values of the transforms in the same order, float32.
        counts: Rows of each transform, and absent channels.
        largest_label: The largest value in ``labels``.
        noise: Seeds of the noise fields of those patches that drew noise.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor
    values: Tensor
    counts: list[int]
    noise: list[int]
    largest_label: int

    def to(self, device: torch.device) -> Self:
        """Returns the batch on a device; where its memory is pinned, the copies are asynchronous."""
        moved = {
            name: getattr(self, name).to(device, non_blocking=True) for name in ("images", "labels", "rows", "values")
        }
        return self._replace(**moved)


def pack(
    steps: Sequence[Step],
    images: Tensor,
    labels: Tensor,
    drawn: Sequence[Sequence[Rows]],
    seeds: Sequence[int],
    absent: Sequence[Sequence[int]],
) -> RawBatch:
    """Returns a batch that can be sent to a device: few tensors, whatever the number of transforms.

    Args:
        steps: The pipeline.
        images: (B, M, *region).
        labels: (B, *region).
        drawn: What each step drew, for each patch.
        seeds: Seed of each patch.
        absent: Channels of absent modalities, for each patch.
    """
    channels = images.shape[1]
    rows: list[int] = []
    values: list[float] = []
    counts: list[int] = []
    noise: list[int] = []
    for number, step in enumerate(steps):
        before = len(rows)
        for patch, by_step in enumerate(drawn):
            for channel, own in by_step[number].items():
                rows.append(patch * channels + channel if step.kind.per_channel else patch)
                values.extend(own)
        counts.append(len(rows) - before)
        if isinstance(step.transform, GaussianNoiseTransform):
            noise += [seeds[patch] for patch in rows[before:]]
    lacking = [patch * channels + channel for patch, those in enumerate(absent) for channel in those]
    counts.append(len(lacking))
    packed = torch.tensor(rows + lacking, dtype=torch.int64), torch.tensor(values, dtype=torch.float32)
    return RawBatch(images, labels, *packed, counts, noise, int(labels.max()))
