"""Paired differences to the reference: variant minus reference on the same cases."""

from __future__ import annotations

from harness.report.computed import Computed
from harness.report.evidence import evidence_for, row_name
from harness.report.forms.common import Found, lookup, mean_entry, provenance, refused, row_heads, score_columns
from harness.report.layout import DAGGER, Row, Table
from harness.report.metrics import metric_style
from harness.report.variants import Variant

__all__ = ["difference_table"]


def difference_table(computed: Computed, dataset: str) -> Table | None:
    """Mean and SD of the paired differences; ``None`` without a reference, or where methods may not be compared."""
    results = computed.results
    deltas = computed.deltas[computed.deltas["dataset"] == dataset]
    if deltas.empty or not computed.mixing.ranks(dataset):
        return None
    evidence = evidence_for(results, dataset)
    columns = score_columns(results, dataset)
    heads, names = row_heads(results, dataset)
    found = lookup(deltas)
    compared = [variant for variant in names if any(key[:2] == variant for key in found)]
    rows = [
        Row(
            names[variant],
            tuple(mean_entry(found[(*variant, column.metric, column.region)], signed=True) for column in columns),
        )
        for variant in compared
    ]
    better = ", ".join(
        f"{style.title}: {'positive' if style.higher_is_better else 'negative'} is better"
        for style in map(metric_style, results.metrics)
    )
    flagged = [row_name(variant, list(names)) for variant in compared if not _comparable(found, variant)]
    notes = [f"{DAGGER} Not on the same results: {', '.join(flagged)}."] if flagged else []
    if (deltas["status"] != "complete").any():
        notes.append("No difference is taken where the variant or its reference is not complete.")
    return Table(
        kind="differences",
        dataset=dataset,
        title=f"{evidence.name}: difference to {results.reference}",
        caption=(
            f"Difference to {results.reference}: {evidence.name}.",
            f"Variant minus reference, mean ± SD of the paired differences over {evidence.base}.",
            f"{better}.",
            *refused(computed, evidence, dataset),
        ),
        heads=heads,
        columns=columns,
        rows=tuple(rows),
        notes=(*notes, *provenance(evidence)),
    )


def _comparable(found: Found, variant: Variant) -> bool:
    return all(row["comparable"] or row["status"] != "complete" for key, row in found.items() if key[:2] == variant)
