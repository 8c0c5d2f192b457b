"""Costs of a variant beside its scores: size, compute, time, memory and energy."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from harness.evaluation import METRICS
from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.data_summary import count, listed
from harness.report.analysis.variants import Variant
from harness.report.tables.cells import limitations, row_headers
from harness.report.tables.ranked import score_rows
from harness.report.tables.table import NO_VALUE, Column, Table, TableCell, TableKind, word_cell
from harness.statistics.patients import MEAN_REGION


@dataclass(frozen=True)
class Cost:
    """One column of cost.

    Attributes:
        column: Column of the cells.
        title: Heading with the unit.
        scale: Factor from the column's unit to the printed one.
        combine: Statistic over the cells of a variant.
        decimals: Digits after the point.
    """

    column: str
    title: str
    scale: float
    combine: Literal["mean", "max"]
    decimals: int


_ENERGY = Cost("energy_wh", "Energy (Wh)", 1, "mean", 1)
#: Printed where any cell has recorded them; energy always, because readers ask for it: a note says why there is none.
COSTS = (
    Cost("parameters", "Parameters (M)", 1e-6, "max", 2),
    Cost("gflops", "GFLOPs", 1, "max", 2),
    Cost("train_seconds", "Training (min)", 1 / 60, "mean", 1),
    Cost("peak_memory_mb", "Peak memory (GB)", 1e-3, "max", 2),
    Cost("latency_seconds", "Latency (s/case)", 1, "mean", 2),
    _ENERGY,
)

#: What a network takes, beside its scores in any table.
BUDGET = (COSTS[0], COSTS[1], COSTS[3], Cost("gpu_seconds", "GPU hours", 1 / 3600, "mean", 2))
_BUDGET_NOTE = (
    "Budget: trainable parameters, GFLOPs of one forward pass of one patch, the most memory, and hours of training "
    "times GPUs, in the mean of a variant's cells; a dash for what was not measured, and for hours on a processor."
)
EFFICIENCY_KIND = "efficiency"


def _efficiency_tables(study: StudyAnalysis, view: DatasetView) -> Iterator[Table]:
    """Costs of every variant beside its mean score; nothing where no cell recorded any."""
    cells = view.cells
    recorded = [cost for cost in COSTS if _is_recorded(cells, cost)]
    if not recorded:
        return
    costs = [cost for cost in COSTS if cost in recorded or cost is _ENERGY]
    over = ", mean over regions" if view.main == MEAN_REGION else ""
    scores = [
        Column("Score", each.heading_with_arrow, each.name, view.main, f"{each.heading_with_arrow}{over}")
        for each in map(METRICS.get, study.results.metrics)
    ]
    row_header, headers = row_headers(view)
    rows = zip(headers, score_rows(study, view, headers, scores), strict=True)
    devices = listed(cells["device"].dropna()) or "unknown"
    failures = view.data.failures
    yield Table(
        kind=EFFICIENCY_KIND,
        dataset=view.name,
        title=f"{view.title}: efficiency",
        caption=(
            f"Efficiency: {view.title}.",
            "GFLOPs of one forward pass of one patch (1 MAC = 2 FLOPs); training time, latency and energy are means "
            f"over a variant's cells, peak memory the most; score: mean ± SD{over} over {view.data.sample}.",
            *limitations(study, view),
        ),
        row_header=row_header,
        columns=(*(Column("Cost", cost.title, plain=cost.title) for cost in costs), *scores),
        rows=tuple(
            replace(row, cells=(*(_cost_cell(view, variant, cost) for cost in costs), *row.cells))
            for variant, row in rows
        ),
        notes=(
            f"Measured on: {devices}. {_devices(cells)}",
            *_recorded_steps(cells),
            *_augmented(cells),
            *_unmeasured(cells),
            *_without_energy(cells),
            *(("Cells without a result: " + "; ".join(failures) + ".",) if failures else ()),
            *view.paper_only_notes,
            f"Commit {view.data.commits}.",
        ),
        marked="mean" if study.comparability.allows_ranking(view.name) else "",
    )


def _cost_cell(view: DatasetView, variant: Variant, cost: Cost) -> TableCell:
    if view.status[variant] != "complete":
        return word_cell(view.status[variant])
    if cost.column not in view.cells:
        return NO_VALUE
    values = view.cells.loc[view.cells["method"] == view.names[variant], cost.column].dropna().astype(float)
    if values.empty:
        return NO_VALUE
    value = float(values.agg(cost.combine)) * cost.scale
    return TableCell(f"{value:,.{cost.decimals}f}", sort=value)


def _recorded_steps(cells: pd.DataFrame) -> tuple[str, ...]:
    """Which cells were trained by recorded steps, and why others were not that should have been."""
    done = cells[cells["status"] == "done"]
    if "step" not in done:
        return ()
    reasons = listed(done["not_recorded"])
    recorded = int(done["step"].eq("recorded").sum())
    if not recorded and not reasons:
        return ()
    words = f"Training steps were recorded as CUDA graphs in {recorded} of {count(len(done), 'cell')}"
    return (f"{words}. Eager instead: {reasons}" if reasons else f"{words}.",)


def _augmented(cells: pd.DataFrame) -> tuple[str, ...]:
    """Which cells' batches were augmented on the GPU, and why others' were not that should have been."""
    done = cells[cells["status"] == "done"]
    if "augmentation" not in done:
        return ()
    reasons, on_gpu = listed(done["not_on_gpu"]), int(done["augmentation"].eq("gpu").sum())
    if not on_gpu and not reasons:
        return ()
    words = f"Training batches were augmented on the GPU in {on_gpu} of {count(len(done), 'cell')}"
    return (f"{words}. On the CPU instead: {reasons}." if reasons else f"{words}.",)


def _unmeasured(cells: pd.DataFrame) -> tuple[str, ...]:
    absent = [cost.title for cost in COSTS if cost is not _ENERGY and not _is_recorded(cells, cost)]
    return (f"Not measured: {', '.join(absent)}.",) if absent else ()


def _is_recorded(cells: pd.DataFrame, cost: Cost) -> bool:
    return cost.column in cells and bool(cells[cost.column].notna().any())


def _without_energy(cells: pd.DataFrame) -> tuple[str, ...]:
    """Why finished cells have no energy: only a GPU has a counter, and it counts a cell trained in one go."""
    done = cells[cells["status"] == "done"]
    silent = done[done[_ENERGY.column].isna()] if _ENERGY.column in done else done
    if silent.empty:
        return ()
    devices = silent["device"].fillna("").astype(str)
    on_cpu = int(devices.str.startswith("cpu").sum())
    unknown = int((devices.eq("") | devices.str.startswith("unknown")).sum())
    reasons = (
        (on_cpu, "computed on a processor, which has no counter that is read here"),
        (
            len(silent) - on_cpu - unknown,
            "computed on a GPU, whose counter (NVML by nvidia-ml-py) gave nothing or did not see the whole training",
        ),
        (unknown, "computed elsewhere"),
    )
    counted = "; ".join(f"{count(number, 'cell')} {reason}" for number, reason in reasons if number)
    return (f"Energy is not known (a dash) of {counted}.",)


def _devices(cells: pd.DataFrame) -> str:
    number = cells["device"].dropna().replace("", pd.NA).nunique()
    if number > 1:
        return f"Times and memory of {count(number, 'kind')} of device are not comparable with each other."
    return "Times are comparable within this table only."


def with_budget(view: DatasetView, table: Table) -> Table:
    """Returns a table with what each of its networks takes: parameters, GFLOPs, memory and GPU hours.

    Args:
        view: The dataset of the table.
        table: A table; one without a row per network, or that has costs already, stays as it is.
    """
    about = [row.variant for row in table.rows if row.variant is not None]
    if table.kind == EFFICIENCY_KIND or not about:
        return table
    seconds = pd.to_numeric(view.cells["train_seconds"], errors="coerce")
    ranks = pd.to_numeric(view.cells["ranks"], errors="coerce").fillna(1) if "ranks" in view.cells else 1
    on_gpu = ~view.cells["device"].fillna("").astype(str).str.contains(r"^(?:cpu|unknown)|^$")
    costed = replace(view, cells=view.cells.assign(gpu_seconds=(seconds * ranks).where(on_gpu)))
    return replace(
        table,
        columns=(*table.columns, *(Column("Budget", cost.title, plain=cost.title) for cost in BUDGET)),
        rows=tuple(replace(row, cells=(*row.cells, *_budget_cells(costed, row.variant))) for row in table.rows),
        notes=(*table.notes, _BUDGET_NOTE),
    )


def _budget_cells(view: DatasetView, variant: Variant | None) -> Iterator[TableCell]:
    """The budget of a variant; nothing of a trivial method."""
    yield from (NO_VALUE if variant is None else _cost_cell(view, variant, cost) for cost in BUDGET)


EFFICIENCY = TableKind(_efficiency_tables)
