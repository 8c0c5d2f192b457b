"""Which modality should lead: one row a leading modality, one table a model."""

from __future__ import annotations

from harness.report.computed import Computed, DatasetView
from harness.report.forms.common import fewer, marks_of, provenance, refused, score_columns, statistic_entry
from harness.report.layout import Row, Table
from harness.report.variants import Variant

__all__ = ["leading_groups", "leading_tables"]


def leading_groups(view: DatasetView) -> dict[str, list[Variant]]:
    """The labels that the study runs with several leading modalities, each with its variants."""
    groups: dict[str, list[Variant]] = {}
    for variant in view.variants:
        groups.setdefault(variant.label, []).append(variant)
    return {label: variants for label, variants in groups.items() if len(variants) > 1}


def leading_tables(computed: Computed, view: DatasetView) -> list[Table]:
    """One table a label whose leading modality varies; ranked within it."""
    return [_table(computed, view, label, variants) for label, variants in leading_groups(view).items()]


def _table(computed: Computed, view: DatasetView, label: str, variants: list[Variant]) -> Table:
    columns = score_columns(computed, view)
    marks = {column: marks_of(computed, view, column, variants) for column in columns}
    rows = tuple(
        Row(
            (variant.leading.replace("-", "–"),),
            tuple(statistic_entry(view, variant, column, marks[column].get(variant, "")) for column in columns),
        )
        for variant in variants
    )
    return Table(
        kind=f"leading-{label}",
        dataset=view.name,
        title=f"{view.title}: leading modality of {label}",
        caption=(
            f"Leading modality of {label}: {view.title}.",
            f"Mean ± SD over {view.evidence.base}; a dash: no modality leads.",
            f"{view.evidence.scales}.",
            *refused(computed, view),
        ),
        heads=("Leading",),
        columns=columns,
        rows=rows,
        notes=(*fewer(view, variants), *provenance(view)),
        marked="mean" if computed.mixing.ranks(view.name) else "",
    )
