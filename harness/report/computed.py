"""The statistics of a study, computed once for every table, figure and sentence."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from harness.report.mixing import Mixing, mixing_of
from harness.report.summary import differences, floor_summary, per_case, summarise
from harness.results.schema import StudyResults

__all__ = ["Computed", "compute"]


@dataclass(frozen=True)
class Computed:
    """Results with what was computed from them.

    Attributes:
        results: The study.
        mixing: Whether methods may be ranked.
        cases: See :func:`harness.report.summary.per_case`.
        summary: See :func:`harness.report.summary.summarise`; without marks where methods may not be ranked.
        deltas: See :func:`harness.report.summary.differences`.
        floors: See :func:`harness.report.summary.floor_summary`.
    """

    results: StudyResults
    mixing: Mixing
    cases: pd.DataFrame
    summary: pd.DataFrame
    deltas: pd.DataFrame
    floors: pd.DataFrame


def compute(results: StudyResults, *, allow_mixed: bool = False) -> Computed:
    """Computes everything the report prints.

    Raises:
        HarnessError: A value is absent, a row is there twice, or it belongs to no cell of the study.
    """
    mixing = mixing_of(results, allowed=allow_mixed)
    summary = summarise(results)
    unranked = ~summary["dataset"].map(mixing.ranks).astype(bool)
    summary.loc[unranked, "mark"] = ""
    return Computed(results, mixing, per_case(results), summary, differences(results), floor_summary(results))
