"""Runs the tests that need a CUDA GPU, measures all networks there, and writes one report.

    python scripts/gpu_report.py --out build/gpu      # build/gpu/gpu.md and build/gpu/gpu.json
    python scripts/gpu_report.py --batch 4 aahn nnunet
    python scripts/gpu_report.py --earlier ../release-0.2.0     # a checkout with its .venv runs the demo, too

Compiling takes minutes per network; ``--compile none`` leaves it out. The demo (T-CFAF ablation on the embedded images)
runs eager and recorded, prepared data included; its cells say how long they waited for data, and when their first step
was done, which stands beside the time in which CUDA starts by itself.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import torch
import yaml
from torch import Tensor

from harness.data import DATASETS
from harness.data.batches.batches import TrainingBatches, stream
from harness.data.preparation.normalisation import Normaliser
from harness.data.preparation.prepare import prepare
from harness.data.synthetic.generated import LEAST_PATIENTS, generate
from harness.diagnostics.bench import Measured, Setup, bench
from harness.errors import HarnessError
from harness.execution.costs.constants import STEP_OVER_FORWARD
from harness.files import read_json, write_json
from harness.segmenters import SEGMENTERS
from harness.study.protocol import load_protocol
from harness.training.device import Precision
from harness.training.transfer import on_device

ROOT = Path(__file__).resolve().parents[1]

_HEADER = (
    "network", "step", "compile", "ms per step", "of eager", "images/s", "of the peak", "waits", "waits, GPU augments",
    "peak memory (GB)", "W"
)  # fmt: skip

#: Loader processes and batches by which the making of batches is timed.
_LOADERS, _BATCHES = 8, 64

#: Loader processes that read for a GPU that augments; patches of a batch of volumes, and batches that are timed.
_FEW_LOADERS, _VOLUMES, _VOLUME_BATCHES = 2, 2, 16

#: Prints the seconds in which CUDA starts in a process that has imported torch.
_CUDA_START = """
import time, torch
began = time.perf_counter()
torch.ones(1, device="cuda:0").sum().item()
print(time.perf_counter() - began)
"""

#: What runs a command.
Run = Callable[..., subprocess.CompletedProcess[str]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the report; returns 1 where a test or a measurement failed, 2 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="Default: all.")
    parser.add_argument("--out", type=Path, default=ROOT / "build/gpu")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--compile", nargs="+", default=["none", "default"], dest="compiles")
    parser.add_argument("--earlier", type=Path, help="Checkout of an earlier version, with its .venv.")
    given = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("No CUDA GPU was found: nothing is measured.", file=sys.stderr)
        return 2
    facts = {**machine(), "batch": given.batch, **run_tests()}
    facts |= {"loader_seconds": loader_seconds(given.batch), "cuda_start_seconds": cuda_start_seconds()}
    facts |= {"whole": whole_batches(torch.device("cuda", 0), given.batch), "demos": run_demos(given.earlier)}
    names = given.networks or [name for name in SEGMENTERS.names() if not SEGMENTERS.get(name).runner]
    failed: dict[str, str] = {}

    def say(name: str, result: Measured | HarnessError) -> None:
        print(f"{name}: {result}", flush=True)
        if isinstance(result, HarnessError):
            failed[name] = result.message

    setup = Setup(
        batch_size=given.batch,
        rounds=given.rounds,
        device="cuda:0",
        steps=("eager", "recorded"),
        compiles=tuple(given.compiles),
    )
    found = bench(names, setup, say)
    write(given.out, facts, found, failed)
    return int(bool(failed) or facts["tests_status"] != 0 or any(demo["status"] for demo in facts["demos"].values()))


def machine() -> dict[str, Any]:
    """Returns card, driver, versions, and the rate of a large product of matrices in bfloat16."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell, nothing of others
    return {
        "card": torch.cuda.get_device_name(0),
        "driver": driver.stdout.strip().partition("\n")[0] or "unknown",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "peak_tflops": measured_peak(),
    }


def measured_peak(side: int = 8192, rounds: int = 20) -> float:
    """Returns TFLOP/s of the product of two square matrices in bfloat16, the best of some rounds."""
    one, other = (torch.randn(side, side, device="cuda:0", dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        began = time.perf_counter()
        one @ other
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return 2 * side**3 / min(seconds) / 1e12


@contextmanager
def paper_batches(protocol: str, batch: int, scale: float) -> Iterator[TrainingBatches]:
    """Yields batches of a protocol on generated patients of four modalities.

    Args:
        protocol: Name of the protocol.
        batch: Patches.
        scale: Size of the patients' images, 1 for the official one.
    """
    values, dataset = load_protocol(protocol), DATASETS.get("brats2023")
    sampling = values.sampling.model_copy(update={"batch_size": batch})
    with tempfile.TemporaryDirectory() as name:
        generate(dataset, Path(name, "data"), patients=LEAST_PATIENTS, seed=0, scale=scale)
        reader = dataset.open(Path(name, "data"))
        settings, patch = values.preparation, values.patch_size
        cases = prepare(dataset, reader, reader.cases(), settings, patch, Path(name, "cache"))
        normaliser = Normaliser.fit(dataset.normalisations, cases, settings.normalisation_mask)
        yield TrainingBatches(cases, normaliser, patch, sampling, values.augmentation, 0)


def loader_seconds(batch: int, processes: int = _LOADERS, batches: int = _BATCHES) -> float:
    """Returns the time in which loader processes make a batch of the paper's protocol, patch by patch.

    Args:
        batch: Patches of four modalities.
        processes: Loader processes.
        batches: Batches to make after the processes have started.
    """
    with paper_batches("paper", batch, 0.5) as made:
        first = stream(made, 0, batches + 2 * processes + 1, processes, pin_memory=torch.cuda.is_available())
        return seconds_each(first, 2 * processes + 1, batches)


def whole_batches(device: torch.device, batch: int) -> dict[str, dict[str, float]]:
    """Returns what :func:`whole_batch_seconds` does, for slices and for volumes."""
    with paper_batches("paper", batch, 0.5) as made:
        slices = whole_batch_seconds(made, device)
    with paper_batches("paper_3d", _VOLUMES, 1.0) as made:
        volumes = whole_batch_seconds(made, device, batches=_VOLUME_BATCHES)
    return {f"{batch} x 4 x 128 x 128": slices, f"{_VOLUMES} x 4 x 128 x 128 x 128": volumes}


def whole_batch_seconds(
    made: TrainingBatches, device: torch.device, processes: int = _FEW_LOADERS, batches: int = _BATCHES
) -> dict[str, float]:
    """Returns how long batches take that a device augments.

    Args:
        made: The batches.
        device: Device that augments.
        processes: Loader processes, which read and draw.
        batches: Batches to make after the processes have started.

    Returns:
        Seconds of a batch: ``augment``, the work of the device; ``batch``, until the next one is there, reading beside
        augmenting; a step that takes less waits.
    """
    augment, pinned = made.augmentation(), device.type == "cuda"
    raw = [made.raw(step).to(device) for step in range(4)]

    def augmented() -> Iterator[Tensor]:
        for step in range(4 + 8):
            images, _ = augment(raw[step % 4])
            yield images

    alone = seconds_each(augmented(), 4, 8)
    read = stream(made.unaugmented(), 0, batches + 2 * processes + 1, processes, pinned)
    ready = on_device(read, Precision(device, None, torch.contiguous_format), augment)
    return {"augment": alone, "batch": seconds_each((one.images for one in ready), 2 * processes + 1, batches)}


def seconds_each(made: Iterator[Any], skipped: int, counted: int) -> float:
    """Returns the time between two of what is made, after some, the work of the GPU included."""
    for _ in range(skipped):  # processes start, libraries choose their kernels
        next(made)
    wait = torch.cuda.synchronize if torch.cuda.is_available() else _go_on
    wait()
    began = time.perf_counter()
    for _ in range(counted):
        next(made)
    wait()
    return (time.perf_counter() - began) / counted


def _go_on() -> None:
    pass


def cuda_start_seconds(run: Run = subprocess.run, rounds: int = 3) -> float:
    """Returns the time in which CUDA starts in a process that has imported torch, the median of some processes."""
    command = [sys.executable, "-c", _CUDA_START]
    return median(float(run(command, capture_output=True, text=True, check=True).stdout) for _ in range(rounds))


def run_demos(earlier: Path | None, run: Run = subprocess.run) -> dict[str, dict[str, Any]]:
    """Runs the T-CFAF demo eager, recorded and, where there is one, in an earlier checkout.

    Args:
        earlier: The checkout; its own interpreter and study are used.
        run: Runs a command.

    Returns:
        Of each: exit status, wall time in s, share of the training in which the loop waited for data, and the least
        time in s in which a cell has done its first step (the others may have waited for data being prepared).
    """
    found = {}
    with tempfile.TemporaryDirectory() as name:
        for step in ("eager", "recorded"):
            folder = Path(name, step)
            found[step] = _demo([sys.executable, "-m", "harness"], _demo_study(folder, step), folder, ROOT, run)
        if earlier is not None:
            program = [str(earlier.resolve() / ".venv/bin/python"), "-m", "harness"]
            study = earlier.resolve() / "studies/ablation_tcfaf.yaml"
            found["earlier"] = _demo(program, study, Path(name, "earlier"), earlier, run)
    return found


def _demo_study(folder: Path, step: str) -> Path:
    """Writes the demo's study with steps done in one way."""
    values = yaml.safe_load((ROOT / "studies/ablation_tcfaf.yaml").read_text(encoding="utf-8"))
    values["profiles"]["demo"]["protocol"] = {"base": "demo", "training": {"step": step}}
    folder.mkdir(parents=True)
    study = folder / "ablation_tcfaf.yaml"
    study.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return study


def _demo(program: Sequence[str], study: Path, folder: Path, root: Path, run: Run) -> dict[str, Any]:
    places = ["--results", str(folder / "results"), "--cache", str(folder / "cache")]
    command = [*program, "run", str(study), "--profile", "demo", "--no-mlflow", *places]
    began = time.perf_counter()
    status = run(command, cwd=root, text=True, check=False).returncode
    seconds = time.perf_counter() - began
    histories = [pd.read_parquet(path) for path in folder.glob("results/cells/*/result/history.parquet")]
    epochs = [one for one in histories if "waiting" in one]
    trained = sum(float(one["seconds"].sum()) for one in epochs)
    waited = sum(float((one["waiting"] * one["seconds"]).sum()) for one in epochs)
    summaries = [read_json(path) for path in folder.glob("results/cells/*/result/summary.json")]
    first_steps = [one["first_step_seconds"] for one in summaries if one.get("first_step_seconds") is not None]
    return {
        "status": status,
        "seconds": seconds,
        "waiting": waited / trained if trained else None,
        "first_step_seconds": min(first_steps, default=None),
    }


def run_tests(run: Run = subprocess.run) -> dict[str, Any]:
    """Runs ``pytest -m cuda``; returns its status and its last line."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda"]
    done = run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    return {"tests_status": done.returncode, "tests": lines[-1] if lines else done.stderr.strip()[-500:]}


def write(out: Path, facts: dict[str, Any], found: Sequence[Measured], failed: dict[str, str]) -> None:
    """Writes ``gpu.json`` and ``gpu.md``."""
    out.mkdir(parents=True, exist_ok=True)
    rows = [{**asdict(one), **derived(one, found, facts)} for one in found]
    write_json(out / "gpu.json", {**facts, "networks": rows, "failed": failed})
    lines = [
        f"# {facts['card']}",
        "",
        f"Driver {facts['driver']}, torch {facts['torch']}, CUDA {facts['cuda']}; batch {facts['batch']}. Product of "
        f"matrices in bfloat16: {facts['peak_tflops']:.0f} TFLOP/s. Tests on the GPU: {facts['tests']}",
        "",
        f"{_LOADERS} loader processes make a batch of the paper's protocol in {facts['loader_seconds'] * 1e3:.1f} ms; "
        "'waits' is the share of the time that a cell alone on the card would wait for them; 'waits, GPU augments' the "
        f"same with {_FEW_LOADERS} loader processes and a GPU that augments: that work is not in the step's time.",
        "",
        *whole_lines(facts["whole"]),
        "",
        *demo_lines(facts["demos"], facts["cuda_start_seconds"]),
        "",
        f"| {' | '.join(_HEADER)} |",
        f"|{'-|' * 3}{'-:|' * (len(_HEADER) - 3)}",
        *(f"| {' | '.join(cells(one, row))} |" for one, row in zip(found, rows, strict=True)),
        *(f"\n{name} is left out: {reason}" for name, reason in failed.items()),
    ]
    (out / "gpu.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"Report: {out / 'gpu.md'}")


def whole_lines(whole: dict[str, dict[str, float]]) -> list[str]:
    """Returns what batches take that the GPU augments, in words."""
    return [
        f"- Augmented on the GPU, {name}: {seconds['augment'] * 1e3:.1f} ms of the GPU; with {_FEW_LOADERS} loader "
        f"processes a batch is there every {seconds['batch'] * 1e3:.1f} ms, and shorter steps wait."
        for name, seconds in whole.items()
    ]


def demo_lines(demos: dict[str, dict[str, Any]], cuda_start: float) -> list[str]:
    """Returns what the demo took, in words.

    Args:
        demos: What :func:`run_demos` returned.
        cuda_start: Seconds in which CUDA starts by itself.
    """
    lines = []
    for name, demo in demos.items():
        ratios = [
            f"{demo['seconds'] / other['seconds']:.2f} of {what}"
            for what, other in demos.items()
            if what != name and what != "recorded" and not other["status"]
        ]
        if demo["status"]:
            lines.append(f"- T-CFAF demo, {name}: failed with status {demo['status']}")
            continue
        waited = "" if demo["waiting"] is None else f"; the loop waited for data {demo['waiting']:.1%} of the training"
        text = ", ".join([f"{demo['seconds']:.0f} s", *ratios])
        first = demo["first_step_seconds"]
        began = (
            "" if first is None else f"; first step after {first:.1f} s, {first / cuda_start:.1f} of CUDA's own start"
        )
        lines.append(f"- T-CFAF demo, {name}: {text}{waited}{began}")
    return lines


def derived(one: Measured, found: Sequence[Measured], facts: dict[str, Any]) -> dict[str, float | None]:
    """Returns what follows from a network's figures: ratio to its eager step, images per second, shares."""
    eager = [other for other in found if (other.name, other.step, other.compile) == (one.name, "eager", "none")]
    slices = next(iter(facts["whole"].values()))
    flops = one.gflops * 1e9 * facts["batch"] * STEP_OVER_FORWARD
    return {
        "of_eager": one.step_seconds / eager[0].step_seconds if eager else None,
        "images_per_second": facts["batch"] / one.step_seconds,
        "of_peak": flops / one.step_seconds / (facts["peak_tflops"] * 1e12),
        "waiting": max(0.0, 1 - one.step_seconds / facts["loader_seconds"]),
        "waiting_whole": max(0.0, 1 - one.step_seconds / slices["batch"]),
    }


def cells(one: Measured, row: dict[str, Any]) -> tuple[str, ...]:
    """Returns a row of the table."""
    return (
        one.title,
        one.step,
        one.compile,
        f"{one.step_seconds * 1e3:.1f}",
        "-" if row["of_eager"] is None else f"{row['of_eager']:.2f}",
        f"{row['images_per_second']:.0f}",
        f"{row['of_peak']:.1%}",
        f"{row['waiting']:.0%}",
        f"{row['waiting_whole']:.0%}",
        f"{one.peak_mb / 1e3:.1f}",
        "-" if one.watts is None else f"{one.watts:.0f}",
    )


if __name__ == "__main__":
    sys.exit(main())
