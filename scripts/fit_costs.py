"""Fits the estimate of `harness plan --gpu-model` to published times, and shows how far off it is on others.

    python scripts/fit_costs.py h100_epoch_times.csv

The table has a training of nnU-Net a row: dataset, channels, labels, batch_size, patch, features, strides,
kernel_sizes, blocks, decoder, network_class, iterations, val_iterations, epochs, epoch_s_median and gpu_kwh; made from
the logs in the archives of automl/AutoNNUNet (H100 PCIe). Half of its datasets, half of the networks measured on an
H200 and the times that nnU-Net's authors publish for A100 are fitted; the other halves and V100 are shown. Parameters
go by hand into harness/execution/costs/speed.py, figures into docs/performance.md.
"""

import csv
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
from dynamic_network_architectures.architectures import unet
from scipy.optimize import least_squares
from torch import nn

from harness.execution.costs.gpus import GPUS, GpuSpec
from harness.execution.costs.memory_and_time import Cases, GpuCost, cost
from harness.execution.costs.speed import FITTED, Speed
from harness.segmenters import SEGMENTERS, Options, Segmenter, Source, Task
from harness.segmenters.size import Work, count
from harness.study.protocol import Protocol, load_protocol

#: Milliseconds of a recorded step on an H200 by network: preset `paper`, 4 x 128 x 128, batch 16; measured once, by a
#: script that did what `harness bench --step recorded` does.
RECORDED = {
    "aahn": 32.4, "maml": 24.7, "missformer": 16.7, "unetr": 9.7, "swinunet": 10.0, "transunet": 14.9,
    "nnunet": 8.2, "ivdnet": 47.6, "transbts": 9.8, "nestedformer": 23.9, "nnformer": 9.7,
}  # fmt: skip
#: The same, compiled first.
COMPILED = {"aahn": 23.4, "nnunet": 5.2}
#: The same as written, where the host needed 30 to 40 us to launch a kernel.
EAGER = {
    "aahn": 156.9, "maml": 79.3, "missformer": 106.0, "unetr": 53.7, "swinunet": 69.5, "transunet": 60.1,
    "nnunet": 29.1, "ivdnet": 106.9, "transbts": 31.2, "nestedformer": 94.8, "nnformer": 54.2,
}  # fmt: skip

#: Seconds of 250 steps of nnU-Net (version 1, mixed precision), by its authors, fastest of five:
#: documentation/expected_epoch_times.md of MIC-DKFZ/nnUNet, on A100 40 GB and V100 32 GB SXM; without data loading
#: where three-dimensional. Patch, batch, strides, most features, (channels, classes), seconds.
AUTHORS = {
    "liver 3D": ((128, 128, 128), 2, [1, 2, 2, 2, 2, 2], 320, (1, 3), (41.1, 70.96)),
    "heart 3D": ((80, 192, 160), 2, [1, 2, 2, 2, 2, (1, 2, 2)], 320, (1, 2), (48.53, 79.0)),
    "prostate 3D": (
        (20, 320, 256), 2, [1, (1, 2, 2), (1, 2, 2), 2, 2, (1, 2, 2), (1, 2, 2)], 320, (2, 3), (43.87, 70.58)
    ),
    "liver 2D": ((512, 512), 12, [1] + [2] * 7, 480, (1, 3), (39.71, 60.69)),
    "heart 2D": ((320, 256), 40, [1] + [2] * 6, 480, (1, 2), (40.06, 66.03)),
    "prostate 2D": ((320, 320), 32, [1] + [2] * 6, 480, (2, 3), (42.21, 68.88)),
}  # fmt: skip

FITTED_DATASETS = ("BrainTumour", "Hippocampus", "Pancreas", "HepaticVessel")
FITTED_NETWORKS = ("aahn", "maml", "missformer", "ivdnet", "unetr", "nnformer")

#: Energy over time below this is that of a resumed training, whose energy covers its last part: such a card draws some
#: 90 W where it waits.
_LEAST_WATTS = 170

PARAMETERS = ("kernel", "per_map", "per_map_compiled", "fused", "loading_3d")


@dataclass(frozen=True)
class Published:
    """One published time.

    Attributes:
        name: What was trained, on what.
        fitted: Whether it is fitted rather than shown.
        seconds: Published.
        estimate: Estimates it.
        low: The estimate's least.
        high: The estimate's most.
        weight: In the fit.
    """

    name: str
    fitted: bool
    seconds: float
    estimate: Callable[[Speed], tuple[float, float, float]]
    weight: float = 1.0


def nnunet_v2(row: Mapping[str, str]) -> tuple[Work, Protocol, int]:
    """Returns the work of a row of the table, its protocol and channels."""
    patch = tuple(map(int, row["patch"].split("x")))
    strides, kernels = json.loads(row["strides"]), json.loads(row["kernel_sizes"])
    features = list(map(int, row["features"].split("-")))
    blocks, decoder = json.loads(row["blocks"]), json.loads(row["decoder"])
    network, channels, batch = getattr(unet, row["network_class"]), int(row["channels"]), int(row["batch_size"])

    def build(task: Task) -> nn.Module:
        made: nn.Module = network(
            task.in_channels, len(strides), features, nn.Conv3d, kernels, strides, blocks, task.out_channels, decoder,
            True, nn.InstanceNorm3d, {"affine": True}, None, None, nn.LeakyReLU, {"inplace": True},
            deep_supervision=True,
        )  # fmt: skip
        return made

    work = work_of(build, channels, int(row["labels"]), patch, batch)
    training = {
        "epochs": 1, "steps_per_epoch": int(row["iterations"]), "validate_every": 1, "validate_on": "patches",
        "validation_batches": int(row["val_iterations"]), "compile": "default", "restart_if_dead_at": None,
    }  # fmt: skip
    sampling = {"batch_size": batch, "workers": 12}  # nnU-Net's default
    return (
        work,
        load_protocol({"base": "paper_3d", "patch_size": patch, "sampling": sampling, "training": training}),
        channels,
    )


def nnunet_v1(name: str) -> tuple[Work, Protocol, int]:
    """Returns the work of one of :data:`AUTHORS`, its protocol and channels."""
    patch, batch, strides, width, (channels, classes), _ = AUTHORS[name]
    conv, norm = {2: (nn.Conv2d, nn.InstanceNorm2d), 3: (nn.Conv3d, nn.InstanceNorm3d)}[len(patch)]
    features = [min(32 * 2**level, width) for level in range(len(strides))]

    def build(task: Task) -> nn.Module:
        made: nn.Module = unet.PlainConvUNet(
            task.in_channels, len(strides), features, conv, 3, strides, 2, task.out_channels, 2, True, norm,
            {"affine": True}, None, None, nn.LeakyReLU, {"inplace": True}, deep_supervision=True,
        )  # fmt: skip
        return made

    changes = {"patch_size": patch, "sampling": {"batch_size": batch, "workers": 1000}}
    return work_of(build, channels, classes, patch, batch), load_protocol({"base": "paper", **changes}), channels


def work_of(
    build: Callable[[Task], nn.Module], channels: int, classes: int, patch: tuple[int, ...], batch: int
) -> Work:
    """Counts a network that is registered nowhere."""

    class Made(Segmenter):
        def build(self, task: Task, options: object = None) -> nn.Module:  # noqa: ARG002
            return build(task)

    made = Made(name="made", title="", summary="", source=Source(paper=""), factory="")
    task = Task(tuple(f"m{index}" for index in range(channels)), None, classes, patch)
    return count(made, task, Options(), batch, mixed=True)


def slices(name: str, **training: str) -> tuple[Work, Protocol, int]:
    """Returns the work of a network as it was measured on the H200, the protocol and channels."""
    segmenter = SEGMENTERS.get(name)
    options = segmenter.parse_options({"preset": "paper"} if "paper" in segmenter.presets else {})
    work = count(segmenter, Task(tuple("abcd"), 0, 4, (128, 128)), options, 16, mixed=True)
    return work, load_protocol({"base": "paper", "sampling": {"workers": 1000}, "training": training}), 4


def estimator(
    what: tuple[Work, Protocol, int], gpu: GpuSpec, seconds: Callable[[GpuCost], tuple[float, float, float]]
) -> Callable[[Speed], tuple[float, float, float]]:
    """Returns a function from parameters to an estimate: usual, low and high."""
    work, protocol, channels = what
    patch = protocol.patch_size
    shape = (patch[0], patch[1], patch[2]) if len(patch) == 3 else (1, patch[0], patch[1])
    return lambda speed: seconds(cost(work, protocol, channels, Cases(0, 0, shape), gpu, speed=speed))


def of_step(times: float) -> Callable[[GpuCost], tuple[float, float, float]]:
    """Returns what takes the time of some steps."""
    return lambda found: (found.step.usual * times, found.step.low * times, found.step.high * times)


def of_cell(found: GpuCost) -> tuple[float, float, float]:
    """Returns the time of a cell."""
    return found.cell.usual, found.cell.low, found.cell.high


def published(rows: Sequence[Mapping[str, str]]) -> list[Published]:
    """Returns all published times."""
    works: dict[tuple[str, str], Callable[[Speed], tuple[float, float, float]]] = {}
    found = []
    for row in rows:
        if not row["epoch_s_median"]:
            continue
        key = row["dataset"], row["network"]
        if key not in works:
            works[key] = estimator(nnunet_v2(row), GPUS["h100-pcie"], of_cell)
        fitted = row["dataset"].partition("_")[2] in FITTED_DATASETS
        found.append(Published("3D " + " ".join(key), fitted, float(row["epoch_s_median"]), works[key], 0.5))
    for name, milliseconds in RECORDED.items():
        one = estimator(slices(name, step="recorded"), GPUS["h200"], of_step(1))
        found.append(Published(f"recorded {name}", name in FITTED_NETWORKS, milliseconds / 1e3, one))
    for name, milliseconds in COMPILED.items():
        one = estimator(slices(name, step="recorded", compile="default"), GPUS["h200"], of_step(1))
        found.append(Published(f"compiled {name}", name in FITTED_NETWORKS, milliseconds / 1e3, one))
    for name, (*_, seconds) in AUTHORS.items():
        for gpu, one_of in zip(("a100-40", "v100"), seconds, strict=True):
            one = estimator(nnunet_v1(name), GPUS[gpu], of_step(250))
            found.append(Published(f"v1 {name} {gpu}", gpu == "a100-40", one_of, one, 0.7))
    return found


def fit(times: Sequence[Published]) -> Speed:
    """Returns the parameters closest to some times, in logarithms; far-off ones count less."""

    def speed(values: Sequence[float]) -> Speed:
        return replace(FITTED, **dict(zip(PARAMETERS, map(float, np.exp(values)), strict=True)))

    def off(values: Sequence[float]) -> list[float]:
        now = speed(values)
        return [one.weight * math.log(one.estimate(now)[0] / one.seconds) for one in times]

    start = np.log([getattr(FITTED, name) for name in PARAMETERS])
    return speed(least_squares(off, start, loss="soft_l1", f_scale=0.15).x)


def show(title: str, times: Sequence[Published], speed: Speed) -> None:
    """Prints how far estimates are off."""
    if not times:
        return
    found = [(one, *one.estimate(speed)) for one in times]
    off = [abs(math.log(usual / one.seconds)) for one, usual, _, _ in found]
    inside = sum(low <= one.seconds <= high for one, _, low, high in found)
    print(
        f"{title}: {len(off)} times, |log ratio| median {median(off):.3f}, most {max(off):.2f}; {inside} in the range"
    )


def show_energy(rows: Sequence[Mapping[str, str]], speed: Speed) -> None:
    """Prints the same of energy; that of resumed trainings covers their last part, and is left out."""
    for fitted in (True, False):
        off = []
        for row in rows:
            if row["epoch_s_median"] and (row["dataset"].partition("_")[2] in FITTED_DATASETS) == fitted:
                work, protocol, channels = nnunet_v2(row)
                found = cost(work, protocol, channels, Cases(0, 0, (1, 1, 1)), GPUS["h100-pcie"], speed=speed)
                watts = float(row["gpu_kwh"]) * 3.6e6 / float(row["epochs"]) / float(row["epoch_s_median"])
                ratio = found.energy.usual * float(row["epochs"]) / float(row["gpu_kwh"])
                if watts > _LEAST_WATTS:
                    off.append(abs(math.log(ratio)))
        title = "fitted" if fitted else "shown"
        print(f"energy, {title} datasets: {len(off)}, |log ratio| median {median(off):.3f}, most {max(off):.2f}")


def main(path: Path) -> None:
    """Fits, and prints parameters and errors; also with each dataset left out in turn."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    times = published(rows)
    fitted = fit([one for one in times if one.fitted])
    print({name: float(f"{getattr(fitted, name):.3g}") for name in PARAMETERS})
    for title, speed in (("fit", fitted), ("as in speed.py", FITTED)):
        for kind in ("3D", "recorded", "compiled", "v1"):
            for part in (True, False):
                alike = [one for one in times if one.name.startswith(kind) and one.fitted == part]
                show(f"{title}, {kind}, {'fitted' if part else 'shown'}", alike, speed)
    for dataset in sorted({row["dataset"] for row in rows}):
        left = [one for one in times if dataset in one.name]
        show(f"left out: {dataset}", left, fit([one for one in times if dataset not in one.name]))
    show_energy(rows, FITTED)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
