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
from harness.execution.costs.memory_and_time import LOADERS, Span
from harness.execution.costs.plan import wall_seconds
from harness.execution.costs.speed import HIGH, LOW, USUAL

if TYPE_CHECKING:
    from harness.execution.costs.gpus import GpuSpec
    from harness.execution.costs.plan import StudyPlan, VariantPlan

ESTIMATED = "Estimated from counted operations, not measured; `harness bench` on the GPU gives the ratio."


def show(
    console: Console,
    plan: StudyPlan,
    gpus: Sequence[GpuSpec],
    count: int,
    grid: float | None = None,
    launch: float | None = None,
) -> None:
    """Prints the plan of a study for some GPU models.

    Args:
        console: Console to print on.
        plan: Plan to print.
        gpus: GPU models, in the order of their tables.
        count: GPUs of each model.
        grid: CO2 of the electricity in g per kWh; without it nothing is said of CO2.
        launch: Seconds of a kernel's launch where the user gave them.
    """
    for gpu in gpus:
        facts = f"{gpu.memory_gb:.0f} GB, {gpu.bandwidth:,.0f} GB/s, {gpu.half:g} TFLOPS in 16 bits"
        console.print(styled("bold", f"\n{gpu.name}", f" ({gpu.title}: {facts})"))
        console.print(_table(plan.variants, gpu))
        console.print(_sum(plan.variants, gpu, count))
        console.print(_energy(plan.variants, gpu, grid))
        console.print(_sum_of_energy(plan.variants, gpu, grid))
    _say_disk(console, plan)
    _say_basis(console, plan, gpus, launch)


def plan_rows(plan: StudyPlan, gpus: Sequence[GpuSpec], grid: float | None = None) -> Iterator[dict[str, Any]]:
    """Yields one row per GPU model, variant and dataset, as values."""
    for gpu in gpus:
        for one in plan.variants:
            cost, seconds, kwh = one.costs[gpu.name], one.seconds(gpu.name), one.kwh(gpu.name)
            yield {
                "gpu": gpu.name,
                "variant": one.label,
                "dataset": one.dataset,
                "cells": one.cells,
                "seconds_per_cell": seconds.usual,
                "at_least": seconds.low,
                "at_most": seconds.high,
                "measured": gpu.name in one.measured,
                "kwh_per_cell": kwh.usual,
                "kwh_at_least": kwh.low,
                "kwh_at_most": kwh.high,
                **({} if grid is None else {"co2_kg_per_cell": kwh.usual * grid / 1000}),
                "memory_gb": cost.memory_gb,
                "batch": one.batch,
                "largest_batch": cost.largest_batch,
            }


def _table(variants: Sequence[VariantPlan], gpu: GpuSpec) -> Table:
    listing = table(*_names(variants), "cells", "step", "GPU hours per cell", "all", "memory", "batch")
    for one in variants:
        cost, seconds = one.costs[gpu.name], one.seconds(gpu.name)
        measured = gpu.name in one.measured
        listing.add_row(
            *(getattr(one, "label" if name == "variant" else name) for name in _names(variants)),
            str(one.cells),
            "-" if measured else f"{'' if gpu.name in one.benched else '~'}{cost.step.usual * 1e3:.0f} ms",
            f"{seconds.usual / 3600:.1f} measured" if measured else f"~{_hours(seconds)}",
            f"{'' if measured else '~'}{seconds.usual * one.cells / 3600:.1f}",
            f"~{cost.memory_gb:.1f} GB",
            _fit(one.batch, cost.largest_batch),
        )
    return listing


def _energy(variants: Sequence[VariantPlan], gpu: GpuSpec, grid: float | None) -> Table:
    carbon = () if grid is None else ("kg CO2 of all",)
    listing = table(*_names(variants), "kWh per cell", "kWh of all", *carbon)
    for one in variants:
        kwh = one.kwh(gpu.name)
        measured = gpu.name in one.measured
        listing.add_row(
            *(getattr(one, "label" if name == "variant" else name) for name in _names(variants)),
            _amount(kwh.usual) if measured else f"~{_amounts(kwh)}",
            f"~{_amount(kwh.usual * one.cells)}",
            *(() if grid is None else (f"~{_amount(kwh.usual * one.cells * grid / 1000)}",)),
        )
    return listing


def _names(variants: Sequence[VariantPlan]) -> tuple[str, ...]:
    several = len({variant.dataset for variant in variants}) > 1
    return ("variant", "dataset") if several else ("variant",)


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


def _sum_of_energy(variants: Sequence[VariantPlan], gpu: GpuSpec, grid: float | None) -> str:
    spans = [one.kwh(gpu.name) for one in variants for _ in range(one.cells)]
    all_of_it = Span(*(sum(getattr(span, bound) for span in spans) for bound in ("low", "usual", "high")))
    energy = f"About {_amounts(all_of_it, ' kWh')} drawn by the GPUs"
    if grid is None:
        return f"{energy}."
    carbon = Span(*(getattr(all_of_it, bound) * grid / 1000 for bound in ("low", "usual", "high")))
    return f"{energy}; {_amounts(carbon, ' kg CO2')} at {grid:g} g per kWh."


def _amounts(span: Span, unit: str = "") -> str:
    return f"{_amount(span.usual)}{unit} ({_amount(span.low)} to {_amount(span.high)})"


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


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


def _say_launch(console: Console, plan: StudyPlan, launch: float | None) -> None:
    """Says what steps that are not recorded wait for, and where it is known from."""
    if launch is not None:
        console.print(f"Launch of a kernel: {launch * 1e6:g} us, as given.")
        return
    measured = [one for one in plan.figures if one.launch is not None]
    for one in measured:
        console.print(f"Launch of a kernel: {(one.launch or 0) * 1e6:.1f} us, measured beside {one.device}.")
    if not measured:
        usual = f"{USUAL.launch * 1e6:g} us ({LOW.launch * 1e6:g} to {HIGH.launch * 1e6:g})"
        console.print(f"Launch of a kernel: {usual} assumed; `harness doctor` on the GPU's machine measures it.")


def _say_basis(console: Console, plan: StudyPlan, gpus: Sequence[GpuSpec], launch: float | None) -> None:
    console.print(f"\n{ESTIMATED}")
    console.print(
        "A step is three forward passes and the update of the weights, or the making of its batch by "
        f"{LOADERS} loader processes, or, where it is not recorded, the launch of its kernels. What was fitted, on "
        "what, and how far off it was on other times: docs/performance.md. Preparing and scoring on the CPU come on "
        "top."
    )
    console.print("kWh: by the board's power; the rest of the machine and its cooling come on top.")
    _say_launch(console, plan, launch)
    if any(one.benched for one in plan.variants):
        for figures in (one for one in plan.figures if one.seconds):
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
