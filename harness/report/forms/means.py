"""The paper's layout: methods by regions, Dice then HD95, mean and SD (or median and quartiles), best and second."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.report.computed import Computed
from harness.report.evidence import evidence_for
from harness.report.forms.common import (
    Found,
    fewer,
    lookup,
    mean_entry,
    provenance,
    rank,
    refused,
    row_heads,
    score_columns,
    sentence,
)
from harness.report.layout import DAGGER, Column, Entry, Row, Table, word
from harness.report.metrics import metric_style
from harness.report.variants import Variant

__all__ = ["mean_table", "median_table"]


def mean_table(computed: Computed, dataset: str) -> Table:
    """Mean and SD of every variant, then the floors."""
    results, evidence = computed.results, evidence_for(computed.results, dataset)
    columns = score_columns(results, dataset)
    heads, names = row_heads(results, dataset)
    found = lookup(computed.summary[computed.summary["dataset"] == dataset])
    rows = [
        Row(names[variant], tuple(mean_entry(found[(*variant, column.metric, column.region)]) for column in columns))
        for variant in names
    ]
    trivial = computed.floors[computed.floors["dataset"] == dataset]
    rows += _floors(trivial, columns, len(heads))
    notes = [*fewer(computed, dataset), *_fewer_floors(trivial)]
    if len({column.region for column in columns}) > 1:
        notes.append("Mean over regions: taken within each case, then over cases.")
    if not trivial.empty:
        notes.append("Floors are trivial methods on the same test cases; they are not ranked.")
    return Table(
        kind="means",
        dataset=dataset,
        title=evidence.name,
        caption=(
            f"{sentence(results.question)} {evidence.name}.",
            f"Mean ± SD over {evidence.base}.",
            f"{evidence.scales}.",
            *refused(computed, evidence, dataset),
        ),
        heads=heads,
        columns=columns,
        rows=tuple(rows),
        notes=(*notes, *provenance(evidence)),
        marked="mean" if computed.mixing.ranks(dataset) else "",
    )


def median_table(computed: Computed, dataset: str) -> Table:
    """Median and quartiles of every variant: what a few bad cases cannot move."""
    results, evidence = computed.results, evidence_for(computed.results, dataset)
    columns = score_columns(results, dataset)
    heads, names = row_heads(results, dataset)
    found = lookup(computed.summary[computed.summary["dataset"] == dataset])
    ranks = computed.mixing.ranks(dataset)
    marks = {column: _median_marks(found, column, list(names)) if ranks else {} for column in columns}
    rows = [
        Row(
            names[variant],
            tuple(
                _median_entry(found[(*variant, column.metric, column.region)], marks[column].get(variant, ""))
                for column in columns
            ),
        )
        for variant in names
    ]
    return Table(
        kind="medians",
        dataset=dataset,
        title=f"{evidence.name}: medians",
        caption=(
            f"{evidence.name}: median [first quartile, third quartile] over {evidence.base}.",
            f"{evidence.scales}.",
            *refused(computed, evidence, dataset),
        ),
        heads=heads,
        columns=columns,
        rows=tuple(rows),
        notes=(*fewer(computed, dataset), *provenance(evidence)),
        marked="median" if ranks else "",
    )


def _median_marks(found: Found, column: Column, variants: Sequence[Variant]) -> dict[Variant, str]:
    rows = {variant: found[(*variant, column.metric, column.region)] for variant in variants}
    return rank(
        {variant: float(row["median"]) for variant, row in rows.items() if row["comparable"]},
        metric_style(column.metric),
    )


def _median_entry(row: Mapping[str, Any], mark: str) -> Entry:
    if row["status"] != "complete":
        return word(str(row["status"]))
    style, median = metric_style(row["metric"]), float(row["median"])
    if math.isnan(median):
        return Entry("–")
    span = f"{style.text(float(row['q1']))}, {style.text(float(row['q3']))}"
    return Entry(style.text(median), span=span, mark=mark, dagger=not row["comparable"], sort=median)


def _floors(trivial: pd.DataFrame, columns: Sequence[Column], heads: int) -> list[Row]:
    found = lookup(trivial, ["floor"])
    blank = ("",) * (heads - 1)
    return [
        Row(
            (f"{name} (floor)", *blank),
            tuple(mean_entry(found[name, column.metric, column.region]) for column in columns),
            is_floor=True,
        )
        for name in sorted(set(trivial["floor"]))
    ]


def _fewer_floors(floors: pd.DataFrame) -> list[str]:
    notes = []
    for name in sorted(set(floors["floor"])):
        short = floors[(floors["floor"] == name) & ~floors["comparable"].astype(bool)]
        if not short.empty:
            notes.append(f"{DAGGER} {name}: {int(short['n_runs'].min())} of {int(short['n_expected'].max())} cases.")
    return notes
