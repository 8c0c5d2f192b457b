"""Whether the data can carry a significance test."""

from __future__ import annotations

from harness.report.variants import datasets_of
from harness.results.schema import StudyResults

__all__ = ["MIN_PATIENTS", "refusal", "refusal_for"]

#: Fewer patients than this cannot reach significance after Holm's correction over ten comparisons.
MIN_PATIENTS = 9


def refusal_for(results: StudyResults, dataset: str) -> str | None:
    """Why no significance test is made on a dataset; ``None`` where one may be."""
    patients = results.cases.loc[results.cases["dataset"] == dataset, "patient"].nunique()
    if patients >= MIN_PATIENTS:
        return None
    return f"{patients} {'patient' if patients == 1 else 'patients'}: no significance test"


def refusal(results: StudyResults) -> str | None:
    """Why no significance test is made; ``None`` where every dataset has patients enough.

    Patients are counted, not cases: blocks or slices of one person are not independent.
    """
    refused = {dataset: refusal_for(results, dataset) for dataset in datasets_of(results)}
    if len(refused) == 1:
        return next(iter(refused.values()))
    reasons = [f"{results.datasets[dataset].title}, {reason}" for dataset, reason in refused.items() if reason]
    return "; ".join(reasons) or None
