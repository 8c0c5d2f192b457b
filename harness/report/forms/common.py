"""What the forms of table share: columns, row names, entries and the words under a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.report.computed import Computed
from harness.report.evidence import Evidence, count, row_name
from harness.report.layout import DAGGER, Column, Entry, word
from harness.report.metrics import MetricStyle, metric_style
from harness.report.summary import MEAN_REGION
from harness.report.variants import Variant, regions_of, variants_of
from harness.results.schema import StudyResults

__all__ = [
    "Found",
    "fewer",
    "lookup",
    "mean_entry",
    "provenance",
    "rank",
    "refused",
    "row_heads",
    "score_columns",
    "sentence",
]

#: Rows of a long table by (label, leading, metric, region).
Found = Mapping[tuple[str, ...], Mapping[str, Any]]


def score_columns(results: StudyResults, dataset: str) -> tuple[Column, ...]:
    """Regions of each metric, then the means; a dataset with one region has nothing to average."""
    regions = regions_of(results, dataset)
    styles = [metric_style(metric) for metric in results.metrics]
    columns = [Column(style.heading, region, style.name, region) for style in styles for region in regions]
    if len(regions) > 1:
        columns += [
            Column("Mean over regions", style.heading, style.name, MEAN_REGION, f"Mean {style.heading}")
            for style in styles
        ]
    return tuple(columns)


def row_heads(results: StudyResults, dataset: str) -> tuple[tuple[str, ...], dict[Variant, tuple[str, ...]]]:
    """Headings of the row-name columns, and the names of each variant; the leading modality where it varies."""
    variants = variants_of(results, dataset)
    if len({variant.leading for variant in variants}) > 1:
        return ("Variant", "Leading"), {each: (each.label, each.leading.replace("-", "–")) for each in variants}
    return ("Variant",), {each: (each.label,) for each in variants}


def lookup(table: pd.DataFrame, keys: Sequence[str] = ("label", "leading")) -> Found:
    """Rows of a long table by ``keys``, metric and region."""
    records = [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
    return {tuple(str(row[key]) for key in (*keys, "metric", "region")): row for row in records}


def mean_entry(row: Mapping[str, Any], *, signed: bool = False, mark: str | None = None) -> Entry:
    """Mean and standard deviation, or the word that stands where there is no mean."""
    status = row.get("status", "complete")
    if status != "complete":
        return word(str(status))
    style, mean, sd = metric_style(row["metric"]), float(row["mean"]), float(row["sd"])
    return Entry(
        main=style.signed(mean) if signed else style.text(mean),
        spread="" if math.isnan(sd) else style.text(sd),
        mark=row.get("mark", "") if mark is None else mark,
        dagger=not row["comparable"],
        sort=None if math.isnan(mean) else mean,
    )


def rank(values: Mapping[Variant, float], style: MetricStyle) -> dict[Variant, str]:
    """``best`` and ``second`` of values at printed precision; equal ones share a mark, one alone has none."""
    printed = {variant: style.rounded(value) for variant, value in values.items() if not math.isnan(value)}
    if len(printed) < 2:
        return {}
    places = sorted(set(printed.values()), reverse=style.higher_is_better)
    names = dict(zip(places, ("best", "second"), strict=False))
    return {variant: names.get(value, "") for variant, value in printed.items()}


def fewer(computed: Computed, dataset: str, variants: Sequence[Variant] | None = None) -> list[str]:
    """Which variants stand on fewer results than the others, and on how many."""
    every = variants_of(computed.results, dataset)
    here = computed.summary[computed.summary["dataset"] == dataset]
    notes = []
    for variant in variants or every:
        mine = here[(here["label"] == variant.label) & (here["leading"] == variant.leading)]
        short = mine[(mine["status"] == "complete") & ~mine["comparable"].astype(bool)]
        if not short.empty:
            least = int(short["n_runs"].min())
            notes.append(
                f"{DAGGER} {row_name(variant, every)}: {least} of {int(short['n_expected'].max())} results "
                f"({count(int(short['n'].min()), 'case')}); not ranked."
            )
    return notes


def sentence(text: str) -> str:
    """The text with its full stop."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def refused(computed: Computed, evidence: Evidence, dataset: str) -> tuple[str, ...]:
    """What the table cannot show: too few patients for a test, or methods that may not be ranked together."""
    mixed = computed.mixing.sentence(dataset)
    return (*((f"{evidence.refusal}.",) if evidence.refusal else ()), *((mixed,) if mixed else ()))


def provenance(evidence: Evidence) -> tuple[str, ...]:
    """The dataset's caveats, policies, implementations, failures and code."""
    failures = f"Without a result: {'; '.join(evidence.failures)}." if evidence.failures else "Every cell finished."
    return (
        *(sentence(note) for note in evidence.notes),
        f"{evidence.policies}.",
        f"{evidence.implementations}.",
        failures,
        f"Commit {evidence.commits}.",
    )
