"""Where the numbers come from, and in what the cells behind them differ."""

from __future__ import annotations

import pandas as pd

from harness.report.evidence import listed, packages_of
from harness.report.refusal import refusal
from harness.results.schema import StudyResults

__all__ = ["cell_differences", "provenance_of"]

#: Columns that should not differ between the cells of a comparison.
_SHARED = (
    ("protocol", "Protocol"),
    ("start", "Starting weights"),
    ("data", "Data"),
    ("commit", "Commit"),
    ("device", "Device"),
    ("packages", "Packages"),
)


def provenance_of(results: StudyResults) -> dict[str, str]:
    """Facts by name: what code, data, split, packages and hardware the cells ran on."""
    cells = results.cells
    named = {
        "Significance": refusal(results) or "enough patients for a test on every dataset",
        "Commit": listed(cells["commit"].dropna()),
        "Protocol": listed(cells["protocol"].dropna()),
        "Split": listed(cells["split"].dropna()),
        "Data": listed(cells["data"].dropna()),
        "Device": listed(cells["device"].dropna()),
        "Metrics": listed(results.cases["implementation"].dropna()),
        "Packages": ", ".join(f"{name} {version}" for name, version in packages_of(cells).items()),
        "Finished": _span(cells["finished"]),
    }
    return {name: value or "unknown" for name, value in named.items()}


def cell_differences(results: StudyResults) -> list[tuple[str, str, str]]:
    """In what the finished cells of a dataset differ beyond variant, fold and seed.

    Returns:
        Rows of (what, value, which variants); empty where all cells ran alike.
    """
    done = results.cells[results.cells["status"] == "done"]
    rows: list[tuple[str, str, str]] = []
    for dataset, cells in done.groupby("dataset", sort=True):
        title = results.datasets[str(dataset)].title
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
