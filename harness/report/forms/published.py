"""Published beside ours: what the paper prints, what we measured, the difference, its interval and a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.report.computed import Computed
from harness.report.evidence import evidence_for, row_name
from harness.report.forms.common import lookup, provenance, row_heads
from harness.report.interval import mean_interval, of_patients
from harness.report.layout import Column, Entry, Row, Table, word
from harness.report.metrics import MetricStyle, metric_style
from harness.report.published import SOURCE, published_method, published_rows
from harness.report.refusal import MIN_PATIENTS
from harness.report.summary import MEAN_REGION
from harness.report.variants import Variant, regions_of
from harness.results.schema import StudyResults

__all__ = ["published_table", "verdict"]

_COLUMNS = (
    Column("", "Metric", plain="Metric"),
    Column("", "Region", plain="Region"),
    Column("", "Published", plain="Published"),
    Column("", "Ours", plain="Ours"),
    Column("", "Difference", plain="Ours minus published"),
    Column("", "95 % interval of ours", plain="95 % interval of ours"),
    Column("", "Verdict", plain="Verdict"),
)


def published_table(computed: Computed, dataset: str) -> Table | None:
    """One row a published number that a variant of the study has too; ``None`` where there is no such number."""
    results = computed.results
    heads, names = row_heads(results, dataset)
    theirs = {(row["method"], row["metric"], row["region"]): row for row in _records(published_rows(dataset))}
    found = lookup(computed.summary[computed.summary["dataset"] == dataset])
    rows = []
    for variant, heading in names.items():
        method = published_method(results, dataset, variant)
        if method is None:
            continue
        for metric in results.metrics:
            for region in (*regions_of(results, dataset), MEAN_REGION):
                published = theirs.get((method, metric, region))
                if published is not None:
                    ours = found[(*variant, metric, region)]
                    rows.append(Row(heading, _entries(computed, dataset, variant, published, ours)))
    if not rows:
        return None
    evidence = evidence_for(results, dataset)
    variants = list(names)
    unmatched = [row_name(each, variants) for each in variants if published_method(results, dataset, each) is None]
    return Table(
        kind="published",
        dataset=dataset,
        title=f"{evidence.name}: published beside ours",
        caption=(
            f"Published beside ours: {evidence.name}.",
            f"Published numbers are as printed ({SOURCE}); ours are mean ± SD over {evidence.base}.",
            "Difference: ours minus published. Interval: BCa bootstrap of our mean over patients. Agrees: the "
            "published mean lies inside it.",
        ),
        heads=heads,
        columns=_COLUMNS,
        rows=tuple(rows),
        notes=(
            "The paper publishes neither its splits nor its leading modality, so its cases are not ours: agreement is "
            "a plausibility check and no proof of reproduction.",
            *((f"Not in the paper: {', '.join(unmatched)}.",) if unmatched else ()),
            *provenance(evidence),
        ),
    )


def verdict(results: StudyResults, dataset: str, published: float, low: float | None, high: float | None) -> str:
    """What the interval of our mean says of a published mean, in words."""
    kind = results.datasets[dataset].kind
    if kind != "real":
        return f"not comparable ({kind} data)"
    if low is None or high is None:
        return f"no verdict (fewer than {MIN_PATIENTS} patients)"
    if low <= published <= high:
        return "agrees"
    return "ours higher" if published < low else "ours lower"


def _entries(
    computed: Computed, dataset: str, variant: Variant, published: Mapping[str, Any], ours: Mapping[str, Any]
) -> tuple[Entry, ...]:
    style = metric_style(str(published["metric"]))
    region = "Mean over regions" if published["region"] == MEAN_REGION else str(published["region"])
    mean, sd = float(published["mean"]), float(published["std"])
    head = (
        Entry(style.heading),
        Entry(region),
        Entry(style.text(mean), spread="" if math.isnan(sd) else style.text(sd), sort=mean),
    )
    if ours["status"] != "complete":
        return (*head, word(str(ours["status"])), Entry("–"), Entry("–"), word(f"none ({ours['status']})"))
    value = float(ours["mean"])
    interval = mean_interval(of_patients(_cases_of(computed, dataset, variant, ours)))
    low, high = interval if interval else (None, None)
    said = verdict(computed.results, dataset, mean, low, high)
    measured = Entry(
        style.text(value),
        spread="" if math.isnan(float(ours["sd"])) else style.text(float(ours["sd"])),
        dagger=not ours["comparable"],
        sort=value,
    )
    return (
        *head,
        measured,
        Entry(style.signed(value - mean), sort=value - mean),
        Entry(_printed(style, low, high)),
        word(said),
    )


def _printed(style: MetricStyle, low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{style.text(low)} to {style.text(high)}"


def _cases_of(computed: Computed, dataset: str, variant: Variant, row: Mapping[str, Any]) -> pd.DataFrame:
    cases: pd.DataFrame = computed.cases
    found: pd.DataFrame = cases[
        (cases["dataset"] == dataset)
        & (cases["label"] == variant.label)
        & (cases["leading"] == variant.leading)
        & (cases["metric"] == row["metric"])
        & (cases["region"] == row["region"])
    ]
    return found


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
