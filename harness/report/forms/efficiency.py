"""What a variant costs: size, compute, time and memory, and what it scores for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from harness.report.computed import Computed, DatasetView
from harness.report.evidence import count, listed
from harness.report.forms.common import marks_of, refused, row_heads, statistic_entry
from harness.report.layout import Column, Entry, Row, Table, word
from harness.report.metrics import metric_style
from harness.report.variants import Variant
from harness.statistics.patients import MEAN_REGION

__all__ = ["COSTS", "Cost", "efficiency_table"]


@dataclass(frozen=True)
class Cost:
    """One column of cost.

    Attributes:
        column: Column of the cells.
        title: Heading with the unit.
        scale: Factor from the column's unit to the printed one.
        combine: How the cells of a variant become one number.
        decimals: Digits after the point.
    """

    column: str
    title: str
    scale: float
    combine: Callable[[pd.Series[float]], float]
    decimals: int


def _mean(values: pd.Series[float]) -> float:
    return float(values.mean())


def _max(values: pd.Series[float]) -> float:
    return float(values.max())


#: Printed where any cell has recorded them.
COSTS = (
    Cost("parameters", "Parameters (M)", 1e-6, _max, 2),
    Cost("gflops", "GFLOPs", 1, _max, 2),
    Cost("train_seconds", "Training (min)", 1 / 60, _mean, 1),
    Cost("peak_memory_mb", "Peak memory (GB)", 1e-3, _max, 2),
    Cost("latency_seconds", "Latency (s/case)", 1, _mean, 2),
    Cost("energy_wh", "Energy (Wh)", 1, _mean, 1),
)


def efficiency_table(computed: Computed, view: DatasetView) -> Table | None:
    """Costs of every variant beside its mean score; ``None`` where no cell recorded any."""
    cells, evidence = view.cells, view.evidence
    costs = [cost for cost in COSTS if cost.column in cells and cells[cost.column].notna().any()]
    if not costs:
        return None
    over = ", mean over regions" if view.main == MEAN_REGION else ""
    styles = [metric_style(metric) for metric in computed.results.metrics]
    scores = [Column("Score", each.pointed, each.name, view.main, f"{each.pointed}{over}") for each in styles]
    marks = {column: marks_of(computed, view, column, view.variants) for column in scores}
    heads, names = row_heads(view)
    rows = []
    for variant, heading in names.items():
        mine = cells[cells["method"] == view.names[variant]]
        entries = [_cost_entry(view, variant, mine, cost) for cost in costs]
        entries += [statistic_entry(view, variant, column, marks[column].get(variant, "")) for column in scores]
        rows.append(Row(heading, tuple(entries)))
    devices = listed(cells["device"].dropna()) or "unknown"
    return Table(
        kind="efficiency",
        dataset=view.name,
        title=f"{view.title}: efficiency",
        caption=(
            f"Efficiency: {view.title}.",
            "GFLOPs of one forward pass of one patch (1 MAC = 2 FLOPs); training time, latency and energy are means "
            f"over a variant's cells, peak memory the most; score: mean ± SD{over} over {evidence.base}.",
            *refused(computed, view),
        ),
        heads=heads,
        columns=(*(Column("Cost", cost.title, plain=cost.title) for cost in costs), *scores),
        rows=tuple(rows),
        notes=(
            f"Measured on: {devices}. {_devices(cells)}",
            *_unmeasured(cells),
            *(("Cells without a result: " + "; ".join(evidence.failures) + ".",) if evidence.failures else ()),
            f"Commit {evidence.commits}.",
        ),
        marked="mean" if computed.mixing.ranks(view.name) else "",
    )


def _cost_entry(view: DatasetView, variant: Variant, mine: pd.DataFrame, cost: Cost) -> Entry:
    if view.status[variant] != "complete":
        return word(view.status[variant])
    values = mine[cost.column].dropna().astype(float)
    if values.empty:
        return Entry("–")
    value = cost.combine(values) * cost.scale
    return Entry(f"{value:,.{cost.decimals}f}", sort=value)


def _unmeasured(cells: pd.DataFrame) -> tuple[str, ...]:
    absent = [cost.title for cost in COSTS if cost.column not in cells or not cells[cost.column].notna().any()]
    return (f"Not measured: {', '.join(absent)}.",) if absent else ()


def _devices(cells: pd.DataFrame) -> str:
    number = cells["device"].dropna().replace("", pd.NA).nunique()
    if number > 1:
        return f"Times and memory of {count(number, 'kind')} of device are not comparable with each other."
    return "Times are comparable within this table only."
