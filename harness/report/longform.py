"""CSV: the long tables at full precision, each row telling what data it is on and whether a test was refused."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from harness.report.evidence import kind_words
from harness.report.refusal import refusal_for
from harness.report.summary import differences, floor_summary, per_case, summarise
from harness.results.schema import StudyResults

__all__ = ["long_tables"]


def long_tables(results: StudyResults) -> Mapping[str, str]:
    """CSV text by file name: means, paired differences, floors, cases and cells."""
    cells = results.cells.sort_values(["dataset", "label", "leading", "fold", "seed"], ignore_index=True)
    tables = {
        "means": _told(summarise(results), results),
        "differences": _told(differences(results), results),
        "floors": _told(floor_summary(results), results),
        "cases": _told(per_case(results), results),
        "cells": cells,
    }
    return {f"{name}.csv": str(table.to_csv(index=False, lineterminator="\n")) for name, table in tables.items()}


def _told(table: pd.DataFrame, results: StudyResults) -> pd.DataFrame:
    """Puts study, kind of data and refusal into every row: a row of a CSV file travels without its caption."""
    kinds = {name: kind_words(facts) or "real data" for name, facts in results.datasets.items()}
    refusals = {name: refusal_for(results, name) or "" for name in results.datasets}
    told = table.assign(
        study=results.study,
        profile=results.profile,
        data_kind=table["dataset"].map(kinds),
        significance=table["dataset"].map(refusals),
    )
    first = ["study", "profile", "dataset", "data_kind"]
    return told[[*first, *(column for column in told.columns if column not in first)]]
