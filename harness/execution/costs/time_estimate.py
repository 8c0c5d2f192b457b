"""How long a cell will take: as long as one like it took here, else by compute and this machine's measured speed."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from harness.execution.costs.constants import STEP_OVER_FORWARD
from harness.execution.workers.process import Slot
from harness.results.store import Store
from harness.segmenters.size import Size
from harness.study.expansion import LoadedStudy

#: Networks reach less than a plain convolution does; measured on the networks shipped.
_EFFICIENCY = 0.45


@dataclass(frozen=True)
class Estimate:
    """Seconds of a cell; ``estimated`` is False where it is the time the very same cell took."""

    seconds: float
    estimated: bool


def estimate(
    loaded: LoadedStudy, sizes: Mapping[tuple[str, str], Size], store: Store, slot: Slot
) -> dict[str, Estimate]:
    """Returns the time of every cell by its identity; of networks without a size, that of finished cells alone."""
    found: dict[str, Estimate] = {}
    alike: dict[tuple[str, str], float] = {}
    for cell in loaded.cells:
        folder = store.cell(cell.spec.id)
        if folder.status() == "done":
            seconds = folder.summary().train_seconds
            found[cell.spec.id] = Estimate(seconds, estimated=False)
            alike[cell.label, cell.spec.dataset] = seconds
    speed: float | None = None
    for cell in loaded.cells:
        if cell.spec.id in found:
            continue
        key = (cell.label, cell.spec.dataset)
        if key not in alike:
            if key not in sizes:
                continue
            speed = speed or _gflops_per_second(slot)
            protocol = cell.spec.protocol
            steps = protocol.training.epochs * protocol.training.steps_per_epoch
            work = sizes[key].gflops * protocol.sampling.batch_size * STEP_OVER_FORWARD * steps
            alike[key] = work / (speed * _EFFICIENCY)
        found[cell.spec.id] = Estimate(alike[key], estimated=True)
    return found


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
