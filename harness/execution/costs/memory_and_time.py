"""How long a cell would take on a GPU that is not here: a roofline over its counted operations.

An operation takes as long as its arithmetic or its memory traffic, whichever is longer, at a share of what the GPU's
maker states; together they take no less than the host needs to launch them. A training step is three forward passes
(forward, and twice that backward) and the update of the weights, or the time loader processes need for its batch. This
is an estimate: :data:`FAST`, :data:`USUAL` and :data:`SLOW` bound it, and only a measurement on the GPU settles it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.execution.costs.constants import ALLOCATOR_OVERHEAD, CUDA_GB, STEP_OVER_FORWARD, USABLE_MEMORY
from harness.execution.costs.gpus import GpuSpec
from harness.segmenters.size import Work
from harness.study.protocol import Protocol


@dataclass(frozen=True)
class Shares:
    """What a training reaches of what is stated.

    Attributes:
        compute: Share of the peak rate that a matrix product or convolution reaches.
        bandwidth: Share of the memory's bandwidth that an operation's counted traffic reaches.
        launch: Seconds the host needs to launch an operation.
        loading: Time loader processes need, against that measured on one core.
    """

    compute: float
    bandwidth: float
    launch: float
    loading: float


#: Closest, of round numbers, to the twelve epoch times of nnU-Net that its authors publish for A100 and V100
#: (docs/reproduce.md); the other two are about half and twice as long.
USUAL = Shares(compute=0.4, bandwidth=0.16, launch=8e-6, loading=1.0)
FAST = Shares(compute=0.6, bandwidth=0.35, launch=4e-6, loading=0.5)
SLOW = Shares(compute=0.2, bandwidth=0.08, launch=16e-6, loading=2.0)

#: Weights are updated by one fused kernel that streams them; it comes closer to the stated bandwidth.
_STREAMING = 0.7

#: Loader processes a GPU has by default, where there are cores enough.
LOADERS = 8

#: One loader process makes a batch of 16 patches of 128 x 128, four modalities, all augmentation, in 47 ms
#: (docs/preparation.md).
_LOADING_SECONDS_PER_VOXEL = 0.047 / (16 * 128 * 128 * 4)


@dataclass(frozen=True)
class Span:
    """An estimate in seconds and its bounds."""

    low: float
    usual: float
    high: float

    def __add__(self, other: Span) -> Span:
        return Span(self.low + other.low, self.usual + other.usual, self.high + other.high)

    def __mul__(self, factor: float) -> Span:
        return Span(self.low * factor, self.usual * factor, self.high * factor)


@dataclass(frozen=True)
class Cases:
    """What a cell infers on: numbers of cases and their shape.

    Attributes:
        validation: Cases scored during training.
        test: Cases scored at the end.
        shape: (D, H, W) on the network's grid.
    """

    validation: int
    test: int
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class GpuCost:
    """What a cell would cost on a GPU.

    Attributes:
        step: A training step.
        cell: Training, validation and test.
        memory_gb: Weights, gradients, optimiser's state and what is kept for the backward pass.
        largest_batch: The largest batch that fits; 0 where not even one patch does.
    """

    step: Span
    cell: Span
    memory_gb: float
    largest_batch: int


def cost(
    work: Work,
    protocol: Protocol,
    modalities: int,
    cases: Cases,
    gpu: GpuSpec,
    trained: bool = True,
    step_seconds: float | None = None,
) -> GpuCost:
    """Estimates a cell.

    Args:
        work: Work of a forward pass on one batch of the protocol.
        protocol: Protocol of training and test.
        modalities: Input channels.
        cases: Cases to predict.
        gpu: GPU model to estimate for.
        trained: False for imported weights, which are only tested.
        step_seconds: A training step as it was measured on that GPU; the rest is estimated.
    """
    training, inference = protocol.training, protocol.inference
    batch = protocol.sampling.batch_size
    per_case = windows(cases.shape, protocol.patch_size, inference.overlap)
    flips = 2 ** len(inference.mirror_axes)
    tested = per_case * cases.test * flips

    forward = Span(*(_forward(work, gpu, shares) for shares in (FAST, USUAL, SLOW)))
    step = Span(*(_step(work, protocol, modalities, gpu, shares, step_seconds) for shares in (FAST, USUAL, SLOW)))
    whole = forward * (tested / batch)
    if trained:
        whole = (
            whole
            + step * (training.epochs * training.steps_per_epoch)
            + forward * _validation_batches(protocol, cases, per_case)
        )
    state = _state_bytes(work, protocol) / 1e9
    kept = work.kept / 1e9
    available = (gpu.memory_gb * USABLE_MEMORY - CUDA_GB) / ALLOCATOR_OVERHEAD - state
    return GpuCost(
        step=step,
        cell=whole,
        memory_gb=(state + kept) * ALLOCATOR_OVERHEAD + CUDA_GB,
        largest_batch=max(0, int(available / (kept / batch))) if kept else batch,
    )


def _validation_batches(protocol: Protocol, cases: Cases, per_case: int) -> float:
    """Returns how many batches all validations of a training take together."""
    training, validations = protocol.training, math.ceil(protocol.training.epochs / protocol.training.validate_every)
    if protocol.sampling.cases == "training_and_validation":
        return 0.0
    if training.validate_on == "patches":
        return float(validations * training.validation_batches)
    return validations * per_case * cases.validation / protocol.sampling.batch_size


def windows(shape: Sequence[int], patch: Sequence[int], overlap: float) -> int:
    """Returns how many patches a sliding window takes for a case (D, H, W); two-dimensional ones go slice by slice."""
    planes = math.prod(shape[: len(shape) - len(patch)])
    return planes * math.prod(
        1 if size <= side else math.ceil((size - side) / max(1, int(side * (1 - overlap)))) + 1
        for size, side in zip(shape[-len(patch) :], patch, strict=True)
    )


def _forward(work: Work, gpu: GpuSpec, shares: Shares) -> float:
    bandwidth = gpu.bandwidth * 1e9 * shares.bandwidth
    device = sum(
        max(one.flops / (gpu.peak(one.rate) * shares.compute), one.traffic / bandwidth) for one in work.operations
    )
    return max(device, len(work.operations) * shares.launch)


def _step(
    work: Work, protocol: Protocol, modalities: int, gpu: GpuSpec, shares: Shares, measured: float | None
) -> float:
    update = _update_bytes(work, protocol) / (gpu.bandwidth * 1e9 * _STREAMING)
    computed = STEP_OVER_FORWARD * _forward(work, gpu, shares) + update if measured is None else measured
    voxels = protocol.sampling.batch_size * modalities * math.prod(protocol.patch_size)
    loaders = LOADERS if protocol.sampling.workers is None else max(1, protocol.sampling.workers)
    return max(computed, voxels * _LOADING_SECONDS_PER_VOXEL * shares.loading / loaders)


def _moments(protocol: Protocol) -> int:
    """Numbers the optimiser remembers of each weight."""
    return 1 if protocol.training.optimiser.name == "sgd" else 2


def _update_bytes(work: Work, protocol: Protocol) -> float:
    """Weights and moments are read and written, gradients read; clipping reads those twice and writes them."""
    passes = 3 + 2 * _moments(protocol) + (3 if protocol.training.optimiser.clip_norm is not None else 0)
    return 4.0 * passes * work.parameters


def _state_bytes(work: Work, protocol: Protocol) -> float:
    """Weights, gradients and moments, float32."""
    return 4.0 * (2 + _moments(protocol)) * work.parameters
