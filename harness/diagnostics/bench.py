"""How fast networks are, side by side: every network in a fresh process of its own, on the same task, in one run."""

import gc
import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from harness.child_process import in_child
from harness.data.batches.batches import Batch
from harness.errors import HarnessError, StudyError
from harness.execution.costs.bench_figures import Benched, keep
from harness.execution.workers.process import CPU_ALLOCATOR
from harness.recording.recorder import Recorder
from harness.recording.work import WARM_UP
from harness.segmenters import SEGMENTERS, Segmenter, Task
from harness.segmenters.kept_sizes import size_of
from harness.segmenters.size import Size
from harness.training.device import Precision, choose_device, describe_device
from harness.training.energy import EnergyMeter
from harness.training.settings import CompileMode, MemoryFormat, StepMode, TrainingSettings
from harness.training.step import TrainingStep
from harness.training.step_mode import ON_CUDA


@dataclass(frozen=True)
class Setup:
    """What every network does.

    Attributes:
        modalities: Input channels M.
        classes: Output channels K.
        patch_size: Spatial size of the input.
        batch_size: Patches a forward pass and a step.
        preset: Size of the networks; a network without that preset is measured with its defaults.
        rounds: Measured repetitions after one that warms up; medians are given.
        device: Torch device; ``None`` for CUDA if there is any, else the CPU.
        threads: CPU threads.
        steps: How training steps are done, each in turn (`training.step`).
        compiles: How they are compiled, each in turn (`training.compile`).
        memory_formats: Memory formats of images and weights, each in turn (`training.channels_last`).
        patience: Seconds after which a network that does not end is given up.
    """

    modalities: int = 4
    classes: int = 4
    patch_size: tuple[int, ...] = (128, 128)
    batch_size: int = 4
    preset: str = "paper"
    rounds: int = 5
    device: str | None = None
    threads: int = 1
    steps: tuple[StepMode, ...] = ("auto",)
    compiles: tuple[CompileMode, ...] = ("none",)
    memory_formats: tuple[MemoryFormat, ...] = (True,)
    patience: float = 3600.0

    @property
    def variants(self) -> tuple[tuple[StepMode, CompileMode, MemoryFormat], ...]:
        """How each network is measured."""
        return tuple(itertools.product(self.steps, self.compiles, self.memory_formats))

    @property
    def task(self) -> Task:
        """The task; the first modality leads."""
        return Task(tuple(f"m{index}" for index in range(self.modalities)), 0, self.classes, self.patch_size)


@dataclass(frozen=True)
class Measured:
    """Figures of one network, its steps done in one way.

    Attributes:
        name: Registered name.
        title: What tables call it.
        parameters: Trainable ones.
        gflops: Of one forward pass at batch 1; 1 MAC = 2 FLOPs.
        forward_seconds: Median of a forward pass in evaluation mode.
        step_seconds: Median of a training step: forward, loss, backward, clipping, optimiser.
        peak_mb: Memory of a training step at its peak, weights, gradients and optimiser included: what PyTorch reserved
            of the GPU on CUDA, else by how much resident memory grew since before the network was built.
        device: Where it ran.
        step: ``eager`` or ``recorded``.
        compile: As in a protocol.
        watts: Mean power of the GPU over the measured steps; None where it has no counter, and on a CPU.
        channels_last: Whether images and weights had their channels last.
    """

    name: str
    title: str
    parameters: int
    gflops: float
    forward_seconds: float
    step_seconds: float
    peak_mb: float
    device: str
    step: str = "eager"
    compile: str = "none"
    watts: float | None = None
    channels_last: bool = True


def bench(
    names: Sequence[str], setup: Setup, on_result: Callable[[str, Measured | HarnessError], None]
) -> list[Measured]:
    """Measures networks one after the other, each in all ways; operations are counted once per network.

    Args:
        names: Registered names.
        setup: What they do.
        on_result: Told of each result, or of why there is none, as it comes.

    Returns:
        What could be measured, in the order given.
    """
    found = []
    for name in names:
        size: Size | None = None
        for how in setup.variants:
            try:
                result: Measured | HarnessError = _in_fresh_process(name, setup, how, size)
            except HarnessError as error:
                result = error
            on_result(name, result)
            if isinstance(result, Measured):
                found.append(result)
                size = Size(result.parameters, result.gflops)
    return found


def _in_fresh_process(name: str, setup: Setup, *rest: Any) -> Measured:
    """Peak memory is a property of a process, and so is what its allocator has seen.

    Raises:
        HarnessError: The network cannot be measured; the others can.
    """
    with _environment(CPU_ALLOCATOR):
        try:
            return in_child(partial(_measure, name, setup, *rest), setup.patience, method="spawn")
        except HarnessError as error:  # of the network, whoever wrote it; or memory ran out
            hint = "Where memory ran out, lower --batch or --patch, or choose a smaller --preset."
            raise HarnessError(error.message, hint=error.hint or hint) from error


@contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Sets variables that a child process must be started with."""
    before = {key: os.environ.get(key) for key in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def _measure(name: str, setup: Setup, way: tuple[StepMode, CompileMode, MemoryFormat], size: Size | None) -> Measured:
    torch.set_num_threads(setup.threads)
    segmenter, device, task = SEGMENTERS.get(name), choose_device(setup.device), setup.task
    if segmenter.runner:
        raise StudyError(f"{name} is a framework that trains by itself.", hint="Measure its network instead.")
    options = segmenter.parse_options({"preset": setup.preset} if setup.preset in segmenter.presets else {})
    settings = TrainingSettings(step=way[0], compile=way[1], channels_last=way[2])
    settings = settings.with_memory_format(task.spatial_dims in segmenter.contiguous_dims)
    recorder = ON_CUDA.of_steps(settings, device)
    size = size or size_of(segmenter, task, options)
    before = _resident("VmRSS")
    forward, step, watts = _times(segmenter, setup, device, settings, recorder)
    on_gpu = device.type == "cuda"
    peak = torch.cuda.max_memory_reserved(device) / 1e6 if on_gpu else _resident("VmHWM") - before
    how = "eager" if recorder is None else "recorded", settings.compile
    last = bool(settings.channels_last)
    if on_gpu and last:  # what is kept is looked up by plans of the default format
        keep(describe_device(device), Benched.of(segmenter, task, options, setup.batch_size, *how), step)
    facts = segmenter.title, size.parameters, size.gflops
    return Measured(name, *facts, forward, step, peak, describe_device(device), *how, watts, last)


def _times(
    segmenter: Segmenter,
    setup: Setup,
    device: torch.device,
    settings: TrainingSettings,
    recorder: Recorder | None,
) -> tuple[float, float, float | None]:
    """Returns the medians of forward pass and training step in seconds, and the power of the steps in W."""
    options = {"preset": setup.preset} if setup.preset in segmenter.presets else {}
    torch.manual_seed(0)
    precision = Precision.choose(device, settings, setup.task.spatial_dims)
    network = precision.to_memory_format(segmenter.build(setup.task, options).to(device))
    images = torch.randn(setup.batch_size, setup.modalities, *setup.patch_size, device=device)
    images = images.contiguous(memory_format=precision.memory_format)
    labels = torch.randint(0, setup.classes, (setup.batch_size, *setup.patch_size), device=device)
    step, seeds = TrainingStep(network, settings, precision, recorder=recorder), itertools.count()
    _reset_peak(device)
    network.train()

    def train() -> None:
        step(Batch(images, labels), settings.optimiser.lr, next(seeds))

    _median(train, 1 if recorder is None else WARM_UP + 1, device)  # allocates, compiles and records
    meter, began = EnergyMeter(device), time.perf_counter()
    trained = _median(train, setup.rounds, device)
    used, seconds = meter.wh(), time.perf_counter() - began
    step.release()
    network.eval()

    @torch.inference_mode()
    def forward() -> None:
        with precision.autocast():
            network(images)

    _median(forward, 1, device)  # chooses algorithms
    return _median(forward, setup.rounds, device), trained, None if used is None else used * 3600 / seconds


def _median(action: Callable[[], None], rounds: int, device: torch.device) -> float:
    seconds = []
    for _ in range(rounds):
        _synchronise(device)
        start = time.perf_counter()
        action()
        _synchronise(device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _reset_peak(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _resident(field: str) -> float:
    """Returns a field of the process's status in MB: VmRSS now, VmHWM at most so far."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024
