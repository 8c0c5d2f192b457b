"""What a cell would cost on a GPU that is not here: time, energy and memory, from its counted operations.

A training step is three forward passes (forward, and twice that backward) and the update of the weights, or the time
loader processes need for its batch. This is an estimate within a stated range (:mod:`harness.execution.costs.speed`),
and only a measurement on the GPU settles it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.execution.costs.constants import ALLOCATOR_OVERHEAD, CUDA_GB, STEP_OVER_FORWARD, USABLE_MEMORY
from harness.execution.costs.gpus import GpuSpec
from harness.execution.costs.speed import FITTED, HIGH, LOW, READING, USUAL, Bound, Speed, host_seconds, loading_seconds
from harness.segmenters.size import Work
from harness.study.protocol import Protocol

#: Weights are updated by one fused kernel that streams them; it comes closer to the stated bandwidth.
_STREAMING = 0.7

#: Loader processes a GPU has by default, where there are cores enough.
LOADERS = 8

_JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True)
class Span:
    """An estimate and its bounds."""

    low: float
    usual: float
    high: float

    @classmethod
    def of(cls, estimate: Callable[[Bound], float]) -> Span:
        """Makes the same estimate three times."""
        return cls(estimate(LOW), estimate(USUAL), estimate(HIGH))


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
class Known:
    """What was measured on the GPU and its host; the rest is estimated.

    Attributes:
        step: Seconds of a training step, by ``harness bench``.
        launch: Seconds the host needs to launch a kernel, by ``harness doctor``.
    """

    step: float | None = None
    launch: float | None = None


NOTHING = Known()


@dataclass(frozen=True)
class GpuCost:
    """What a cell would cost on a GPU.

    Attributes:
        step: Seconds of a training step.
        cell: Seconds of training, validation and test.
        energy: Energy that the GPU draws in that time, kWh.
        memory_gb: Weights, gradients, optimiser's state and what is kept for the backward pass.
        largest_batch: The largest batch that fits; 0 where not even one patch does.
    """

    step: Span
    cell: Span
    energy: Span
    memory_gb: float
    largest_batch: int


@dataclass(frozen=True)
class _Part:
    """Steps or forward passes, all alike.

    Attributes:
        times: How many.
        seconds: What one takes.
        busy: For how many of these the GPU computes.
    """

    times: float
    seconds: float
    busy: float


def cost(
    work: Work,
    protocol: Protocol,
    modalities: int,
    cases: Cases,
    gpu: GpuSpec,
    trained: bool = True,
    known: Known = NOTHING,
    speed: Speed = FITTED,
) -> GpuCost:
    """Estimates a cell.

    Args:
        work: Work of a forward pass on one batch of the protocol.
        protocol: Protocol of training and test.
        modalities: Input channels.
        cases: Cases to predict.
        gpu: GPU model to estimate for.
        trained: False for imported weights, which are only tested.
        known: What was measured there.
        speed: Fitted parameters.
    """
    cell = _Cell(work, protocol, modalities, cases, gpu, trained, known, speed)
    state = _state_bytes(work, protocol) / 1e9
    kept = work.kept / 1e9
    batch = protocol.sampling.batch_size
    available = (gpu.memory_gb * USABLE_MEMORY - CUDA_GB) / ALLOCATOR_OVERHEAD - state
    return GpuCost(
        step=Span.of(lambda bound: cell.step(bound).seconds),
        cell=Span.of(cell.seconds),
        energy=Span.of(cell.kwh),
        memory_gb=(state + kept) * ALLOCATOR_OVERHEAD + CUDA_GB,
        largest_batch=max(0, int(available / (kept / batch))) if kept else batch,
    )


@dataclass(frozen=True)
class _Cell:
    """A cell on a GPU; fields as the arguments of :func:`cost`."""

    work: Work
    protocol: Protocol
    modalities: int
    cases: Cases
    gpu: GpuSpec
    trained: bool
    known: Known
    speed: Speed

    def seconds(self, bound: Bound) -> float:
        """Returns the time of all parts."""
        return sum(part.times * part.seconds for part in self._parts(bound))

    def kwh(self, bound: Bound) -> float:
        """Returns the energy of all parts."""
        full = self.gpu.watts / _JOULES_PER_KWH
        return sum(
            part.times * part.seconds * full * self.speed.power(part.busy / part.seconds)
            for part in self._parts(bound)
            if part.times and part.seconds
        )

    def step(self, bound: Bound) -> _Part:
        """Returns the training steps."""
        training = self.protocol.training
        compiled = training.compile != "none"
        recorded = training.step != "eager" or training.compile == "cuda-graphs"
        update = _update_bytes(self.work, self.protocol) / (self.gpu.bandwidth * 1e9 * _STREAMING)
        device = STEP_OVER_FORWARD * self.speed.forward(self.work, self.gpu, compiled) + update
        device = device * bound.device if self.known.step is None else self.known.step
        host = 0.0
        if not recorded and self.known.step is None:
            host = STEP_OVER_FORWARD * host_seconds(self.work, compiled, bound, self.known.launch, self.speed)
        times = training.epochs * training.steps_per_epoch
        return _Part(times, max(device, host, self._loading(bound)), device)

    def _parts(self, bound: Bound) -> tuple[_Part, ...]:
        per_case = windows(self.cases.shape, self.protocol.patch_size, self.protocol.inference.overlap)
        flips = 2 ** len(self.protocol.inference.mirror_axes)
        tested = per_case * self.cases.test * flips / self.protocol.sampling.batch_size
        test = self._forward(bound, tested, 0.0)
        if not self.trained:
            return (test,)
        on_patches = self.protocol.training.validate_on == "patches"
        validated = _validation_batches(self.protocol, self.cases, per_case)
        return self.step(bound), self._forward(bound, validated, self._loading(bound) if on_patches else 0.0), test

    def _forward(self, bound: Bound, times: float, loading: float) -> _Part:
        """Returns forward passes, which are never compiled and are recorded where the steps are."""
        device = self.speed.forward(self.work, self.gpu, compiled=False) * bound.device
        recorded = self.protocol.training.step != "eager" and self.protocol.training.compile != "cuda-graphs"
        host = 0.0 if recorded else host_seconds(self.work, False, bound, self.known.launch, self.speed)
        return _Part(times, max(device, host, loading), device)

    def _loading(self, bound: Bound) -> float:
        patch, sampling = self.protocol.patch_size, self.protocol.sampling
        loaders = LOADERS if sampling.workers is None else max(1, sampling.workers)
        voxels = sampling.batch_size * math.prod(patch)
        share = 1.0 if self.protocol.augmentation.device == "cpu" else READING
        return share * loading_seconds(voxels, self.modalities, len(patch), bound, self.speed) / loaders


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
