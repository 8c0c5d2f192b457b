"""Where the numbers come from, and in what the cells behind them differ."""

from __future__ import annotations

import pandas as pd

from harness.report.analysis.analysis import StudyAnalysis
from harness.report.analysis.data_summary import listed, packages_of

#: Columns that should not differ between the cells of a comparison.
_SHARED = (
    ("protocol", "Protocol"),
    ("start", "Starting weights"),
    ("data", "Data"),
    ("commit", "Commit"),
    ("device", "Device"),
    ("packages", "Packages"),
)


def provenance_of(study: StudyAnalysis) -> dict[str, str]:
    """Facts by name: what code, data, split, packages and hardware the cells ran on."""
    cells = study.results.cells
    untested = {view.title: view.data.refusal for view in study.views.values() if view.data.refusal}
    untested |= {view.title: "no results" for view in study.views.values() if not view.analyses}
    named = {
        "Significance": "; ".join(f"{title}, {reason}" for title, reason in untested.items())
        or "enough patients for a test on every dataset",
        "Commit": listed(cells["commit"].dropna()),
        "Protocol": listed(cells["protocol"].dropna()),
        "Split": listed(cells["split"].dropna()),
        "Data": listed(cells["data"].dropna()),
        "Device": listed(cells["device"].dropna()),
        "Metrics": listed(study.results.cases["implementation"].dropna().unique()),
        "Packages": ", ".join(f"{name} {version}" for name, version in packages_of(cells).items()),
        "Finished": _span(cells["finished"]),
    }
    return {name: value or "unknown" for name, value in named.items()}


def cell_differences(study: StudyAnalysis) -> list[tuple[str, str, str]]:
    """In what the finished cells of a dataset differ beyond variant, fold and seed.

    Returns:
        Rows of (what, value, which variants); empty where all cells ran alike.
    """
    rows: list[tuple[str, str, str]] = []
    for view in study.views.values():
        cells = view.cells[view.cells["status"] == "done"]
        title = study.results.datasets[view.name].title
        for column, name in _SHARED:
            if column in cells:
                rows += _differing(cells, column, f"{name}, {title}")
        for fold, group in cells.groupby("fold", sort=True):
            rows += _differing(group, "split", f"Split of fold {fold}, {title}")
    return rows


def _differing(cells: pd.DataFrame, column: str, name: str) -> list[tuple[str, str, str]]:
    values = cells[column].fillna("").astype(str)
    if values.nunique() < 2:
        return []
    every = set(cells["label"])
    rows = []
    for value, group in cells.groupby(values, sort=True):
        labels = sorted(set(group["label"]))
        who = "every variant" if set(labels) == every else ", ".join(labels)
        rows.append((name, str(value) or "unknown", f"{who} ({len(group)} of {len(cells)} cells)"))
    return rows


def _span(times: pd.Series[str]) -> str:
    known = sorted({str(time) for time in times.dropna() if str(time)})
    return known[0] if len(known) == 1 else f"{known[0]} to {known[-1]}" if known else ""
