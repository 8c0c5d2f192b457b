"""Means of nnU-Net's results by its own rule, beside those of the report's policy.

nnU-Net leaves out a region that is in neither mask (its Dice is NaN) and a case without a prediction. The report's
policy counts both, so the two can differ, and methods may stand on different cases by nnU-Net's rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.results.schema import StudyResults
from harness.statistics.comparisons import one_sided_p
from harness.statistics.sample_size import refusal

METRIC = "dice"


@dataclass(frozen=True)
class OwnRule:
    """One method by nnU-Net's rule.

    Attributes:
        label: The method.
        patients: Patients with a value.
        missing: Cases without a prediction, which are left out.
        undefined: Results of a region that is in neither mask, which are left out.
        by_region: Mean over cases of each region.
        mean: Mean over patients of the mean over the regions of a case that have a value.
        difference: Mean over patients of the difference of that to the reference; NaN for the reference itself.
        p: Two-sided p of the signed-rank test (Pratt) of these differences, before correction; NaN where not tested.
    """

    label: str
    patients: int
    missing: int
    undefined: int
    by_region: Mapping[str, float]
    mean: float
    difference: float
    p: float


def by_own_rule(results: StudyResults, dataset: str) -> list[OwnRule]:
    """Returns the methods of a dataset that come from nnU-Net's files, in table order; empty for none.

    Args:
        results: The results.
        dataset: Name of the dataset.
    """
    stated = results.stated[results.stated["dataset"] == dataset]
    labels = [label for label in results.labels if label in set(stated["label"])]
    if not labels or METRIC not in results.metrics:
        return []
    cases = results.cases
    rows = cases[(cases["dataset"] == dataset) & (cases["metric"] == METRIC) & cases["label"].isin(labels)]
    status = rows["status"].astype(str)
    rows = rows.assign(value=rows["value"].mask(status.isin(["empty_both", "skipped", "missing"])), status=status)
    means = _patient_means(rows)
    reference = results.reference if results.reference in labels else None
    return [_one(rows[rows["label"] == label], means, label, reference) for label in labels]


def _patient_means(rows: pd.DataFrame) -> pd.DataFrame:
    """Patients x methods: the mean over the regions of a case that have a value, then over the cases of a patient."""
    by_case = rows.astype({"label": str, "patient": str, "case": str}).groupby(["label", "patient", "case"])["value"]
    return by_case.mean().groupby(level=["label", "patient"]).mean().unstack("label")


def _one(rows: pd.DataFrame, means: pd.DataFrame, label: str, reference: str | None) -> OwnRule:
    mine = means[label].dropna()
    difference, p = np.nan, np.nan
    if reference is not None and label != reference:
        both = means[[label, reference]].dropna()
        if len(both):
            difference = float((both[label] - both[reference]).mean())
        if refusal(len(both), 1) is None:
            one_sided = one_sided_p(both, higher_is_better=True).to_numpy()
            p = float(min(1.0, 2 * min(one_sided[0, 1], one_sided[1, 0])))
    states = rows["status"]
    return OwnRule(
        label,
        len(mine),
        int(rows.loc[states == "missing", "case"].nunique()),
        int(states.isin(["empty_both", "skipped"]).sum()),
        {str(region): float(mean) for region, mean in rows.groupby("region", observed=True)["value"].mean().items()},
        float(mine.mean()),
        difference,
        p,
    )
