"""Scores of patients that lack the same modalities, where patients lack some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from harness.report.analysis.variants import Variant
from harness.results.schema import StudyResults
from harness.statistics.analysis import Summary, summaries_of
from harness.statistics.patients import NothingCounts, build_grid, patient_table


@dataclass(frozen=True)
class PatternScores:
    """Test cases with the same modalities.

    Attributes:
        modalities: What they have, joined by ``+``.
        patients: Number of patients.
        summaries: Scores by the name of the variant; one without a result is absent.
    """

    modalities: str
    patients: int
    summaries: Mapping[str, Summary]


def scores_by_pattern(
    results: StudyResults, dataset: str, metric: str, region: str, names: Mapping[Variant, str]
) -> list[PatternScores]:
    """Returns the scores by what test cases have, the most frequent pattern first; none where no case lacks anything.

    Args:
        results: The study.
        dataset: Name of the dataset.
        metric: Name of the metric.
        region: Region, or the mean over regions.
        names: Name of each variant.
    """
    rows = results.cases[(results.cases["dataset"] == dataset) & (results.cases["metric"] == metric)]
    patterns = _modalities(rows)
    if not patterns.ne("").any():
        return []
    known = {(variant.label, variant.leading): name for variant, name in names.items()}
    keys = zip(rows["label"].astype(str), rows["leading"].astype(str), strict=True)
    rows = rows.assign(method=[known.get(key, "") for key in keys], modalities=patterns)
    rows = rows[rows["method"] != ""]
    found = []
    for pattern, own in rows.groupby("modalities", observed=True):
        try:
            summaries = summaries_of(patient_table(build_grid(own, dataset, metric), region))
        except NothingCounts:
            summaries = {}
        found.append(PatternScores(str(pattern), int(own["patient"].astype(str).nunique()), summaries))
    return sorted(found, key=lambda one: (-one.patients, one.modalities))


def coverage_of(rows: pd.DataFrame, subsets: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], tuple[int, int]]:
    """Returns how many patients have a modality of each set, and how many have all; empty where none lacks any.

    Args:
        rows: Test cases, with columns ``patient`` and ``modalities``.
        subsets: Sets of modalities.
    """
    cases = pd.DataFrame({"patient": rows["patient"].astype(str), "modalities": _modalities(rows)}).drop_duplicates()
    if not cases["modalities"].ne("").any():
        return {}
    had = [(str(patient), set(str(names).split("+"))) for patient, names in cases.itertuples(index=False)]
    return {
        subset: (
            len({patient for patient, names in had if names & set(subset)}),
            len({patient for patient, names in had if names >= set(subset)}),
        )
        for subset in subsets
    }


def impossible_sets(rows: pd.DataFrame, subsets: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Returns the sets of which some test case has no modality: no test scores every patient with them.

    Args:
        rows: Test cases, with a column ``modalities`` where cases lack some.
        subsets: Sets of modalities.
    """
    had = [set(names.split("+")) for names in _modalities(rows).unique() if names]
    return tuple(subset for subset in subsets if not all(names & set(subset) for names in had))


def _modalities(rows: pd.DataFrame) -> pd.Series[str]:
    """Returns what each row's case has; empty where that is not known."""
    if "modalities" not in rows:
        return pd.Series("", index=rows.index)
    return rows["modalities"].astype(object).fillna("").astype(str)
