"""Which modality should lead: one row per leading modality, one table per model."""

from collections.abc import Iterator

from harness.report.analysis.analysis import DatasetView, StudyAnalysis
from harness.report.analysis.variants import leading_groups
from harness.report.tables.ranked import ranked_table
from harness.report.tables.table import Table, TableKind


def _leading_tables(study: StudyAnalysis, view: DatasetView) -> Iterator[Table]:
    """One table per label whose leading modality varies; ranked within it."""
    for label, variants in leading_groups(view.variants).items():
        yield ranked_table(
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


LEADING = TableKind(_leading_tables)
