"""Runs the tests that need a CUDA GPU, measures all networks there, and writes one report.

    python scripts/gpu_report.py --out build/gpu      # build/gpu/gpu.md and build/gpu/gpu.json
    python scripts/gpu_report.py --batch 4 aahn nnunet

Compiling takes minutes per network; ``--compile none`` leaves it out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from harness.diagnostics.bench import Measured, Setup, bench
from harness.errors import HarnessError
from harness.execution.costs.constants import STEP_OVER_FORWARD
from harness.files import write_json
from harness.segmenters import SEGMENTERS

ROOT = Path(__file__).resolve().parents[1]

_HEADER = ("network", "step", "compile", "ms per step", "of eager", "images/s", "of the peak", "peak memory (GB)", "W")


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the report; returns 1 where a test or a measurement failed, 2 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="Default: all.")
    parser.add_argument("--out", type=Path, default=ROOT / "build/gpu")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--compile", nargs="+", default=["none", "default"], dest="compiles")
    given = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("No CUDA GPU was found: nothing is measured.", file=sys.stderr)
        return 2
    facts = {**machine(), "batch": given.batch, **run_tests()}
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
    return int(bool(failed) or facts["tests_status"] != 0)


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


def run_tests(run: Callable[..., subprocess.CompletedProcess[str]] = subprocess.run) -> dict[str, Any]:
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
        f"| {' | '.join(_HEADER)} |",
        f"|{'-|' * 3}{'-:|' * (len(_HEADER) - 3)}",
        *(f"| {' | '.join(cells(one, row))} |" for one, row in zip(found, rows, strict=True)),
        *(f"\n{name} is left out: {reason}" for name, reason in failed.items()),
    ]
    (out / "gpu.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"Report: {out / 'gpu.md'}")


def derived(one: Measured, found: Sequence[Measured], facts: dict[str, Any]) -> dict[str, float | None]:
    """Returns what follows from a network's figures: ratio to its eager step, images per second, share of the peak."""
    eager = [other for other in found if (other.name, other.step, other.compile) == (one.name, "eager", "none")]
    flops = one.gflops * 1e9 * facts["batch"] * STEP_OVER_FORWARD
    return {
        "of_eager": one.step_seconds / eager[0].step_seconds if eager else None,
        "images_per_second": facts["batch"] / one.step_seconds,
        "of_peak": flops / one.step_seconds / (facts["peak_tflops"] * 1e12),
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
        f"{one.peak_mb / 1e3:.1f}",
        "-" if one.watts is None else f"{one.watts:.0f}",
    )


if __name__ == "__main__":
    sys.exit(main())
