"""CSV: the long tables at full precision, each row telling what data it is on and whether a test was refused."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from harness.report.computed import Computed
from harness.report.evidence import kind_words
from harness.report.refusal import refusal_for

__all__ = ["long_tables"]


def long_tables(computed: Computed) -> Mapping[str, str]:
    """CSV text by file name: means, paired differences, floors, cases and cells."""
    results = computed.results
    cells = results.cells.sort_values(["dataset", "label", "leading", "fold", "seed"], ignore_index=True)
    tables = {
        "means": _told(computed.summary, computed),
        "differences": _told(computed.deltas, computed),
        "floors": _told(computed.floors, computed),
        "cases": _told(computed.cases, computed),
        "cells": cells,
    }
    return {f"{name}.csv": str(table.to_csv(index=False, lineterminator="\n")) for name, table in tables.items()}


def _told(table: pd.DataFrame, computed: Computed) -> pd.DataFrame:
    """Puts study, kind of data and refusals into every row: a row of a CSV file travels without its caption."""
    results = computed.results
    kinds = {name: kind_words(facts) or "real data" for name, facts in results.datasets.items()}
    refusals = {name: refusal_for(results, name) or "" for name in results.datasets}
    told = table.assign(
        study=results.study,
        profile=results.profile,
        data_kind=table["dataset"].map(kinds),
        significance=table["dataset"].map(refusals),
        comparability=table["dataset"].map(computed.mixing.sentence),
    )
    first = ["study", "profile", "dataset", "data_kind"]
    return told[[*first, *(column for column in told.columns if column not in first)]]
