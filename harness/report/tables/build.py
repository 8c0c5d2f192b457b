"""All tables of a report, in the order they are read: a new table is its own module and a line here."""

from harness.report.analysis.analysis import StudyAnalysis
from harness.report.tables.ablation import ABLATION
from harness.report.tables.across_datasets import across_tables
from harness.report.tables.comparisons import COMPARISONS, DIFFERENCES
from harness.report.tables.efficiency import EFFICIENCY, with_budget
from harness.report.tables.evidence.acquire_and_lead import ACQUIRE_AND_LEAD
from harness.report.tables.evidence.modality_value import MODALITY_VALUE
from harness.report.tables.evidence.own_rule import OWN_RULE
from harness.report.tables.evidence.patterns import PATTERNS
from harness.report.tables.evidence.subsets_by_region import SUBSETS_BY_REGION
from harness.report.tables.evidence.verdict import VERDICT
from harness.report.tables.leading import LEADING
from harness.report.tables.means import MEANS, MEDIANS
from harness.report.tables.missing_modalities import MISSING
from harness.report.tables.patients.columns import COLUMNS
from harness.report.tables.patients.shares import LEARNING
from harness.report.tables.published import PUBLISHED
from harness.report.tables.table import Table, TableKind

#: Kinds of table of each dataset.
TABLES: tuple[TableKind, ...] = (
    MEANS,
    DIFFERENCES,
    COMPARISONS,
    VERDICT,
    ABLATION,
    LEADING,
    PATTERNS,
    MISSING,
    SUBSETS_BY_REGION,
    MODALITY_VALUE,
    ACQUIRE_AND_LEAD,
    COLUMNS,
    LEARNING,
    MEDIANS,
    EFFICIENCY,
    PUBLISHED,
    OWN_RULE,
)


def build_tables(study: StudyAnalysis, *, budget: bool = False) -> list[Table]:
    """The tables of every dataset, then those across datasets; a kind with nothing to show is left out.

    Args:
        study: Analysis of the study.
        budget: Show in every table what its networks take.
    """
    return [
        *(
            with_budget(view, table) if budget else table
            for view in study.views.values()
            for kind in TABLES
            for table in kind.build(study, view)
        ),
        *across_tables(study),
    ]
