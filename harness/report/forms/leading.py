"""Which modality should lead: one row a leading modality, one table a model."""

from __future__ import annotations

from harness.report.computed import Computed
from harness.report.evidence import evidence_for
from harness.report.forms.common import fewer, lookup, mean_entry, provenance, rank, refused, score_columns
from harness.report.layout import Entry, Row, Table
from harness.report.metrics import metric_style
from harness.report.variants import Variant, variants_of

__all__ = ["leading_groups", "leading_tables"]


def leading_groups(computed: Computed, dataset: str) -> dict[str, list[Variant]]:
    """The labels that the study runs with several leading modalities, each with its variants."""
    groups: dict[str, list[Variant]] = {}
    for variant in variants_of(computed.results, dataset):
        groups.setdefault(variant.label, []).append(variant)
    return {label: variants for label, variants in groups.items() if len(variants) > 1}


def leading_tables(computed: Computed, dataset: str) -> list[Table]:
    """One table a label whose leading modality varies; ranked within it."""
    return [_table(computed, dataset, label, variants) for label, variants in leading_groups(computed, dataset).items()]


def _table(computed: Computed, dataset: str, label: str, variants: list[Variant]) -> Table:
    results, evidence = computed.results, evidence_for(computed.results, dataset)
    columns = score_columns(results, dataset)
    found = lookup(computed.summary[computed.summary["dataset"] == dataset])
    ranks = computed.mixing.ranks(dataset)
    entries: dict[Variant, list[Entry]] = {variant: [] for variant in variants}
    for column in columns:
        rows = {variant: found[(*variant, column.metric, column.region)] for variant in variants}
        means = {variant: float(row["mean"]) for variant, row in rows.items() if row["comparable"]}
        marks = rank(means, metric_style(column.metric)) if ranks else {}
        for variant, row in rows.items():
            entries[variant].append(mean_entry(row, mark=marks.get(variant, "")))
    return Table(
        kind=f"leading-{label}",
        dataset=dataset,
        title=f"{evidence.name}: leading modality of {label}",
        caption=(
            f"Leading modality of {label}: {evidence.name}.",
            f"Mean ± SD over {evidence.base}; a dash: no modality leads.",
            f"{evidence.scales}.",
            *refused(computed, evidence, dataset),
        ),
        heads=("Leading",),
        columns=columns,
        rows=tuple(Row((variant.leading.replace("-", "–"),), tuple(entries[variant])) for variant in variants),
        notes=(*fewer(computed, dataset, variants), *provenance(evidence)),
        marked="mean" if ranks else "",
    )
