"""What a variant costs: size, compute, time and memory, and what it scores for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from harness.report.computed import Computed
from harness.report.evidence import count, evidence_for, listed
from harness.report.forms.common import lookup, mean_entry, refused, row_heads
from harness.report.layout import Column, Entry, Row, Table, word
from harness.report.metrics import metric_style
from harness.report.summary import MEAN_REGION
from harness.report.variants import Variant, regions_of, variant_status

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


def efficiency_table(computed: Computed, dataset: str) -> Table | None:
    """Costs of every variant beside its mean score; ``None`` where no cell recorded any."""
    results = computed.results
    cells = results.cells[results.cells["dataset"] == dataset]
    costs = [cost for cost in COSTS if cost.column in cells and cells[cost.column].notna().any()]
    if not costs:
        return None
    evidence = evidence_for(results, dataset)
    heads, names = row_heads(results, dataset)
    found = lookup(computed.summary[computed.summary["dataset"] == dataset])
    region = MEAN_REGION if len(regions_of(results, dataset)) > 1 else regions_of(results, dataset)[0]
    over = ", mean over regions" if region == MEAN_REGION else ""
    scores = [
        Column("Score", metric_style(metric).heading, metric, region, f"{metric_style(metric).heading}{over}")
        for metric in results.metrics
    ]
    rows = []
    for variant, heading in names.items():
        mine = cells[(cells["label"] == variant.label) & (cells["leading"] == variant.leading)]
        entries = [_cost_entry(computed, dataset, variant, mine, cost) for cost in costs]
        entries += [mean_entry(found[(*variant, column.metric, column.region)]) for column in scores]
        rows.append(Row(heading, tuple(entries)))
    devices = listed(cells["device"].dropna()) or "unknown"
    return Table(
        kind="efficiency",
        dataset=dataset,
        title=f"{evidence.name}: efficiency",
        caption=(
            f"Efficiency: {evidence.name}.",
            "GFLOPs of one forward pass of one patch (1 MAC = 2 FLOPs); time is the mean and memory the most over a "
            f"variant's cells; score: mean ± SD{over} over {evidence.base}.",
            *refused(computed, evidence, dataset),
        ),
        heads=heads,
        columns=(*(Column("Cost", cost.title, plain=cost.title) for cost in costs), *scores),
        rows=tuple(rows),
        notes=(
            f"Measured on: {devices}. {_devices(cells)}",
            *(("Cells without a result: " + "; ".join(evidence.failures) + ".",) if evidence.failures else ()),
            f"Commit {evidence.commits}.",
        ),
        marked="mean" if computed.mixing.ranks(dataset) else "",
    )


def _cost_entry(computed: Computed, dataset: str, variant: Variant, mine: pd.DataFrame, cost: Cost) -> Entry:
    status = variant_status(computed.results, dataset, variant)
    if status != "complete":
        return word(status)
    values = mine[cost.column].dropna().astype(float)
    if values.empty:
        return Entry("–")
    value = cost.combine(values) * cost.scale
    return Entry(f"{value:,.{cost.decimals}f}", sort=value)


def _devices(cells: pd.DataFrame) -> str:
    number = cells["device"].dropna().replace("", pd.NA).nunique()
    if number > 1:
        return f"Times and memory of {count(number, 'kind')} of device are not comparable with each other."
    return "Times are comparable within this table only."
