"""How long a cell will take.

As long as one like it took here, else by the steps that ``harness bench`` measured on this GPU, else by compute and
this machine's measured speed.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from harness.execution.costs.bench_figures import BenchFigures, figures_of
from harness.execution.costs.constants import STEP_OVER_FORWARD
from harness.execution.workers.process import Slot
from harness.results.store import Store
from harness.segmenters import SEGMENTERS
from harness.segmenters.size import Size
from harness.study.cell import CellSpec
from harness.study.expansion import LoadedStudy, make_task
from harness.training.device import describe_device

#: Networks reach less than a plain convolution does; measured on the networks shipped.
_EFFICIENCY = 0.45


@dataclass(frozen=True)
class Estimate:
    """What a cell will take.

    Attributes:
        seconds: Its training.
        estimated: False where it is the time the very same cell took.
        benched: Whether its steps were measured by ``harness bench``.
    """

    seconds: float
    estimated: bool
    benched: bool = False


def figures_here(slot: Slot) -> BenchFigures | None:
    """Returns what ``harness bench`` measured on the GPU of a slot; None on a CPU, and where it measured nothing."""
    device = torch.device(slot.device)
    return figures_of(describe_device(device)) if device.type == "cuda" else None


def estimate(
    loaded: LoadedStudy,
    sizes: Mapping[tuple[str, str], Size],
    store: Store,
    slot: Slot,
    figures: BenchFigures | None = None,
) -> dict[str, Estimate]:
    """Returns the time of every cell by its identity; of networks without a size, that of finished cells alone.

    Args:
        loaded: The study.
        sizes: Sizes of the networks by label and dataset.
        store: Store of the finished cells.
        slot: Where cells run.
        figures: What was measured there.
    """
    found: dict[str, Estimate] = {}
    alike: dict[tuple[str, str], Estimate] = {}
    for cell in loaded.cells:
        folder = store.cell(cell.spec.id)
        if folder.status() == "done":
            seconds = folder.summary().train_seconds
            found[cell.spec.id] = Estimate(seconds, estimated=False)
            alike[cell.label, cell.spec.dataset] = Estimate(seconds, estimated=True)
    speed: float | None = None
    for cell in loaded.cells:
        if cell.spec.id in found:
            continue
        key = (cell.label, cell.spec.dataset)
        if key not in alike:
            if key not in sizes:
                continue
            protocol = cell.spec.protocol
            steps = protocol.training.epochs * protocol.training.steps_per_epoch
            if figures is not None and (seconds_of_step := _benched(cell.spec, figures)) is not None:
                alike[key] = Estimate(seconds_of_step * steps, estimated=True, benched=True)
            else:
                speed = speed or _gflops_per_second(slot)
                work = sizes[key].gflops * protocol.sampling.batch_size * STEP_OVER_FORWARD * steps
                alike[key] = Estimate(work / (speed * _EFFICIENCY), estimated=True)
        found[cell.spec.id] = alike[key]
    return found


def _benched(spec: CellSpec, figures: BenchFigures) -> float | None:
    """Returns the seconds of a training step of a cell; None where they were not measured."""
    segmenter, protocol = SEGMENTERS.get(spec.model), spec.protocol
    task, options = make_task(spec.facts(), spec.leading, protocol), segmenter.parse_options(spec.options)
    return figures.step_seconds(segmenter, task, options, protocol.sampling.batch_size, protocol.training)


def _gflops_per_second(slot: Slot) -> float:
    """Times a 3 x 3 convolution of 64 channels at 64 x 64, batch 4, on one slot's share of the machine."""
    before = torch.get_num_threads()
    device = torch.device(slot.device)
    half = torch.bfloat16 if device.type == "cuda" else torch.float32
    torch.set_num_threads(slot.threads)
    try:
        layer = torch.nn.Conv2d(64, 64, 3, padding=1).to(device, half)
        images = torch.randn(4, 64, 64, 64, device=device, dtype=half)
        gflops = 2 * 64 * 64 * 9 * 64 * 64 * 4 / 1e9
        best = min(_seconds(layer, images) for _ in range(6))
    finally:
        torch.set_num_threads(before)
    return gflops / best


@torch.inference_mode()
def _seconds(layer: torch.nn.Module, images: torch.Tensor) -> float:
    if images.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    layer(images)
    if images.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start
