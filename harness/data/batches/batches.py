"""Training batches: batch number n of a seed is always the same, in every process and at any time."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from harness.data.batches.augmentation import Augmenter, mark_body, transforms_of
from harness.data.batches.batch_augmentation import BatchAugmentation
from harness.data.batches.draws import draw, steps_of
from harness.data.batches.modality_dropout import draw_absent, join_absent, mark_absent
from harness.data.batches.raw_batch import RawBatch, pack
from harness.data.batches.sampling import Patch, Placing, draw_patch
from harness.data.preparation.cache import PreparedCase
from harness.data.preparation.normalisation import Normaliser
from harness.data.settings import AugmentationSettings, SamplingSettings
from harness.loader_errors import LoaderError, attempt, unwrap
from harness.randomness import derive, generator

_Made = TypeVar("_Made")


class Batch(NamedTuple):
    """Images (B, M, *spatial) float32, NaN where a modality is absent, and labels (B, *spatial) int64."""

    images: Tensor
    labels: Tensor


class TrainingBatches(TorchDataset[Batch]):
    """Maps a step number to its batch.

    The draws depend on the seed and the step alone, so that every model of a study sees the same batches.

    Args:
        cases: Training cases.
        normaliser: Applied to every patch.
        patch_size: Size of the patches.
        sampling: Sampling settings of the protocol.
        augmentation: Augmentation settings of the protocol.
        seed: The cell's seed.
        part: Positions within the batch to make, where several processes share it; default: all.
    """

    def __init__(
        self,
        cases: Sequence[PreparedCase],
        normaliser: Normaliser,
        patch_size: tuple[int, ...],
        sampling: SamplingSettings,
        augmentation: AugmentationSettings,
        seed: int,
        part: range | None = None,
    ) -> None:
        self._cases = cases
        self._normaliser = normaliser
        region = tuple(int(size * augmentation.cutout) for size in patch_size)
        marks_body = augmentation.mask_outside and bool(normaliser.masked)
        self._placing = Placing(patch_size, region, sampling.foreground_by, marks_body)
        self._part = range(sampling.batch_size) if part is None else part
        # As nnU-Net: the last third of the batch, rounded, but at least one patch, shows foreground.
        forced = max(1, round(sampling.batch_size * sampling.foreground)) if sampling.foreground else 0
        self._first_forced = sampling.batch_size - forced
        self._dropout = sampling.modality_dropout
        self._transforms = transforms_of(augmentation, patch_size)
        self._masked = list(normaliser.masked) if augmentation.mask_outside else []
        self._augment = Augmenter(augmentation, patch_size, normaliser.masked)
        self._seed = seed

    def __getitem__(self, step: int) -> Batch:
        images, labels = zip(*(self._augmented(step, index) for index in self._part), strict=True)
        return Batch(torch.stack(images), torch.stack(labels).long())

    def unaugmented(self) -> "UnaugmentedBatches":
        """Returns the same batches as they are before augmentation, for a device to augment."""
        return UnaugmentedBatches(self)

    def augmentation(self, parts: int = 1) -> BatchAugmentation:
        """Returns what augments the batches of :meth:`unaugmented` on a device.

        Args:
            parts: Parts in which it works, to need less memory.
        """
        return BatchAugmentation(self._transforms, self._placing.patch_size, self._masked, parts)

    def raw(self, step: int) -> RawBatch:
        """Returns the batch of a step before augmentation, with what its augmentation draws."""
        steps, size = steps_of(self._transforms), self._placing.patch_size
        patches = [self._patch(step, index) for index in self._part]
        seeds = [self._augmentation_seed(step, index) for index in self._part]
        labels = [mark_body(one.label, one.inside) if self._placing.marks_body else one.label for one in patches]
        return pack(
            steps,
            torch.from_numpy(np.stack([one.images for one in patches])),
            torch.from_numpy(np.stack(labels)),
            draw(steps, len(patches[0].images), size, seeds),
            seeds,
            [self._absent(step, index, patch) for index, patch in zip(self._part, patches, strict=True)],
        )

    def _augmented(self, step: int, index: int) -> tuple[Tensor, Tensor]:
        patch = self._patch(step, index)
        images, labels = self._augment(patch.images, patch.label, self._augmentation_seed(step, index), patch.inside)
        return mark_absent(images, self._absent(step, index, patch)), labels

    def _patch(self, step: int, index: int) -> Patch:
        rng = generator(self._seed, "patch", step, index)
        return draw_patch(self._cases, self._normaliser, self._placing, index >= self._first_forced, rng)

    def _augmentation_seed(self, step: int, index: int) -> int:
        return derive(self._seed, "augment", step, index)

    def _absent(self, step: int, index: int, patch: Patch) -> tuple[int, ...]:
        """Returns the channels that a patch lacks: those of its patient, and those that are dropped at random."""
        if self._dropout is None:
            return patch.absent
        drawn = generator(self._seed, "modality_dropout", step, index)
        dropped = draw_absent(len(patch.images), self._dropout.p, drawn)
        return join_absent(len(patch.images), patch.absent, dropped, drawn)


class UnaugmentedBatches(TorchDataset[RawBatch]):
    """Maps a step number to its batch before augmentation.

    Args:
        batches: The batches.
    """

    def __init__(self, batches: TrainingBatches) -> None:
        self._batches = batches

    def __getitem__(self, step: int) -> RawBatch:
        return self._batches.raw(step)


def stream(batches: TorchDataset[_Made], first: int, last: int, workers: int, pin_memory: bool) -> Iterator[_Made]:
    """Yields the batches of steps ``first`` to ``last - 1`` in order.

    Args:
        batches: Batches by step number.
        first: First step.
        last: One past the last step.
        workers: Loader processes; 0 makes the batches in this process.
        pin_memory: Page-locked memory, so that copies to a GPU can be asynchronous.
    """
    loader = DataLoader(
        _Attempts(batches),
        batch_size=None,
        sampler=range(first, last),
        num_workers=workers,
        pin_memory=pin_memory,
        prefetch_factor=max(2, math.ceil(8 / workers)) if workers else None,
        persistent_workers=False,
    )
    yield from map(unwrap, loader)


class _Attempts(TorchDataset[_Made | LoaderError]):
    """Batches by step number, or the errors that making them raised.

    Args:
        batches: Batches by step number.
    """

    def __init__(self, batches: TorchDataset[_Made]) -> None:
        self._batches = batches

    def __getitem__(self, step: int) -> _Made | LoaderError:
        return attempt(lambda: self._batches[step])
