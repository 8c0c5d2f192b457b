"""What ``harness plan --gpu-model`` prints: a table per GPU model, and disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from harness.cli.shared.console import styled
from harness.cli.shared.formatting import duration, table
from harness.execution.costs.memory_and_time import FAST, LOADERS, SLOW, USUAL
from harness.execution.costs.plan import wall_seconds

if TYPE_CHECKING:
    from harness.execution.costs.gpus import GpuSpec
    from harness.execution.costs.memory_and_time import Span
    from harness.execution.costs.plan import StudyPlan, VariantPlan

ESTIMATED = "Estimated from counted operations, not measured; `harness bench` on the GPU gives the ratio."


def show(console: Console, plan: StudyPlan, gpus: Sequence[GpuSpec], count: int) -> None:
    """Prints the plan of a study for some GPU models.

    Args:
        console: Where.
        plan: What to print.
        gpus: GPU models, in the order of their tables.
        count: GPUs of each model.
    """
    for gpu in gpus:
        facts = f"{gpu.memory_gb:.0f} GB, {gpu.bandwidth:,.0f} GB/s, {gpu.half:g} TFLOPS in 16 bits"
        console.print(styled("bold", f"\n{gpu.name}", f" ({gpu.title}: {facts})"))
        console.print(_table(plan.variants, gpu))
        console.print(_sum(plan.variants, gpu, count))
    _say_disk(console, plan)
    _say_basis(console, plan, gpus)


def plan_rows(plan: StudyPlan, gpus: Sequence[GpuSpec]) -> Iterator[dict[str, Any]]:
    """Yields one row per GPU model, variant and dataset, as values."""
    for gpu in gpus:
        for one in plan.variants:
            cost, seconds = one.costs[gpu.name], one.seconds(gpu.name)
            yield {
                "gpu": gpu.name,
                "variant": one.label,
                "dataset": one.dataset,
                "cells": one.cells,
                "seconds_per_cell": seconds.usual,
                "at_least": seconds.low,
                "at_most": seconds.high,
                "measured": gpu.name in one.measured,
                "memory_gb": cost.memory_gb,
                "batch": one.batch,
                "largest_batch": cost.largest_batch,
            }


def _table(variants: Sequence[VariantPlan], gpu: GpuSpec) -> Table:
    several = len({variant.dataset for variant in variants}) > 1
    names = ("variant", "dataset") if several else ("variant",)
    listing = table(*names, "cells", "step", "GPU hours per cell", "all", "memory", "batch")
    for one in variants:
        cost, seconds = one.costs[gpu.name], one.seconds(gpu.name)
        measured = gpu.name in one.measured
        listing.add_row(
            *((one.label, one.dataset) if several else (one.label,)),
            str(one.cells),
            "-" if measured else f"{'' if gpu.name in one.benched else '~'}{cost.step.usual * 1e3:.0f} ms",
            f"{seconds.usual / 3600:.1f} measured" if measured else f"~{_hours(seconds)}",
            f"{'' if measured else '~'}{seconds.usual * one.cells / 3600:.1f}",
            f"~{cost.memory_gb:.1f} GB",
            _fit(one.batch, cost.largest_batch),
        )
    return listing


def _fit(batch: int, largest: int) -> str | Text:
    if batch <= largest:
        return f"{batch} fits"
    return styled("red", f"{batch} does not fit", f", {largest} would" if largest else "")


def _hours(span: Span) -> str:
    return f"{span.usual / 3600:.1f} ({span.low / 3600:.1f} to {span.high / 3600:.1f})"


def _sum(variants: Sequence[VariantPlan], gpu: GpuSpec, count: int) -> str:
    spans = [one.seconds(gpu.name) for one in variants for _ in range(one.cells)]
    low, usual, high = ([getattr(span, bound) for span in spans] for bound in ("low", "usual", "high"))
    hours = f"About {sum(usual) / 3600:,.0f} GPU hours ({sum(low) / 3600:,.0f} to {sum(high) / 3600:,.0f})"
    wall = f"{duration(wall_seconds(usual, count))} with {count} GPU{'s' * (count > 1)}, one cell each"
    return f"{hours} in {len(spans)} cells; {wall}."


def _say_disk(console: Console, plan: StudyPlan) -> None:

    console.print(styled("bold", "\nDisk"))
    for one in plan.data:
        shape = " x ".join(map(str, one.grid.shape))
        needed = f"{one.cases:,} cases of {decimal(one.grid.size)} ({shape})"
        console.print(f"cache, {one.dataset}: {decimal(one.grid.size * one.cases)}: {needed}")
    weights = sum(4 * one.work.parameters * one.cells for one in plan.variants)
    largest = max(one.work.parameters for one in plan.variants)
    console.print(
        f"results: {decimal(weights)} of weights, and while a cell runs two checkpoints, up to {decimal(16 * largest)}"
    )


def _say_basis(console: Console, plan: StudyPlan, gpus: Sequence[GpuSpec]) -> None:
    console.print(f"\n{ESTIMATED}")
    shares = ", ".join(
        f"{words} {one.compute:.0%} of the peak rate and {one.bandwidth:.0%} of the bandwidth"
        for words, one in (("usual:", USUAL), ("low:", FAST), ("high:", SLOW))
    )
    console.print(
        f"A step is three forward passes and the update of the weights; {shares}. {LOADERS} loader processes per GPU. "
        "Preparing and scoring on the CPU come on top."
    )
    if any(one.benched for one in plan.variants):
        for figures in plan.figures:
            text = f"Steps without ~: as `harness bench` measured them on {figures.device} ({figures.path})."
            console.print(text, highlight=False)
    for one in plan.data:
        if one.assumed:
            console.print(f"Assumed {one.cases:,} cases of {one.dataset}, as its owners state: data not found.")
    if plan.done:
        verbs = "have a result and are" if plan.done > 1 else "has a result and is"
        console.print(f"{plan.done} of the cells {verbs} not counted.")
    if any(gpu.name in one.measured for one in plan.variants for gpu in gpus):
        console.print("measured: the mean training time of finished cells alike in the results, on that GPU.")
