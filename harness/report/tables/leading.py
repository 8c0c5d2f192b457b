"""Which modality should lead: one row a leading modality, one table a model."""

from __future__ import annotations

from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.variants import Variant
from harness.report.tables.ranked import ranked_table
from harness.report.tables.table import Table

__all__ = ["leading_groups", "leading_tables"]


def leading_groups(view: DatasetView) -> dict[str, list[Variant]]:
    """The labels that the study runs with several leading modalities, each with its variants."""
    groups: dict[str, list[Variant]] = {}
    for variant in view.variants:
        groups.setdefault(variant.label, []).append(variant)
    return {label: variants for label, variants in groups.items() if len(variants) > 1}


def leading_tables(study: StudyAnalysis, view: DatasetView) -> list[Table]:
    """One table a label whose leading modality varies; ranked within it."""
    return [_table(study, view, label, variants) for label, variants in leading_groups(view).items()]


def _table(study: StudyAnalysis, view: DatasetView, label: str, variants: list[Variant]) -> Table:
    return ranked_table(
        study,
        view,
        {variant: (variant.leading.replace("-", "–"),) for variant in variants},
        row_header=("Leading",),
        kind=f"leading-{label}",
        title=f"leading modality of {label}",
        caption=(
            f"Leading modality of {label}: {view.title}.",
            f"Mean ± SD over {view.data.sample}; none: all are treated alike; a dash: the model knows no leading "
            "modality.",
        ),
    )
